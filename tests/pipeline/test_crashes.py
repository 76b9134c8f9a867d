"""A crash anywhere: nothing accepted is lost, nothing is put out twice, each record counts once."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.inline import InlineExecutor
from tests.support.pipeline_world import NOW_MS, World, event, refusal
from tests.support.power import PowerVFS
from trunkline.eventlogs import sqlite
from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import LogFailure, LogFull, Record
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import ACCEPTED, EVENTS, AcceptedEvent, AcceptedRefusal
from trunkline.pipeline.books import Books
from trunkline.state.ids import IdIndex

_NUMBERS = itertools.count()
# SQLite asks the dead disk for things whose failure it then ignores; apsw reports those aside.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Crash(Exception):
    """The process ends here."""


class FailingLog(MemoryEventLog):
    """A log whose next append to EVENTS fails: `before` it is stored, or `after`."""

    fails: str = ""
    error: Exception = Crash()

    def store(self, topic: str, partition: int, records: Sequence[Record]) -> range:
        when, self.fails = (self.fails, "") if topic == EVENTS else ("", self.fails)
        if when == "before":
            raise self.error
        offsets = super().store(topic, partition, records)
        if when == "after":
            raise self.error
        return offsets


def raising(method: Callable[..., object], when: str) -> Callable[..., None]:
    """Return a method that crashes before or after the real one."""

    def crash(*args: object) -> None:
        if when == "after":
            method(*args)
        raise Crash

    return crash


STAGES = [
    ("log", "before"),
    ("log", "after"),
    ("put_many", "before"),
    ("put_many", "after"),
    ("save", "before"),
    ("save", "after"),
]


@pytest.mark.parametrize(("stage", "when"), STAGES)
def test_a_crash_at_any_stage_of_a_step_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, when: str
) -> None:
    log = FailingLog(FakeClock(NOW_MS))
    world = World(tmp_path, log=log)
    world.accept(event("m0"), event("m1"))
    world.drain()
    world.accept(event("m1"), event("m2"), event("m2"), refusal(), event("m3", poison=1))
    with monkeypatch.context() as patch:
        if stage == "log":
            log.fails = when
        else:
            owner = IdIndex if stage == "put_many" else Books
            patch.setattr(owner, stage, raising(getattr(owner, stage), when))
        with pytest.raises(Crash):
            world.pipeline.step()
    world.restart()
    world.pipeline.recover()
    world.accept(event("m2"), event("m4"), partition=1)
    world.drain()
    assert world.output_ids() == ["m0", "m1", "m2", "m4"]
    counts = world.check_ledger()
    assert (counts["received"], counts["duplicate"], counts["refused"]) == (9, 3, 2)
    world.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_append_that_failed_may_be_found_whole_and_is_not_done_twice(
    tmp_path: Path, when: str
) -> None:
    log = FailingLog(FakeClock(NOW_MS))
    log.error = LogFull("the disk is full")
    world = World(tmp_path, log=log)
    world.accept(event("m1"), event("m2"), event("m1"))
    log.fails = when
    with pytest.raises(LogFull):
        world.pipeline.step()
    world.accept(event("m2"))
    world.drain()  # the same pipeline goes on
    assert world.output_ids() == ["m1", "m2"]
    assert world.check_ledger()["duplicate"] == 2
    world.close()


def test_a_lost_state_is_made_again_from_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.accept(*[event(f"m{i}") for i in range(2500)])
    world.drain()
    world.pipeline.close()
    shutil.rmtree(tmp_path / "state")
    world.pipeline = world.make_pipeline()
    world.accept(event("m7"), event("new"))
    world.drain()
    assert len(world.outputs()) == 2501
    assert world.check_ledger()["duplicate"] == 1  # ACCEPTED was all there, so the ledger is too
    world.close()


def test_a_lost_or_broken_id_file_is_made_again_from_events(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.accept(*[event(f"m{i}") for i in range(50)])
    world.drain()
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 8192)):
        world.pipeline.close()
        (path,) = world.home.ids_folder.glob("*.db")
        damage(path)
        world.pipeline = world.make_pipeline()
        world.accept(event("m7"))
        world.drain()
    assert len(world.outputs()) == 50
    assert world.check_ledger()["duplicate"] == 2
    world.close()


def test_a_log_older_than_the_state_loses_no_new_event(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.accept(*[event(f"m{i}") for i in range(20)])
    world.drain()
    world.pipeline.close()
    restored = World(tmp_path, log=MemoryEventLog(world.clock))
    restored.accept(*[event(f"m{i}") for i in range(5)], event("new"))
    restored.drain()
    assert restored.output_ids() == ["m0", "m1", "m2", "m3", "m4", "new"]
    restored.close()
    world.log.close()


class Machine:
    """A whole home on a disk that loses its power, beside the list of what was accepted."""

    PARTITIONS = (0, 1)

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.vfs = PowerVFS(f"pipeline-{next(_NUMBERS)}")
        self.root = Path(tempfile.mkdtemp(prefix="pipeline-"))
        self.homes = 0
        self.clock = FakeClock(NOW_MS)
        self.stamp = 0
        self.accepted: dict[tuple[int, int], AcceptedEvent | AcceptedRefusal] = {}
        self.in_doubt: list[tuple[int, list[AcceptedEvent | AcceptedRefusal]]] = []
        self.serial = 0
        self.crashes = 0
        self._wal_bytes, sqlite.WAL_BYTES = sqlite.WAL_BYTES, 65_536
        self.world = self.open()

    def open(self) -> World:
        folder = self.root / str(self.homes)
        log = SqliteEventLog(
            folder / "log",
            self.clock,
            segment_bytes=100_000,
            segment_seconds=3600,
            reserve_bytes=0,
            vfs=self.vfs.name,
            tidy=InlineExecutor(),
        )
        small = PipelineSettings(batch_events_max=20)
        world = World(folder, log=log, settings=small, vfs=self.vfs.name, clock=self.clock)
        world.stamp = self.stamp
        return world

    def accept(self) -> None:
        records = [self.make_record() for _ in range(self.rng.choice((1, 3, 40)))]
        partition = self.rng.choice(self.PARTITIONS)
        try:
            offsets = self.world.accept(*records, partition=partition)
        except LogFailure:
            self.in_doubt.append((partition, records))
            raise
        self.accepted.update(
            {(partition, offset): record for offset, record in zip(offsets, records, strict=True)}
        )

    def make_record(self) -> AcceptedEvent | AcceptedRefusal:
        now_ms = self.clock.now_ms()
        dice = self.rng.random()
        if dice < 0.1:
            return refusal(count=self.rng.choice((1, 4)), received_ms=now_ms)
        self.serial += dice < 0.7
        body = {"poison": 1} if dice < 0.15 else {"n": self.serial}
        kind = "p" if dice < 0.15 else "m"
        message_id = (
            f"{kind}{self.serial if dice < 0.8 else self.rng.randrange(1, self.serial + 2)}"
        )
        return event(message_id, user=f"u:{self.serial % 5}", received_ms=now_ms, **body)

    def act(self) -> None:
        action = self.rng.choice(("accept", "accept", "step", "step", "step", "sync", "time"))
        if action == "accept":
            self.accept()
        elif action == "step":
            self.world.pipeline.step()
        elif action == "sync":
            self.world.pipeline.sync()
        else:
            self.clock.pause(self.rng.choice((0.5, 30, 5 * 3600)))

    def live(self, actions: int) -> None:
        """Act until the power goes, or for so long."""
        self.vfs.cut_after(self.rng.randrange(5, 400))
        with contextlib.suppress(LogFailure, apsw.Error):
            for _ in range(actions):
                self.act()

    def lose_power(self) -> None:
        self.vfs.is_off = True
        self.stamp = self.world.stamp
        self.close()
        old = self.root / str(self.homes)
        self.homes += 1
        self.vfs.lose_power(old, self.root / str(self.homes), self.rng)
        shutil.rmtree(old)
        self.crashes += 1
        self.world = self.open()
        self.settle_doubt()

    def settle_doubt(self) -> None:
        """Take over appends to ACCEPTED that failed and are found, as its contract allows."""
        for partition, records in self.in_doubt:
            end = self.world.log.ends(ACCEPTED).get(partition, 0)
            mine = [offset for number, offset in self.accepted if number == partition]
            first = max(mine, default=-1) + 1
            if end > first:
                assert end == first + len(records)
                self.accepted.update(
                    {(partition, first + i): record for i, record in enumerate(records)}
                )
        self.in_doubt.clear()

    def check(self) -> None:
        """Drain, then compare what came out with what was accepted."""
        self.world.drain()
        counts = self.world.check_ledger()
        expected: Counter[str] = Counter()
        for record in self.accepted.values():
            expected["received"] += record.count if isinstance(record, AcceptedRefusal) else 1
        assert counts["received"] == expected["received"]
        refused = sum(
            r.count if isinstance(r, AcceptedRefusal) else b"poison" in r.body
            for r in self.accepted.values()
        )
        assert counts["refused"] == refused
        wanted = {
            record.message_id
            for record in self.accepted.values()
            if isinstance(record, AcceptedEvent) and b"poison" not in record.body
        }
        ids = self.world.output_ids()
        assert len(ids) == len(set(ids)), "an event was put out twice"
        assert set(ids) == wanted, "an accepted event is missing, or came from nowhere"
        self.check_order()

    def check_order(self) -> None:
        last: dict[int, int] = {}
        for stored in self.world.outputs():
            assert stored.origin_offset > last.get(stored.origin_partition, -1)
            last[stored.origin_partition] = stored.origin_offset

    def close(self) -> None:
        """Let go, with the power off: each part may complain, and all of them are let go."""
        for close in (self.world.pipeline.close, self.world.log.close, self.world.log.close):
            with contextlib.suppress(LogFailure, apsw.Error):
                close()

    def destroy(self) -> None:
        self.vfs.is_off = True
        self.close()
        self.vfs.unregister()
        sqlite.WAL_BYTES = self._wal_bytes
        shutil.rmtree(self.root)


def live_through(seed: int, crashes: int) -> None:
    machine = Machine(seed)
    try:
        for _ in range(crashes):
            machine.live(25)
            machine.lose_power()
            if machine.rng.random() < 0.3:
                # Recovery itself may be cut short.
                machine.vfs.cut_after(machine.rng.randrange(1, 60))
                with contextlib.suppress(LogFailure, apsw.Error):
                    machine.world.pipeline.recover()
                machine.lose_power()
            machine.check()
    finally:
        machine.destroy()


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(seed=st.integers(0, 2**32))
def test_power_lost_at_any_write_loses_nothing_and_doubles_nothing(seed: int) -> None:
    live_through(seed, crashes=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_power_lost_at_any_write_again_and_again() -> None:
    for seed in [*range(80), 587]:
        live_through(seed, crashes=6)


def test_the_proof_sees_a_position_that_runs_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same test fails where positions are saved without their step."""

    def skip_one(self: Books, *args: object) -> None:
        verdicts, positions, *rest = args
        assert isinstance(positions, dict)
        real(self, verdicts, {p: next_ + 1 for p, next_ in positions.items()}, *rest)  # type: ignore[arg-type]

    real = Books.save
    monkeypatch.setattr(Books, "save", skip_one)
    with pytest.raises(AssertionError):
        for seed in range(20):
            live_through(seed, crashes=2)


def test_the_proof_sees_a_recovery_that_does_not_read_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same test fails where a restart believes the index."""
    monkeypatch.setattr(IdIndex, "covered", lambda self, expected, next_: next_)
    monkeypatch.setattr("trunkline.pipeline.recovery.replay", lambda *args: None)
    with pytest.raises(AssertionError):
        for seed in range(40):
            live_through(seed, crashes=3)
