"""The file destination: durable lines, mended ends, rotation, packing, and a disk that says no."""

from __future__ import annotations

import errno
import gzip
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trunkline.destinations.file import File, FileSettings
from trunkline.kit.destination import Attempt, Mapped, map_event
from trunkline.model.outcome import Blocked, Delivered, Outcome, Retry

NOW_MS = 1_795_170_000_123  # 2026-11-20T10:20:00.123Z
HOUR_MS = 3_600_000


def event(number: int, **more: Any) -> Mapped:
    return map_event({"messageId": f"m-{number}", "app": "a" * 15, "type": "track", **more})


def attempt(now_ms: int = NOW_MS) -> Attempt:
    return Attempt(now_ms, 1, "a/d", "delivery-1")


def opened(path: Path, **values: Any) -> File:
    channel = File(msgspec.convert({"path": str(path), **values}, FileSettings))
    channel.open()
    return channel


def deliver(channel: File, *numbers: int, now_ms: int = NOW_MS) -> Outcome:
    outcomes = channel.deliver([event(number) for number in numbers], attempt(now_ms))
    assert len(outcomes) == len(numbers)
    assert len(set(outcomes)) == 1
    return outcomes[0]


def ids_in(data: bytes) -> list[int]:
    assert data == b"" or data.endswith(b"\n")
    return [int(msgspec.json.decode(line)["messageId"][2:]) for line in data.splitlines()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_events_are_appended_one_a_line_behind_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out.ndjson"
    channel = opened(path)
    assert deliver(channel, 1, 2) == Delivered()
    channel.close()
    channel = opened(path)
    assert deliver(channel, 3) == Delivered()
    channel.close()
    assert ids_in(path.read_bytes()) == [1, 2, 3]
    assert path.stat().st_mode & 0o007 == 0


def test_lines_are_synced_before_they_count_as_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.append(os.fstat(fd).st_size)

    path = tmp_path / "out"
    channel = opened(path)
    monkeypatch.setattr(os, "fsync", fsync)
    deliver(channel, 1)
    channel.close()
    assert synced == [path.stat().st_size]


@pytest.mark.parametrize("torn", [b"{", b'{"messageId":"m-9","ap', b"\0" * 100, b"\xff", b"tr"])
def test_a_torn_last_line_is_cut_when_the_file_is_opened(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "out"
    whole = event(1).body + b"\n" + event(2).body + b"\n"
    path.write_bytes(whole + torn)
    channel = opened(path)
    assert path.read_bytes() == whole
    deliver(channel, 3)
    channel.close()
    assert ids_in(path.read_bytes()) == [1, 2, 3]


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b'{"a":"' + b"x" * 3_000_000)
    channel = opened(path)
    deliver(channel, 1)
    channel.close()
    assert ids_in(path.read_bytes()) == [1]


def test_a_whole_last_line_without_its_end_is_completed_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(event(1).body + b"\n" + event(2).body)
    channel = opened(path)
    deliver(channel, 3)
    channel.close()
    assert ids_in(path.read_bytes()) == [1, 2, 3]


def test_a_file_is_rotated_before_it_would_pass_its_size(tmp_path: Path) -> None:
    line_bytes = len(event(1).body) + 1
    channel = opened(tmp_path / "out.ndjson", rotate_bytes=1024)
    count = 3 * (1024 // line_bytes)
    for number in range(count):
        deliver(channel, number, now_ms=NOW_MS + number)
    channel.close()
    files = [tmp_path / name for name in names_in(tmp_path)]
    rotated, current = files[:-1], files[-1]
    assert current.name == "out.ndjson"
    assert len(rotated) == 2
    assert rotated[0].name.startswith("out-20261120T102000.")
    assert rotated[0].name.endswith("Z.ndjson")
    assert all(file.stat().st_size <= 1024 for file in files)
    assert [i for file in files for i in ids_in(file.read_bytes())] == list(range(count))


def test_a_batch_larger_than_a_file_goes_into_one_of_its_own(tmp_path: Path) -> None:
    channel = opened(tmp_path / "out", rotate_bytes=1024)
    deliver(channel, 1)
    deliver(channel, *range(2, 102))
    deliver(channel, 102)
    channel.close()
    sizes = [len(ids_in((tmp_path / name).read_bytes())) for name in names_in(tmp_path)]
    assert sizes == [1, 1, 100]  # the current file, then the rotated ones


def test_files_rotated_in_one_millisecond_do_not_overwrite_each_other(tmp_path: Path) -> None:
    channel = opened(tmp_path / "out.txt", rotate_bytes=1024)
    for _ in range(4):
        deliver(channel, *range(50))
    channel.close()
    assert names_in(tmp_path) == [
        "out-20261120T102000.123Z-1.txt",
        "out-20261120T102000.123Z-2.txt",
        "out-20261120T102000.123Z.txt",
        "out.txt",
    ]


def test_a_file_is_rotated_at_the_first_write_of_a_new_period(tmp_path: Path) -> None:
    path = tmp_path / "out"
    channel = opened(path, rotate_hours=1)
    for number, minutes in enumerate([0, 10, 39, 40, 99, 100]):  # the hour turns at 40 and 100
        deliver(channel, number, now_ms=NOW_MS + minutes * 60_000)
    channel.close()
    assert names_in(tmp_path) == [
        "out",
        "out-20261120T110000.123Z",
        "out-20261120T120000.123Z",
    ]
    assert ids_in((tmp_path / "out-20261120T110000.123Z").read_bytes()) == [0, 1, 2]
    assert ids_in(path.read_bytes()) == [5]


def test_a_period_that_ended_while_nothing_ran_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(event(1).body + b"\n")
    os.utime(path, (NOW_MS / 1000 - 7200, NOW_MS / 1000 - 7200))
    channel = opened(path, rotate_hours=1)
    deliver(channel, 2)
    channel.close()
    assert ids_in(path.read_bytes()) == [2]
    assert len(names_in(tmp_path)) == 2


def test_a_clock_that_is_set_back_rotates_nothing(tmp_path: Path) -> None:
    channel = opened(tmp_path / "out", rotate_hours=1)
    deliver(channel, 1)
    deliver(channel, 2, now_ms=NOW_MS - 5 * HOUR_MS)
    channel.close()
    assert names_in(tmp_path) == ["out"]


def test_rotated_files_are_packed_and_the_current_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    channel = opened(path, rotate_bytes=1024, gzip=True)
    for number in range(3):
        deliver(channel, *range(number * 50, number * 50 + 50), now_ms=NOW_MS + number)
    _wait_for_packer()
    channel.close()
    packed = [name for name in names_in(tmp_path) if name.endswith(".gz")]
    assert names_in(tmp_path) == [*packed, "out.ndjson"]
    assert len(packed) == 2
    found = [i for name in packed for i in ids_in(gzip.decompress((tmp_path / name).read_bytes()))]
    assert found + ids_in(path.read_bytes()) == list(range(150))


def test_what_an_earlier_process_left_unpacked_is_packed_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / "out-20261120T102000.123Z.ndjson"
    left.write_bytes(b"{}\n")
    (tmp_path / "out-20261120T102000.123Z.ndjson.gz.part").write_bytes(b"half of it")
    (tmp_path / "out-of-scope.ndjson").write_bytes(b"{}\n")
    channel = opened(tmp_path / "out.ndjson", gzip=True)
    _wait_for_packer()
    channel.close()
    assert names_in(tmp_path) == ["out-20261120T102000.123Z.ndjson.gz", "out-of-scope.ndjson"] + [
        "out.ndjson"
    ]
    assert gzip.decompress((tmp_path / names_in(tmp_path)[0]).read_bytes()) == b"{}\n"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path, is_replaced: bool) -> None:
    path = tmp_path / "out"
    channel = opened(path)
    deliver(channel, 1)
    path.rename(tmp_path / "moved")
    if is_replaced:
        path.write_bytes(event(7).body + b"\n")
    assert deliver(channel, 2) == Delivered()
    channel.close()
    assert ids_in((tmp_path / "moved").read_bytes()) == [1]
    assert ids_in(path.read_bytes()) == ([7, 2] if is_replaced else [2])


def test_two_destinations_never_write_one_file(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "out"), opened(tmp_path / "out")
    assert deliver(first, 1) == Delivered()
    refused = deliver(second, 2)
    assert isinstance(refused, Retry)
    assert "another process or destination" in refused.reason
    first.close()
    assert deliver(second, 2) == Delivered()
    second.close()
    assert ids_in((tmp_path / "out").read_bytes()) == [1, 2]


def test_what_only_a_person_mends_blocks_and_mends_itself_once_they_did(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    channel = opened(path)
    outcome = deliver(channel, 1)
    assert isinstance(outcome, Blocked)
    assert str(path) in outcome.reason
    path.rmdir()
    assert deliver(channel, 1) == Delivered()
    channel.close()


def test_a_folder_that_is_a_file_blocks(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("not a folder")
    channel = opened(tmp_path / "folder" / "out")
    assert isinstance(deliver(channel, 1), Blocked)
    channel.close()


def test_what_is_no_regular_file_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    channel = opened(tmp_path / "fifo")
    outcome = deliver(channel, 1)
    assert isinstance(outcome, Blocked)
    assert "not a regular file" in outcome.reason
    channel.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full of Linux")
def test_an_error_of_a_full_disk_is_a_retry() -> None:
    from trunkline.destinations.file import _outcome_of  # pyright: ignore[reportPrivateUsage]

    try:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
    except OSError as error:
        assert error.errno == errno.ENOSPC
        assert _outcome_of(error, Path("out")) == Retry("out: No space left on device")


def test_half_a_write_is_taken_back_and_the_events_come_again(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write ends in the middle."""
    path = tmp_path / "out"
    channel = opened(path)
    deliver(channel, 1)
    before = path.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        outcome = deliver(channel, 2, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(outcome, Retry)
    assert path.read_bytes() == before
    assert deliver(channel, 2, 3) == Delivered()
    channel.close()
    assert ids_in(path.read_bytes()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"path": "folder/"}, "not a folder"),
        ({"path": "a\0b"}, "NUL"),
        ({"path": ""}, "path"),
        ({"path": "x", "rotate_bytes": 100}, "at least 1024"),
        ({"path": "x", "rotate_hours": 0}, "0.01 to 8760"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], part: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=part):
        msgspec.convert(values, FileSettings)


KILLED = """
import sys, msgspec
from trunkline.destinations.file import File, FileSettings
from trunkline.kit.destination import Attempt, map_event
channel = File(FileSettings(path=sys.argv[1], rotate_bytes=4096, gzip=True))
channel.open()
number = 0
while True:
    events = [map_event({"messageId": f"m-{n}", "app": "a", "type": "track"})
              for n in range(number, number + 7)]
    channel.deliver(events, Attempt(1_795_170_000_000 + number, 1, "a/d", "d"))
    number += 7
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("lines_before_kill", [3, 40, 150])
def test_a_kill_at_any_moment_loses_nothing_that_was_delivered(
    tmp_path: Path, lines_before_kill: int
) -> None:
    folder = tmp_path / "home"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder / "out.ndjson")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    delivered = 0
    for _ in range(lines_before_kill):
        delivered = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rest = process.stdout.read().split()
    process.stdout.close()
    delivered = int(rest[-1]) if rest else delivered

    channel = opened(folder / "out.ndjson", rotate_bytes=4096, gzip=True)
    _wait_for_packer()
    deliver(channel, 999_999)
    channel.close()
    found: set[int] = set()
    for name in names_in(folder):
        data = (folder / name).read_bytes()
        found |= set(ids_in(gzip.decompress(data) if name.endswith(".gz") else data))
    assert found >= set(range(delivered))
    assert not [name for name in names_in(folder) if name.endswith(".part")]


def _wait_for_packer() -> None:
    for thread in threading.enumerate():
        if thread.name == "file-packer":
            thread.join(10)
