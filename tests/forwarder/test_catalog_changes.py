"""A destination's life: made, changed, switched off, removed; and which events it is owed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forwarding import Rig, destination, event, run, snapshot
from trunkline.forwarder import engine
from trunkline.model.outcome import Delivered, Rejected, Retry
from trunkline.model.record import EVENTS

OTHER = "otherapplicatio"


def test_a_new_destination_gets_what_was_accepted_since_the_snapshot_that_made_it(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(*[event(f"old{i}", "a") for i in range(20)])
        await rig.run_for(1)
        # The gateway knew the snapshot before the forwarder did.
        rig.put(event("new0", "a", version=2), event("late", "b"), event("new1", "a", version=2))
        await rig.run_for(1)
        rig.snapshot = snapshot(2, destination(1), destination(2, since=2))
        await rig.run_for(1)
        rig.put(event("new2", "a", version=2))
        await rig.run_for(1)
        assert rig.delivered(2) == ["new0", "new1", "new2"]
        assert len(rig.delivered(1)) == 24
        assert rig.balance(2) == (3, 3)
        await rig.stop()

    run(story)


def test_it_gets_them_also_when_the_forwarder_was_down_when_it_was_made(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(event("old", "a"))
        await rig.run_for(1)
        rig.put(event("new0", "a", version=3))
        await rig.run_for(1)
        await rig.crash()
        rig.put(event("new1", "a", version=3))
        # It comes up with the catalog half way: the destination of snapshot 3 is not in it yet.
        rig.snapshot = snapshot(2, destination(1))
        await rig.start()
        await rig.run_for(1)
        rig.snapshot = snapshot(3, destination(1), destination(2, since=3))
        await rig.run_for(1)
        assert rig.delivered(2) == ["new0", "new1"]
        await rig.stop()

    run(story)


@pytest.mark.parametrize("is_told", [True, False])
def test_an_event_of_a_newer_catalog_is_decided_on_by_no_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(event("before", "a"))
        await rig.run_for(1)
        monkeypatch.setattr(engine, "TICK_SECONDS", 3600.0)  # it looks by itself no more
        await rig.run_for(1)
        rig.snapshot = snapshot(2, destination(enabled=False))
        rig.put(event("after", "a", version=2 if is_told else 1))
        await rig.run_for(1)
        # By what an older snapshot accepted it cannot know that there is a newer one.
        assert rig.delivered() == (["before"] if is_told else ["before", "after"])
        await rig.crash()

    run(story)


def test_a_fresh_home_reads_events_from_their_beginning(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.put(event("m0", "a"), event("m1", "a"))
        snap, rig.snapshot = rig.snapshot, None
        await rig.start()
        await rig.run_for(1)
        rig.snapshot = snap
        await rig.run_for(1)
        assert rig.delivered() == ["m0", "m1"]
        await rig.stop()

    run(story)


def test_switched_off_skips_what_comes_and_what_was_not_sent(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(0.1)
        rig.snapshot = snapshot(2, destination(enabled=False))
        await rig.run_for(1)
        rig.put(event("m2", "a"))
        await rig.run_for(5)
        assert rig.ledger() == {"filtered disabled": 3}
        rig.receiver.answer = lambda sent: Delivered()
        rig.snapshot = snapshot(3, destination())
        await rig.run_for(1)
        rig.put(event("m3", "a"))
        await rig.run_for(1)
        assert rig.delivered() == ["m3"]
        assert rig.balance() == (4, 4)
        await rig.stop()

    run(story)


def test_removal_ends_the_group_and_the_same_id_later_is_a_new_one(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_seconds=1)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(8)
        rig.log.commit(EVENTS, "1", {0: 0})
        rig.snapshot = snapshot(2)
        await rig.run_for(1)
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(0,)]
        assert rig.rows("SELECT removed_ms > 0 FROM grp") == [(1,)]
        await rig.run_for(61, step=0.5)
        assert rig.log.committed(EVENTS, "1") == {}, "it holds nothing back any more"
        rig.receiver.answer = lambda sent: Delivered()
        rig.snapshot = snapshot(3, destination(2, id="d1", since=3))
        await rig.run_for(1)
        rig.put(event("m2", "a", version=3))
        await rig.run_for(2)
        assert rig.receiver.delivered["zcmwmxbkmuodelu/d1"] == ["m2"]
        await rig.stop()

    run(story)


def test_a_node_that_starts_with_an_older_snapshot_removes_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(5, destination(1), destination(2))
        rig.receiver.answer = lambda sent: Rejected("no")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        await rig.stop()
        rig.snapshot = snapshot(4, destination(1))
        await rig.start()
        await rig.run_for(1)
        assert rig.rows("SELECT COUNT(*) FROM grp WHERE removed_ms IS NOT NULL") == [(0,)]
        rig.snapshot = snapshot(5, destination(1), destination(2))
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(1)
        rig.put(event("m1", "a", version=5))
        await rig.run_for(1)
        assert rig.delivered(2) == ["m1"]
        assert rig.balance(2) == (2, 2)
        await rig.stop()

    run(story)


def test_events_of_other_apps_move_an_idle_group_without_touching_it(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(1), destination(2, app=OTHER))
        await rig.start()
        await rig.run_for(1)
        before = rig.rows("SELECT seen FROM grp WHERE uid=1")
        rig.put(*[event(f"m{i}", "a", app=OTHER) for i in range(500)])
        await rig.run_for(2)
        assert rig.rows("SELECT seen FROM grp WHERE uid=1") == before, "its row was not written"
        assert rig.saved(1).position == 500, "and yet it stands at the head"
        await rig.crash()
        await rig.start()
        await rig.run_for(1)
        rig.put(event("mine", "a"))
        await rig.run_for(1)
        assert rig.delivered(1) == ["mine"]
        await rig.stop()

    run(story)
