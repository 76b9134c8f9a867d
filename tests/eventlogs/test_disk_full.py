"""A full disk: nothing half stored, the reserve let go for the state files, recovery by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import LogFull, Record
from trunkline.state.reserve import Reserve

RESERVE = 1_048_576


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def batch(number: int) -> list[Record]:
    return [Record(b"k", (b"%d:%d:" % (number, at)).ljust(700, b"."), number) for at in range(20)]


def read_all(log: SqliteEventLog) -> list[bytes]:
    reader = log.reader("accepted", "g", {})
    out: list[bytes] = []
    while taken := reader.read(1000):
        out.extend(fetched.record.value for fetched in taken)
    reader.close()
    return out


def test_a_full_disk_is_told_and_survived(small_disk: Path) -> None:
    log = SqliteEventLog(
        small_disk / "log", FakeClock(), reserve_bytes=RESERVE, segment_bytes=1_000_000
    )
    appender = log.appender("accepted", 0)
    assert not log.is_full
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3_000_000))
    stored: list[bytes] = []
    with pytest.raises(LogFull, match="bytes are free"):
        for number in range(10_000):
            appender.append(batch(number))
            stored.extend(record.value for record in batch(number))
    assert stored
    assert log.is_full
    _check_that_the_reserve_serves_the_state(log, small_disk)
    for refused in (appender.probe, lambda: appender.append(batch(77))):
        with pytest.raises(LogFull):
            refused()
    assert read_all(log) == stored
    ballast.unlink()
    appender.probe()
    assert not log.is_full
    appender.append(batch(99_999))
    stored.extend(record.value for record in batch(99_999))
    assert read_all(log) == stored
    log.close()


def _check_that_the_reserve_serves_the_state(log: SqliteEventLog, disk: Path) -> None:
    assert not (log.folder / "reserve").exists()
    state = disk / "state.db"
    state.write_bytes(bytes(RESERVE // 4))
    state.unlink()
    log.commit("accepted", "g", {0: 0})
    assert log.committed("accepted", "g") == {0: 0}


def test_a_log_opens_on_a_full_disk_and_takes_records_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 65_536))
    log = SqliteEventLog(small_disk / "log", FakeClock(), reserve_bytes=RESERVE)
    appender = log.appender("accepted", 0)
    assert log.is_full
    with pytest.raises(LogFull):
        appender.append(batch(1))
    ballast.unlink()
    appender.append(batch(2))
    assert read_all(log) == [record.value for record in batch(2)]
    log.close()


def test_a_log_opens_where_not_one_byte_is_free(small_disk: Path) -> None:
    log = SqliteEventLog(small_disk / "log", FakeClock(), reserve_bytes=RESERVE)
    log.appender("accepted", 0).append(batch(1))
    log.close()
    os.truncate(small_disk / "log/accepted/0/lock", 0)
    (small_disk / "log/reserve").unlink(missing_ok=True)
    with (
        (small_disk / "ballast").open("wb", buffering=0) as ballast,
        pytest.raises(OSError, match="No space left"),
    ):
        while True:
            ballast.write(bytes(4096))
    log = SqliteEventLog(small_disk / "log", FakeClock(), reserve_bytes=RESERVE)
    appender = log.appender("accepted", 0)
    with pytest.raises(LogFull):
        appender.append(batch(2))
    (small_disk / "ballast").unlink()
    appender.append(batch(3))
    assert read_all(log) == [record.value for record in [*batch(1), *batch(3)]]
    log.close()


def test_the_reserve_holds_blocks_and_comes_back_when_twice_its_size_is_free(
    small_disk: Path,
) -> None:
    reserve = Reserve(small_disk / "reserve", RESERVE)
    assert not reserve.is_held
    assert reserve.make()
    assert reserve.path.stat().st_blocks * 512 >= RESERVE
    held = reserve.free_bytes()
    reserve.let_go()
    reserve.let_go()
    assert reserve.free_bytes() >= held + RESERVE
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(reserve.free_bytes() - 2 * RESERVE + 65_536))
    assert not reserve.make()
    ballast.unlink()
    assert reserve.make()
    assert [path.name for path in small_disk.iterdir()] == ["reserve"]


def test_another_process_of_the_node_stops_when_the_reserve_was_let_go(small_disk: Path) -> None:
    first = SqliteEventLog(small_disk / "log", FakeClock(), reserve_bytes=RESERVE)
    second = SqliteEventLog(small_disk / "log", FakeClock(), reserve_bytes=RESERVE)
    appender = second.appender("accepted", 1)
    appender.append(batch(1))
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - 200_000))
    first.reserve.let_go()
    with pytest.raises(LogFull):
        appender.append(batch(2))
    ballast.unlink()
    appender.append(batch(3))
    assert read_all(first) == [record.value for number in (1, 3) for record in batch(number)]
    first.close()
    second.close()
