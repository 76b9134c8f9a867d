"""What every event log promises, over each implementation of the shelf."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import EventLog, Fetched, LogFailure, Reader, Record

TOPIC = "accepted"
Opener = Callable[..., EventLog]


def record(number: int, size: int = 20, stamp: int | None = None) -> Record:
    return Record(
        b"app\0user-%d" % (number % 7),
        (b"%d:" % number).ljust(size, b"."),
        number if stamp is None else stamp,
    )


def drain(reader: Reader, records_max: int = 100) -> list[Fetched]:
    out: list[Fetched] = []
    while taken := reader.read(records_max):
        out.extend(taken)
    return out


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Opener]:
    opened: list[EventLog] = []

    def make(**settings: object) -> EventLog:
        log: EventLog = (
            MemoryEventLog(clock, **settings)
            if request.param == "memory"
            else SqliteEventLog(tmp_path / "log", clock, reserve_bytes=0, **settings)
        )
        opened.append(log)
        return log

    yield make
    for log in opened:
        log.close()


@pytest.fixture
def log(opener: Opener) -> EventLog:
    return opener()


def test_records_come_back_whole_and_in_order(log: EventLog) -> None:
    appender = log.appender(TOPIC, 0)
    records = [record(number, size=number * 37 % 3000) for number in range(500)]
    offsets = [
        offset
        for start in range(0, 500, 90)
        for offset in appender.append(records[start : start + 90])
    ]
    assert offsets == sorted(set(offsets))
    read = drain(log.reader(TOPIC, "g", {}))
    assert [fetched.record for fetched in read] == records
    assert [fetched.offset for fetched in read] == offsets


def test_a_reader_starts_where_it_is_told(log: EventLog) -> None:
    offsets = log.appender(TOPIC, 0).append([record(number) for number in range(50)])
    reader = log.reader(TOPIC, "g", {0: offsets[20]})
    assert [fetched.offset for fetched in drain(reader)] == list(offsets[20:])
    reader.seek({0: offsets[48]})
    assert [fetched.offset for fetched in drain(reader)] == list(offsets[48:])
    reader.seek({})
    assert len(drain(reader)) == 50


def test_limits_of_a_read_hold_and_one_record_always_comes(log: EventLog) -> None:
    appender = log.appender(TOPIC, 0)
    appender.append([record(number, size=1000) for number in range(10)])
    reader = log.reader(TOPIC, "g", {})
    assert len(reader.read(3)) == 3
    assert len(reader.read(100, bytes_max=2500)) == 2
    assert len(reader.read(100, bytes_max=1)) == 1
    assert reader.positions() == {0: 6}
    assert len(reader.read(100)) == 4


def test_a_large_record_and_an_empty_one_come_back(log: EventLog) -> None:
    records = [Record(b"", b"", 0), Record(b"k", bytes(3_000_000), 5), Record(b"", b"x", 6)]
    log.appender(TOPIC, 0).append(records)
    assert [fetched.record for fetched in drain(log.reader(TOPIC, "g", {}))] == records


def test_an_append_of_nothing_is_nothing(log: EventLog) -> None:
    appender = log.appender(TOPIC, 0)
    assert list(appender.append([])) == []
    appender.probe()
    assert log.ends(TOPIC) == {0: 0}
    assert log.reader(TOPIC, "g", {}).read(10) == []


def test_a_partition_has_one_appender(log: EventLog) -> None:
    first = log.appender(TOPIC, 0)
    with pytest.raises(LogFailure, match="one appender at a time"):
        log.appender(TOPIC, 0)
    first.close()
    second = log.appender(TOPIC, 0)
    second.append([record(1)])
    with pytest.raises(LogFailure, match="closed"):
        first.append([record(2)])


def test_fetch_finds_each_record_and_nothing_else(log: EventLog) -> None:
    appender = log.appender(TOPIC, 3)
    records = [record(number) for number in range(40)]
    offsets = [appender.append(records[at : at + 7])[0] for at in range(0, 40, 7)]
    for at, offset in zip(range(0, 40, 7), offsets, strict=True):
        found = log.fetch(TOPIC, 3, offset)
        assert found is not None
        assert found == Fetched(3, offset, records[at])
    assert log.fetch(TOPIC, 3, log.ends(TOPIC)[3]) is None
    assert log.fetch(TOPIC, 9, 0) is None


def test_a_group_has_what_it_committed_until_it_is_forgotten(log: EventLog) -> None:
    assert log.committed(TOPIC, "g") == {}
    log.commit(TOPIC, "g", {0: 5, 1: 7})
    log.commit(TOPIC, "h", {0: 1})
    log.commit(TOPIC, "g", {0: 6})
    assert log.committed(TOPIC, "g") == {0: 6, 1: 7}
    log.forget(TOPIC, "g")
    assert log.committed(TOPIC, "g") == {}
    assert log.committed(TOPIC, "h") == {0: 1}


def test_offset_at_is_the_first_with_that_stamp_or_later(opener: Opener) -> None:
    log = opener(segment_bytes=200_000)
    appender = log.appender(TOPIC, 0)
    dice = random.Random(5)
    stamps: list[int] = []
    for _ in range(60):
        stamps.extend(dice.randrange(len(stamps), len(stamps) + 20) for _ in range(30))
        appender.append(
            [record(at, size=700, stamp=stamps[at]) for at in range(len(stamps) - 30, len(stamps))]
        )
    for stamp in [*range(0, 1850, 13), 10_000]:
        expected = next((at for at, each in enumerate(stamps) if each >= stamp), len(stamps))
        assert log.offset_at(TOPIC, 0, stamp) == expected
    assert log.offset_at(TOPIC, 8, 1) == 0


def test_a_sleeping_reader_wakes_for_an_append(log: EventLog) -> None:
    appender = log.appender(TOPIC, 0)
    reader = log.reader(TOPIC, "g", {})
    assert reader.wait(0.01) is False
    thread = threading.Timer(0.05, appender.append, ([record(1)],))
    thread.start()
    assert reader.wait(10) is True
    assert len(reader.read(10)) == 1
    thread.join()


def test_the_descriptor_turns_readable_and_drain_clears_it(log: EventLog) -> None:
    import select

    appender = log.appender(TOPIC, 0)
    reader = log.reader(TOPIC, "g", {})
    descriptor = reader.fileno()
    assert descriptor is not None
    assert select.select([descriptor], [], [], 0)[0] == []
    appender.append([record(1)])
    assert select.select([descriptor], [], [], 1)[0] == [descriptor]
    reader.drain()
    assert select.select([descriptor], [], [], 0)[0] == []


def test_partitions_that_appear_later_are_read(log: EventLog) -> None:
    log.appender(TOPIC, 0).append([record(1)])
    reader = log.reader(TOPIC, "g", {})
    assert len(drain(reader)) == 1
    log.appender(TOPIC, 1).append([record(2), record(3)])
    assert [fetched.partition for fetched in drain(reader)] == [1, 1]
    assert reader.positions() == {0: 1, 1: 2}


@pytest.mark.parametrize("has_clock", [True, False])
def test_what_was_acknowledged_before_another_was_received_comes_first(
    opener: Opener, has_clock: bool
) -> None:
    """Any interleaving of receiving, appending and reading, over three partitions."""
    for seed in range(12):
        _check_cause_and_effect(opener, has_clock, seed)


def _check_cause_and_effect(opener: Opener, has_clock: bool, seed: int) -> None:
    dice = random.Random(seed)
    now = [1_000]
    settings = {"stamp_now": lambda: now[0]} if has_clock else {}
    log = opener(segment_bytes=150_000, **settings)
    topic = f"topic-{seed}"
    appenders = [log.appender(topic, number) for number in range(3)]
    held: list[list[Record]] = [[], [], []]
    acknowledged_at: dict[int, int] = {}
    reader = log.reader(topic, "g", {})
    read: list[Fetched] = []
    count = 0
    for _ in range(120):
        now[0] += 1
        which = dice.randrange(3)
        match dice.choice(("receive", "receive", "append", "read")):
            case "receive":
                count += 1
                held[which].append(record(count, stamp=now[0]))
            case "append":
                dice.shuffle(held[which])
                appenders[which].append(held[which])
                now[0] += 1
                for each in held[which]:
                    acknowledged_at[int(each.value.split(b":")[0])] = now[0]
                held[which] = []
            case _:
                read.extend(reader.read(dice.choice((1, 3, 50))))
    now[0] += 1
    read.extend(drain(reader))
    assert len(read) == len(acknowledged_at)
    _check_order(read, acknowledged_at)


def _check_order(read: list[Fetched], acknowledged_at: dict[int, int]) -> None:
    latest_received = 0
    offsets: dict[int, int] = {}
    for fetched in read:
        assert offsets.get(fetched.partition, -1) < fetched.offset
        offsets[fetched.partition] = fetched.offset
        number = int(fetched.record.value.split(b":")[0])
        assert acknowledged_at[number] >= latest_received
        latest_received = max(latest_received, fetched.record.stamp)


def test_a_stamp_far_ahead_of_the_clock_does_not_hold_records_back(opener: Opener) -> None:
    log = opener(stamp_now=lambda: 10)
    log.appender(TOPIC, 0).append([record(1, stamp=10**18)])
    log.appender(TOPIC, 1).append([record(2, stamp=5)])
    assert [fetched.partition for fetched in drain(log.reader(TOPIC, "g", {}))] == [1, 0]


def fill(log: EventLog, segments: int) -> None:
    """Append records of rising stamps until a partition has so many closed segments."""
    appender = log.appender(TOPIC, 0)
    for number in range(segments * 10 + 1):
        appender.append([record(number, size=30_000)])


def test_retention_removes_old_segments_that_every_group_is_past(opener: Opener) -> None:
    log = opener(segment_bytes=300_000)
    fill(log, 5)
    end = log.ends(TOPIC)[0]
    log.commit(TOPIC, "fast", {0: end})
    log.commit(TOPIC, "slow", {0: 25})
    before = log.size_bytes(TOPIC)
    freed = log.retain(TOPIC, 10**9, None)
    assert freed > 0
    assert log.size_bytes(TOPIC) == before - freed
    begin = log.begins(TOPIC)[0]
    assert 10 < begin <= 25
    assert log.fetch(TOPIC, 0, begin - 1) is None
    assert log.fetch(TOPIC, 0, begin) is not None
    read = drain(log.reader(TOPIC, "slow", {0: 25}))
    assert [fetched.offset for fetched in read] == list(range(25, end))
    log.forget(TOPIC, "slow")
    log.retain(TOPIC, 10**9, None)
    assert log.begins(TOPIC)[0] > 40
    assert log.ends(TOPIC) == {0: end}


def test_retention_keeps_what_is_young_unless_it_is_above_the_size(opener: Opener) -> None:
    log = opener(segment_bytes=300_000)
    fill(log, 5)
    end = log.ends(TOPIC)[0]
    assert log.retain(TOPIC, 0, 1) == 0  # no group: by age only
    log.commit(TOPIC, "g", {0: end})
    assert log.retain(TOPIC, 0, None) == 0
    log.retain(TOPIC, 0, 700_000)
    assert log.size_bytes(TOPIC) <= 1_100_000
    assert 0 < log.begins(TOPIC)[0] < end
    kept = log.begins(TOPIC)[0]
    log.retain(TOPIC, kept, None)
    assert log.begins(TOPIC)[0] == kept


def test_a_reader_behind_the_beginning_goes_on_at_the_beginning(opener: Opener) -> None:
    log = opener(segment_bytes=300_000)
    fill(log, 3)
    log.retain(TOPIC, 10**9, None)
    begin, end = log.begins(TOPIC)[0], log.ends(TOPIC)[0]
    assert begin > 0
    read = drain(log.reader(TOPIC, "g", {0: 2}))
    assert [fetched.offset for fetched in read] == list(range(begin, end))


def test_an_old_segment_is_closed_and_the_last_one_stays(opener: Opener, clock: FakeClock) -> None:
    log = opener(segment_seconds=60)
    appender = log.appender(TOPIC, 0)
    appender.append([record(0)])
    clock.jump(61)
    assert log.retain(TOPIC, 10**9, None) == 0
    appender.append([record(1)])
    assert log.retain(TOPIC, 10**9, None) > 0
    assert log.begins(TOPIC) == {0: 1}
    assert log.retain(TOPIC, 10**9, None) == 0


def test_appends_from_many_threads_are_each_stored_once(log: EventLog) -> None:
    appender = log.appender(TOPIC, 0)
    offsets: list[int] = []

    def work(worker: int) -> None:
        for at in range(20):
            offsets.extend(appender.append([record(worker * 100 + at)]))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(offsets) == list(range(100))
    values = {fetched.record.value for fetched in drain(log.reader(TOPIC, "g", {}))}
    assert len(values) == 100


def test_a_search_finds_what_holds_a_hint_and_goes_on_where_it_ended(opener: Opener) -> None:
    log = opener(segment_bytes=20_000)
    appender = log.appender(TOPIC, 0)
    for start in range(0, 400, 50):
        appender.append([record(number, size=200) for number in range(start, start + 50)])
    hints, span = [b"7:", b"123:"], range(30, 390)
    expected = [n for n in span if any(hint in b"%d:" % n for hint in hints)]
    found: list[int] = []
    at = span.start
    while at < span.stop:
        some, at = log.search(TOPIC, 0, range(at, span.stop), hints, 10)
        found += [fetched.offset for fetched in some]
    assert found == expected
    assert log.search(TOPIC, 5, span, hints, 10) == ([], span.stop)


def test_replaced_records_keep_their_place_for_every_reader(opener: Opener) -> None:
    log = opener(segment_bytes=20_000)
    appender = log.appender(TOPIC, 0)
    for start in range(0, 400, 50):
        appender.append([record(number, size=200) for number in range(start, start + 50)])
    late, reader = log.reader(TOPIC, "late", {0: 3}), log.reader(TOPIC, "g", {})
    assert late.read(1)[0].offset == 3 and reader.read(120)[0].offset == 0
    assert (fetched := log.fetch(TOPIC, 0, 130)) is not None and fetched.record == record(130, 200)
    changed = {n: Record(b"", b"gone", n) for n in (0, 49, 130, 131, 260, 399, 5000)}
    log.replace(TOPIC, 0, changed)
    wanted = [changed.get(n, record(n, size=200)) for n in range(400)]
    assert [each.record for each in drain(log.reader(TOPIC, "new", {}))] == wanted
    assert [log.fetch(TOPIC, 0, n).record for n in (130, 132, 399)] == [  # type: ignore[union-attr]
        wanted[n] for n in (130, 132, 399)
    ]
    assert [each.record for each in drain(reader)][-140:] == wanted[260:]
    assert log.ends(TOPIC) == {0: 400}
    assert appender.append([record(400)]) == range(400, 401)
    assert log.offset_at(TOPIC, 0, 200) == 200
