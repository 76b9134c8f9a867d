"""The files of the sqlite log: what they hold, what is refused, what stays small and fast."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from trunkline.eventlogs import sqlite
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.eventlog import LogFailure, Record
from trunkline.state.segment import BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX, encode_blocks, segment_path


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    log = open_log(tmp_path)
    yield log
    log.close()


def open_log(folder: Path, **settings: int) -> SqliteEventLog:
    return SqliteEventLog(folder, FakeClock(), reserve_bytes=0, **settings)


def records(count: int, size: int = 700) -> list[Record]:
    return [Record(b"k", (b"%d:" % at).ljust(size, b"."), at) for at in range(count)]


def first_segment(folder: Path) -> Path:
    return segment_path(folder / "accepted" / "0", 0)


def test_a_segment_is_a_file_that_anyone_can_open(log: SqliteEventLog, tmp_path: Path) -> None:
    log.appender("accepted", 0).append(records(10))
    log.close()
    path = tmp_path / "accepted" / "0" / "00000000000000000000.db"
    db = apsw.Connection(str(path))
    assert db.pragma("application_id") == 0x54524B4C
    assert db.pragma("user_version") == 1
    assert db.execute("SELECT base, count, first, last FROM block").fetchall() == [(0, 10, 0, 9)]
    db.close()


def test_a_segment_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.appender("accepted", 0).append(records(3))
    log.close()
    db = apsw.Connection(str(first_segment(tmp_path)))
    db.pragma("user_version", 2)
    db.close()
    before = first_segment(tmp_path).read_bytes()
    again = open_log(tmp_path)
    for attempt in (
        lambda: again.appender("accepted", 0),
        lambda: again.fetch("accepted", 0, 0),
        lambda: again.reader("accepted", "g", {}).read(10),
    ):
        with pytest.raises(LogFailure, match="format 2, this Trunkline knows 1"):
            attempt()
    again.close()
    assert first_segment(tmp_path).read_bytes() == before


def test_a_foreign_file_is_not_taken_for_a_segment(tmp_path: Path) -> None:
    first_segment(tmp_path).parent.mkdir(parents=True)
    db = apsw.Connection(str(first_segment(tmp_path)))
    db.execute("PRAGMA user_version=1; CREATE TABLE other (x)")
    db.close()
    log = open_log(tmp_path)
    with pytest.raises(LogFailure, match="not a segment of ours"):
        log.appender("accepted", 0)
    log.close()


@pytest.mark.parametrize("where", [0, 100, 40_000])
def test_a_damaged_segment_is_named_and_never_skipped(tmp_path: Path, where: int) -> None:
    log = open_log(tmp_path, segment_bytes=200_000)
    appender = log.appender("accepted", 0)
    for _ in range(8):
        appender.append(records(100))
    log.close()
    path = first_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[where : where + 30_000] = bytes([0xA5]) * 30_000
    path.write_bytes(content)
    again = open_log(tmp_path)
    reader = again.reader("accepted", "g", {})
    for _ in range(2):
        with pytest.raises(LogFailure, match=rf"{path.name}.*(damaged|not a segment)"):
            while reader.read(100_000):
                pass
    assert reader.positions()[0] <= 200
    again.close()


def test_offsets_go_on_after_everything_old_was_removed(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_bytes=100_000)
    appender = log.appender("accepted", 0)
    for _ in range(10):
        appender.append(records(100))
    log.retain("accepted", 1 << 60, None)
    log.close()
    again = open_log(tmp_path)
    assert list(again.appender("accepted", 0).append(records(1))) == [1000]
    again.close()


def test_offsets_never_fall_below_what_a_group_is_past(tmp_path: Path) -> None:
    """Should the newest file be lost with its events, nobody skips those that come after."""
    log = open_log(tmp_path)
    log.appender("accepted", 0).append(records(10))
    log.commit("accepted", "g", {0: 25})
    log.close()
    again = open_log(tmp_path)
    assert list(again.appender("accepted", 0).append(records(1))) == [25]
    reader = again.reader("accepted", "g", {})
    found = [*reader.read(100), *reader.read(100)]
    assert [fetched.offset for fetched in found] == [*range(10), 25]
    again.close()


def test_the_write_ahead_log_stays_small_under_a_steady_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES", 262_144)
    log = SqliteEventLog(tmp_path, SystemClock(), reserve_bytes=0)
    appender = log.appender("accepted", 0)
    reader = log.reader("accepted", "g", {})
    path = first_segment(tmp_path)
    largest = 0
    for _ in range(150):
        appender.append(records(100))
        reader.read(1000)
        largest = max(largest, path.with_name(path.name + "-wal").stat().st_size)
    assert largest < 150 * 70_000 / 2, f"{largest} bytes"
    log.close()


def test_what_a_crash_left_in_closed_segments_is_tidied(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.appender("accepted", 0).append(records(10))
    log.close()
    orphan = tmp_path / "accepted" / "0" / "00000000000000000777.db-wal"
    orphan.write_bytes(b"left behind")
    again = open_log(tmp_path)
    again.appender("accepted", 0)
    assert not orphan.exists()
    again.close()


def test_blocks_hold_no_more_than_their_limits() -> None:
    for count, size in ((5_000, 10), (4_000, 700), (3, 3_000_000), (1, 0)):
        given = records(count, size)
        blocks = encode_blocks(given, 100, -5)
        assert blocks[0].base == 100
        for block, following in itertools.pairwise(blocks):
            assert following.base == block.base + block.length
            assert following.last >= block.last
        assert sum(block.length for block in blocks) == count
        for block in blocks:
            assert block.length <= BLOCK_RECORDS_MAX
            assert len(block.data) <= BLOCK_BYTES_MAX or block.length == 1


@pytest.mark.slow
def test_one_record_among_millions_is_found_within_5_ms(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path, SystemClock(), reserve_bytes=0, segment_bytes=30_000_000)
    appender = log.appender("accepted", 0)
    batch = [Record(b"", b"x" * 60, at) for at in range(2_000)]
    for at in range(1_000):
        appender.append([record._replace(stamp=at * 2_000) for record in batch])
    spent: list[float] = []
    for offset in range(7, 2_000_000, 9_973):
        begin = time.perf_counter()
        found = log.fetch("accepted", 0, offset)
        spent.append(time.perf_counter() - begin)
        assert found is not None
        assert found.offset == offset
    assert sorted(spent)[len(spent) // 2] < 0.005
    assert log.offset_at("accepted", 0, 1_001_999) == 502 * 2_000 - 2_000
    log.close()
