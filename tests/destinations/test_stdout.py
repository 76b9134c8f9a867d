"""Standard output: whole lines, and a reader that is gone or stands still."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

DRIVER = """
import sys
from trunkline.destinations.stdout import Stdout, StdoutSettings
from trunkline.kit.destination import Attempt, map_event
channel = Stdout(StdoutSettings(timeout_seconds=0.2))
channel.open()
count, text_bytes = int(sys.argv[1]), int(sys.argv[2])
if sys.argv[3] == "close":
    sys.stdin.readline()
for number in range(count):
    values = {"messageId": f"m-{number}", "app": "a", "type": "track", "x": "y" * text_bytes}
    event = map_event(values)
    outcome, again = channel.deliver([event, event], Attempt(0, 1, "a/d", "d"))
    assert outcome == again
    sys.stderr.write(f"{outcome}\\n")
channel.close()
"""
ROOT = Path(__file__).parents[2]


def start(count: int, text_bytes: int, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(count), str(text_bytes), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_line_longer_than_a_pipe_arrives_whole() -> None:
    out, err = start(3, 300_000, "read").communicate(timeout=30)
    ids = [msgspec.json.decode(line)["messageId"] for line in out.splitlines()]
    assert ids == ["m-0", "m-0", "m-1", "m-1", "m-2", "m-2"]
    assert err.decode().splitlines() == ["Delivered(verified=True)"] * 3


def test_a_reader_that_stands_still_is_a_retry() -> None:
    process = start(1, 300_000, "stand still")
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    process.communicate(timeout=30)
    assert "Retry" in said
    assert "not being read" in said


def test_a_reader_that_is_gone_blocks() -> None:
    process = start(1, 10, "close")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    said = process.stderr.readline().decode()
    process.stderr.close()
    process.wait(30)
    assert "Blocked" in said
    assert "closed" in said


def test_a_node_without_standard_output_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from trunkline.destinations.stdout import Stdout, StdoutSettings
    from trunkline.kit.destination import Attempt, map_event
    from trunkline.model.outcome import Blocked

    with Path(os.devnull).open("w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
    event = map_event({"messageId": "m", "app": "a", "type": "track"})
    (outcome,) = Stdout(StdoutSettings()).deliver([event], Attempt(0, 1, "a/d", "d"))
    assert isinstance(outcome, Blocked)
