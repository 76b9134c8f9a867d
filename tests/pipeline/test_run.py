"""The loop on its thread: wakes at once, backs off from a log that fails, stops when told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.pipeline_world import NOW_MS, World, event, make_snapshot
from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.eventlog import LogFailure, LogFull, Record
from trunkline.model.record import EVENTS
from trunkline.pipeline.books import Books


class EventsFull(MemoryEventLog):
    """A log whose EVENTS take nothing for a number of appends."""

    fails = 0
    tries = 0
    then: Callable[[], None] = staticmethod(lambda: None)

    def store(self, topic: str, partition: int, records: Sequence[Record]) -> range:
        if topic == EVENTS:
            self.tries += 1
            if self.tries <= self.fails:
                raise LogFull("the disk is full") if self.tries % 2 else LogFailure("no")
            offsets = super().store(topic, partition, records)
            self.then()
            return offsets
        return super().store(topic, partition, records)


def test_a_full_log_is_tried_again_later_and_loses_nothing(tmp_path: Path) -> None:
    log = EventsFull(FakeClock(NOW_MS))
    world = World(tmp_path, log=log)
    world.accept(event("m1"), event("m2"))
    stop = threading.Event()
    log.fails, log.then = 6, stop.set
    world.pipeline.run(stop)
    assert world.output_ids() == ["m1", "m2"]
    waited = (world.clock.now_ms() - NOW_MS) / 1000
    assert log.tries == 7 and 18 <= waited <= 19  # 0.5 + 1 + 2 + 5 + 5 + 5
    assert world.check_ledger()["accepted"] == 2
    world.close()


def test_a_state_file_that_fails_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.accept(event("m1"), event("m2"))
    stop = threading.Event()
    real = Books.save
    tries: list[int] = []

    def save(self: Books, *args: object) -> None:
        tries.append(1)
        if len(tries) < 4:
            raise OSError("a defect")
        real(self, *args)  # type: ignore[arg-type] handed through as they came
        stop.set()

    monkeypatch.setattr(Books, "save", save)
    world.pipeline.run(stop)
    assert world.output_ids() == ["m1", "m2"]
    assert world.check_ledger()["accepted"] == 2
    world.close()


def test_it_waits_for_a_catalog_without_spinning(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.snapshot = None
    world.accept(event("m1"))
    stop = threading.Event()
    pause, pauses = world.clock.pause, list[float]()

    def count(seconds: float) -> None:
        pauses.append(seconds)
        pause(seconds)
        if len(pauses) == 10:
            stop.set()

    world.clock.pause = count
    world.pipeline.run(stop)
    assert pauses == pytest.approx([0.2] * 10)
    world.snapshot = make_snapshot()
    world.drain()
    assert world.output_ids() == ["m1"]
    world.close()


def test_an_event_goes_through_at_once_and_a_stop_is_prompt(tmp_path: Path) -> None:
    clock = SystemClock()
    world = World(tmp_path, log=MemoryEventLog(clock), clock=clock)
    stop = threading.Event()
    thread = threading.Thread(target=world.pipeline.run, args=(stop,))
    reader = world.log.reader(EVENTS, "test", {})
    world.pipeline.recover()
    thread.start()
    took: list[float] = []
    for number in range(20):
        started = clock.monotonic()
        world.accept(event(f"m{number}"))
        while not reader.read(10):
            assert reader.wait(5)
        took.append(clock.monotonic() - started)
    started = clock.monotonic()
    stop.set()
    thread.join(5)
    assert not thread.is_alive() and clock.monotonic() - started < 1.5
    assert sorted(took)[10] < 0.1
    reader.close()
    world.close()


@pytest.mark.parametrize(("events", "waited_seconds"), [(3, 0), (40, 0.02)])
def test_it_waits_for_more_only_where_events_come_in_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: int, waited_seconds: float
) -> None:
    world = World(tmp_path)
    world.accept(*(event(f"m{number}") for number in range(events)))
    stop = threading.Event()
    pause, pauses = world.clock.pause, list[float]()

    def count(seconds: float) -> None:
        pauses.append(seconds)
        pause(seconds)
        stop.set()

    def read_or_stop(*_: object) -> bool:
        stop.set()
        return False

    world.clock.pause = count
    world.pipeline.recover()
    parts = world.pipeline._parts  # pyright: ignore[reportPrivateUsage] where it would wait
    assert parts is not None
    monkeypatch.setattr(parts.reader, "wait", read_or_stop)
    world.pipeline.run(stop)
    assert len(world.output_ids()) == events
    assert sum(pauses) == pytest.approx(waited_seconds)
    world.close()
