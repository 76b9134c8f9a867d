"""Events that will not go: over to the waiting table, their user behind them, the mark moves on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forwarding import Answer, Rig, Sent, destination, event, run, snapshot
from trunkline.model.outcome import Delivered, Outcome, Retry


def stuck(*users: str) -> Answer:
    """An answer that is busy for some users' events."""

    def answer(sent: Sent) -> Outcome:
        return Retry("busy") if {f"u:{u}" for u in users} & {*sent.users} else Delivered()

    return answer


async def start(rig: Rig, *users: str) -> None:
    rig.receiver.answer = stuck(*users)
    await rig.start()


def test_after_sixty_seconds_the_event_waits_and_the_position_moves_on(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await start(rig, "a")
        rig.put(event("a0", "a"))
        await rig.run_for(1)
        rig.put(*[event(f"b{i}", "b") for i in range(5)])
        await rig.run_for(50, step=0.1)
        assert rig.saved().position == 0
        assert len(rig.delivered()) == 5, "nobody else notices"
        await rig.run_for(15, step=0.1)
        assert rig.saved().position == 6
        rows = rig.rows("SELECT lane, offset, message_id, attempts > 3, reason FROM waiting")
        assert rows == [("u:a", 0, "a0", 1, rows[0][4])]
        assert rig.balance() == (6, 6)
        await rig.crash()

    run(story)


def test_later_events_of_the_user_join_its_lane_and_come_out_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await start(rig, "a")
        rig.put(*[event(f"a{i}", "a") for i in range(15)])
        await rig.run_for(70, step=0.1)
        rig.put(*[event(f"a{i}", "a") for i in range(15, 30)], event("b0", "b"))
        await rig.run_for(5)
        assert rig.delivered() == ["b0"]
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(30,)]
        assert rig.saved().position == 31
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(400, step=0.2)
        assert rig.delivered() == ["b0", *[f"a{i}" for i in range(30)]]
        assert rig.ledger() == {"delivered": 31}
        await rig.stop()

    run(story)


def test_waiting_lanes_survive_a_crash_with_their_attempts(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await start(rig, "a")
        rig.put(event("a0", "a"), event("a1", "a"))
        await rig.run_for(100, step=0.1)
        before = rig.rows("SELECT id, attempts, due_ms FROM waiting")
        await rig.crash()
        await rig.start()
        await rig.run_for(1)
        assert rig.rows("SELECT id, attempts, due_ms FROM waiting") == before
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(310, step=0.5)
        assert rig.delivered() == ["a0", "a1"]
        await rig.stop()

    run(story)


def test_a_full_lane_parks_and_the_event_that_blocks_it_is_found_guilty(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, lane_events_max=20, waiting_seconds=2)
        rig.receiver.answer = lambda s: Retry("busy") if "a0" in s.ids else Delivered()
        await rig.start()
        rig.put(event("a0", "a"))
        await rig.run_for(6)
        rig.put(*[event(f"a{i}", "a") for i in range(1, 60)])
        await rig.run_for(0.5)
        row = rig.saved()
        assert (row.state, row.cause) == ("parked", "lane")
        assert row.reason.startswith("20 events wait behind one")
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(20,)]
        rig.put(event("b0", "b"))
        await rig.run_for(60, step=0.1)
        assert rig.delivered()[0] == "b0"
        assert rig.delivered()[1:] == [f"a{i}" for i in range(1, 60)]
        assert rig.rows("SELECT message_id FROM dead_letter") == [("a0",)]
        assert rig.balance() == (61, 61)
        await rig.stop()

    run(story)


def test_past_waiting_bytes_max_the_destination_parks_and_keeps_the_rest_in_the_log(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_bytes_max=1_048_576, waiting_seconds=2)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}", bytes=10_000) for i in range(150)])
        await rig.run_for(30)
        row = rig.saved()
        assert (row.state, row.cause) == ("parked", "space")
        ((waiting, size),) = rig.rows("SELECT COUNT(*), SUM(LENGTH(payload)) FROM waiting")
        assert size <= 1_048_576
        assert waiting + len(row.unfinished) == 150
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(600, step=0.2)
        assert len(set(rig.delivered())) == 150
        assert rig.balance() == (150, 150)
        await rig.stop()

    run(story)


def test_one_event_that_fails_its_batch_does_not_keep_the_others_for_days(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_seconds=5)
        rig.receiver.answer = lambda s: Retry("HTTP 500") if "m3" in s.ids else Delivered()
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(10)])
        await rig.run_for(1200, step=0.2)
        assert len(set(rig.delivered())) == 9
        assert rig.rows("SELECT message_id FROM waiting") == [("m3",)]
        await rig.crash()

    run(story)


def test_events_without_order_wait_each_in_a_lane_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_seconds=2)
        rig.snapshot = snapshot(1, destination(order="none"))
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(10)
        lanes = rig.rows("SELECT lane, user FROM waiting ORDER BY id")
        assert lanes == [("o:0", "u:a"), ("o:1", "u:a")]
        await rig.crash()

    run(story)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_wall_clock_that_is_set_back_makes_no_lane_wait_longer(
    tmp_path: Path, is_running: bool
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_seconds=1)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(10)
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(1,)]
        if is_running:
            rig.clock.jump(-7200)
            await rig.run_for(1)
        await rig.crash()
        if not is_running:
            rig.clock.jump(-7200)
        rig.receiver.answer = lambda sent: Delivered()
        await rig.start()
        await rig.run_for(1)
        await rig.crash()  # before the lane was due: the file says the same to the next one
        await rig.start()
        await rig.run_for(70, step=0.5)
        assert rig.delivered() == ["m0"]
        await rig.stop()

    run(story)
