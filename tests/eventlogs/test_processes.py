"""Several processes on one log: following, being killed, refusing a second writer."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import LogFailure, Record

WRITER = """
import sys, time
from pathlib import Path
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import Record

log = SqliteEventLog(Path(sys.argv[1]), SystemClock(), reserve_bytes=0, segment_bytes=400_000)
appender = log.appender("accepted", int(sys.argv[2]))
pause, count = float(sys.argv[3]), int(sys.argv[4])
sys.stderr.write("ready\\n")
for number in range(count):
    time.sleep(pause)
    stamp = time.monotonic_ns()
    size = number * 37 % 5000 + 30
    records = [Record(b"k", (b"%d.%d:" % (number, at)).ljust(size, b"."), stamp) for at in range(3)]
    offsets = appender.append(records)
    print(offsets[0], number, time.monotonic_ns() - stamp, flush=True)
log.close()
"""


def start(folder: Path, partition: int, pause: float, count: int) -> subprocess.Popen[str]:
    # The program's own log lines go to stdout before it is configured, and are not of interest.
    return subprocess.Popen(
        [sys.executable, "-c", _quiet(WRITER), str(folder), str(partition), str(pause), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )


def _quiet(program: str) -> str:
    return "from trunkline.telemetry.log import configure; configure('writer')\n" + program


def open_log(folder: Path) -> SqliteEventLog:
    return SqliteEventLog(folder, SystemClock(), reserve_bytes=0, stamp_now=time.monotonic_ns)


def await_ready(writer: subprocess.Popen[str]) -> None:
    assert writer.stderr is not None
    for line in writer.stderr:
        if line == "ready\n":
            return
    raise AssertionError("the writer ended before it was ready")


def test_a_reader_of_another_process_follows_within_20_ms(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    reader = log.reader("accepted", "g", {})
    writer = start(tmp_path, 0, 0.01, 60)
    await_ready(writer)
    delays: list[float] = []
    while len(delays) < 180:
        assert reader.wait(10), "nothing came for 10 s"
        came = reader.read(100)
        now = time.monotonic_ns()
        delays.extend((now - fetched.record.stamp) / 1e6 for fetched in came)
    assert statistics.median(delays) < 20, f"{statistics.median(delays):.1f} ms"
    writer.communicate()
    log.close()


def test_what_a_killed_writer_acknowledged_is_there(tmp_path: Path) -> None:
    acknowledged: dict[int, int] = {}
    log = open_log(tmp_path)
    for delay in (0.05, 0.2, 0.4):
        writer = start(tmp_path, 0, 0.0, 1_000_000)
        await_ready(writer)
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        printed = writer.communicate()[0]
        lines = [line.split() for line in printed.splitlines(keepends=True) if line[-1] == "\n"]
        assert lines
        acknowledged.update({int(line[0]): int(line[1]) for line in lines})
    found = read_all(log, 0)
    assert sorted(found) == list(range(len(found)))
    for offset, number in acknowledged.items():
        for at in range(3):
            assert found[offset + at].startswith(b"%d.%d:" % (number, at))
    assert len(found) % 3 == 0, "an append is there in part"
    log.close()


def read_all(log: SqliteEventLog, partition: int) -> dict[int, bytes]:
    reader = log.reader("accepted", "g", {})
    found: dict[int, bytes] = {}
    while taken := reader.read(5000):
        for fetched in taken:
            assert fetched.offset not in found
            found[fetched.offset] = fetched.record.value
    reader.close()
    return found


def test_a_second_process_may_not_write_the_same_partition(tmp_path: Path) -> None:
    writer = start(tmp_path, 0, 0.01, 100_000)
    await_ready(writer)
    log = open_log(tmp_path)
    with pytest.raises(LogFailure, match=f"process {writer.pid} appends to this partition"):
        log.appender("accepted", 0)
    log.appender("accepted", 1).append([Record(b"", b"mine", 1)])
    writer.kill()
    writer.communicate()
    log.appender("accepted", 0).append([Record(b"", b"mine now", 1)])
    log.close()


def test_processes_commit_different_groups_at_the_same_time(tmp_path: Path) -> None:
    program = _quiet(
        "import sys; from pathlib import Path\n"
        "from trunkline.eventlogs.sqlite import SqliteEventLog\n"
        "from trunkline.kit.clock import SystemClock\n"
        "log = SqliteEventLog(Path(sys.argv[1]), SystemClock())\n"
        "for n in range(1, 101): log.commit('t', sys.argv[2], {0: n, 1: n})\n"
    )
    root = Path(__file__).parent.parent.parent
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), f"group-{n}"], cwd=root)
        for n in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    log = open_log(tmp_path)
    for n in range(3):
        assert log.committed("t", f"group-{n}") == {0: 100, 1: 100}
    log.close()
