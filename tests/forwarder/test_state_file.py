"""The state file: one moment of all groups, nothing lost when the disk is full, old rows go."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import InlineWorker, Rig, destination, event, run, snapshot
from trunkline.forwarder.threads import WorkThread
from trunkline.model.outcome import Blocked, Delivered, Retry
from trunkline.model.record import EVENTS
from trunkline.state.forwarder import pack_offsets, unpack_offsets

T = TypeVar("T")


@given(st.sets(st.integers(0, 1 << 40), max_size=50).map(sorted))
def test_packed_offsets_come_back(offsets: list[int]) -> None:
    assert unpack_offsets(pack_offsets(offsets)) == offsets


@given(st.integers(0, 1 << 40), st.lists(st.integers(1, 127), max_size=50))
def test_dense_offsets_take_a_byte_each(first: int, steps: list[int]) -> None:
    offsets = [first]
    for step in steps:
        offsets.append(offsets[-1] + step)
    packed = pack_offsets(offsets)
    assert unpack_offsets(packed) == offsets
    assert len(packed) <= 6 + len(steps)


def test_a_crash_sends_exactly_what_was_not_finished(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda s: Retry("busy") if "a0" in s.ids else Delivered()
        await rig.start()
        rig.put(event("a0", "a"))
        await rig.settle()
        rig.put(event("b0", "b"), event("a1", "a"), event("b1", "b"))
        await rig.run_for(0.5)
        await rig.crash()
        assert rig.saved().unfinished == (0, 2)
        rig.receiver.answer = lambda sent: Delivered()
        rig.receiver.requests.clear()
        await rig.start()
        await rig.run_for(1)
        assert [id_ for sent in rig.receiver.requests for id_ in sent.ids] == ["a0", "a1"]
        await rig.stop()

    run(story)


class FullDisk(InlineWorker):
    """A worker whose jobs fail as on a full disk while `is_full`."""

    is_full = False

    async def run(self, job: Callable[[], T]) -> T:
        if FullDisk.is_full and self.name == "state":
            raise apsw.FullError("database or disk is full")
        return await super().run(job)


def test_while_the_disk_takes_nothing_no_request_is_started_and_nothing_is_forgotten(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.options["threads"] = FullDisk
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        FullDisk.is_full = True
        rig.put(event("m1", "a"))
        await rig.run_for(3)
        sent = len(rig.receiver.requests)
        rig.put(*[event(f"n{i}", "a") for i in range(50)])
        await rig.run_for(5)
        assert len(rig.receiver.requests) == sent
        FullDisk.is_full = False
        await rig.run_for(5)
        assert len(rig.delivered()) == len(set(rig.delivered())) == 52
        assert rig.balance() == (52, 52)
        await rig.stop()

    run(story)


def test_ids_are_never_used_twice_over_crashes(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        seen: set[int] = set()
        for i in range(4):
            await rig.start()
            rig.put(event(f"m{i}", "a"))
            await rig.run_for(1)
            fresh = {row[0] for row in rig.rows("SELECT id FROM fate")} - seen
            assert len(fresh) == 1
            assert not seen or min(fresh) > max(seen)
            seen |= fresh
            await rig.crash()

    run(story)


def test_old_attempts_go_and_new_ones_stay(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.options["keep_days"] = 0.01
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(600, step=0.5)
        rig.put(event("m1", "a"))
        await rig.run_for(300, step=0.5)
        rows = rig.rows("SELECT offsets FROM fate JOIN fate_span ON fate=id")
        assert [unpack_offsets(row[0]) for row in rows] == [[1]]
        assert rig.rows("SELECT COUNT(*) FROM fate_span") == [(1,)]
        await rig.stop()

    run(story)


def test_what_a_parked_destination_needs_is_never_removed_from_the_log(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.options["keep_days"] = 0.001
        rig.snapshot = snapshot(1, destination(1), destination(2))
        rig.receiver.answer = lambda s: Blocked("no") if s.to.endswith("d1") else Delivered()
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(200, step=0.5)
        assert rig.log.committed(EVENTS, "1") == {0: 0}
        assert rig.log.committed(EVENTS, "2") == {0: 1}
        await rig.crash()

    run(story)


def test_a_work_thread_runs_jobs_in_order_and_hands_errors_over() -> None:
    async def story() -> None:
        worker = WorkThread("test")
        names = [await worker.run(lambda: threading.current_thread().name) for _ in range(3)]
        assert names == ["test"] * 3
        try:
            await worker.run(lambda: random.Random().choice([]))
        except IndexError:
            pass
        else:
            raise AssertionError("the error was swallowed")
        worker.close()

    run(story)
