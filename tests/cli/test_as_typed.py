"""The command in a process of its own: the script and the module, pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("trunkline")
MODULE = [sys.executable, "-m", "trunkline"]
pytestmark = pytest.mark.slow  # a process takes a second or two to start


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TRUNKLINE_HOME": str(tmp_path / "home"), "COLUMNS": "100"}


@pytest.mark.parametrize(
    "arguments", [["--version"], ["key", "new", "--help"], ["trace", "m-1"], ["nosuch"]]
)
def test_the_module_is_the_script(arguments: list[str], environment: dict[str, str]) -> None:
    script, module = (
        subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        for command in ([SCRIPT], MODULE)
    )
    assert (script.returncode, script.stdout, script.stderr) == (
        module.returncode, module.stdout, module.stderr,
    )  # fmt: skip


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [*MODULE, "doctor"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as doctor:
        assert doctor.stdout is not None and doctor.stderr is not None
        doctor.stdout.close()
        assert doctor.stderr.read() == b""
        assert doctor.wait(30) == 0


def test_ctrl_c_ends_a_tail_without_a_word(environment: dict[str, str], tmp_path: Path) -> None:
    with subprocess.Popen(
        [*MODULE, "tail"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        wait_for_file(tmp_path / "home" / "version")
        time.sleep(1)
        tail.send_signal(signal.SIGINT)
        assert tail.communicate(timeout=30) == (b"", b"")
        assert tail.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_says_where_it_is_and_stops_when_told(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [*MODULE, "serve", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--json"]
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        said = read_object(node)
        assert said["home"] == str(tmp_path / "home")
        wait_ready(said["ingest"])
        # A terminal's Ctrl-C goes to the whole group, supervisor and children alike.
        os.killpg(node.pid, number) if number == signal.SIGINT else node.send_signal(number)
        assert node.wait(12) == 0
        assert b"Traceback" not in (tmp_path / "log").read_bytes()
    finally:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        if node.stdout is not None:
            node.stdout.close()


def read_object(node: subprocess.Popen[bytes]) -> dict[str, str]:
    """Read the JSON object that a node says first."""
    assert node.stdout is not None
    text = b""
    for line in node.stdout:
        text += line
        if line.rstrip() == b"}":
            return dict(json.loads(text))
    raise AssertionError(f"the node ended; it had said {text!r}")


def wait_ready(url: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} was not ready within {seconds} s")


def wait_for_file(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.05)
