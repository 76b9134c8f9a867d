"""What people ask: replay and drop of dead letters, replay of a span, with and without a node."""

from __future__ import annotations

from pathlib import Path

from tests.support.forwarding import Rig, destination, event, run, snapshot
from trunkline.forwarder.inbox import apply_inbox
from trunkline.kit.bell import Ringer
from trunkline.model.outcome import Delivered, Rejected
from trunkline.model.snapshot import Filter
from trunkline.state.inbox import DropLetters, ReplayLetters, ReplayRange, SetState

T0 = 1_700_000_000_000


async def rig_with_letters(folder: Path) -> tuple[Rig, list[int]]:
    rig = Rig(folder)
    rig.receiver.answer = lambda s: Rejected("no") if "bad" in s.ids[0] else Delivered()
    rig.snapshot = snapshot(1, destination(settings={"batch_events_max": 1}))
    await rig.start()
    rig.put(event("bad0", "a"), event("m0", "a"), event("bad1", "a"), event("bad2", "b"))
    await rig.run_for(0.5)
    return rig, [row[0] for row in rig.rows("SELECT id FROM dead_letter ORDER BY offset")]


def test_replayed_letters_are_delivered_again_in_order_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        rig, letters = await rig_with_letters(tmp_path)
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(ReplayLetters(tuple(letters), rig.clock.now_ms()))
        await rig.run_for(2)
        assert sorted(rig.delivered()) == ["bad0", "bad1", "bad2", "m0"]
        assert rig.delivered().index("bad0") < rig.delivered().index("bad1")
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert rig.ledger() == {"delivered": 4, "dead rejected": 3, "replayed": 3}
        assert rig.balance() == (7, 7)
        await rig.stop()

    run(story)


def test_a_letter_can_die_and_be_replayed_again_and_again(tmp_path: Path) -> None:
    async def story() -> None:
        rig, _ = await rig_with_letters(tmp_path)
        for _ in range(3):
            rows = rig.rows("SELECT id FROM dead_letter")
            assert len(rows) == 3
            rig.ask(ReplayLetters(tuple(row[0] for row in rows), rig.clock.now_ms()))
            await rig.run_for(2)
        assert rig.ledger() == {"delivered": 1, "dead rejected": 12, "replayed": 9}
        assert rig.balance() == (13, 13)
        await rig.stop()

    run(story)


def test_dropped_letters_are_gone_and_the_ledger_says_dropped(tmp_path: Path) -> None:
    async def story() -> None:
        rig, letters = await rig_with_letters(tmp_path)
        rig.ask(DropLetters((letters[0], 999_999_999), rig.clock.now_ms()))
        await rig.run_for(2)
        assert rig.ledger() == {"delivered": 1, "dead rejected": 2, "dead dropped": 1}
        assert rig.balance() == (4, 4)
        await rig.stop()

    run(story)


def test_a_request_is_carried_out_once_over_crashes(tmp_path: Path) -> None:
    async def story() -> None:
        rig, letters = await rig_with_letters(tmp_path)
        rig.receiver.answer = lambda sent: Delivered()
        number = rig.ask(ReplayLetters(tuple(letters), rig.clock.now_ms()))
        for _ in range(3):
            await rig.run_for(1.1)
            await rig.crash()
            await rig.start()
        assert rig.ledger()["replayed"] == 3
        assert rig.rows("SELECT value FROM setting WHERE name='inbox'") == [(str(number),)]
        await rig.stop()

    run(story)


def test_a_ring_has_the_request_carried_out_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        rig, letters = await rig_with_letters(tmp_path)
        await rig.run_for(0.2)
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(ReplayLetters((letters[0],), rig.clock.now_ms()))
        ringer = Ringer(rig.home.inbox_bells)
        ringer.ring()
        ringer.close()
        await rig.settle(100)
        assert "bad0" in rig.delivered()
        await rig.stop()

    run(story)


def test_without_a_node_the_command_does_it_itself_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig, letters = await rig_with_letters(tmp_path)
        await rig.stop()
        at_ms = rig.clock.now_ms()
        rig.ask(ReplayLetters((letters[0],), at_ms))
        rig.ask(DropLetters((letters[1],), at_ms))
        rig.ask(SetState(1, "paused", at_ms))
        rig.ask(ReplayRange(1, T0 - 1, T0 + 1, at_ms))
        assert apply_inbox(rig.home) == 4
        assert apply_inbox(rig.home) == 0
        assert rig.saved().state == "paused"
        assert rig.balance() == (5, 5)
        rig.receiver.answer = lambda sent: Delivered()
        await rig.start()
        rig.ask(SetState(1, "running", at_ms))
        await rig.run_for(3)
        counts = rig.ledger()
        assert counts == {"delivered": 6, "dead rejected": 2, "dead dropped": 1, "replayed": 5}
        assert rig.pending() == 0
        await rig.stop()

    run(story)


def test_a_span_of_time_is_delivered_again_without_what_is_filtered(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(filter=Filter(except_=("Secret",))))
        await rig.start()
        rig.put(
            *[
                event(
                    f"m{i}",
                    f"u{i % 5}",
                    received_ms=T0 + i * 1000,
                    name="Secret" if i % 10 == 0 else "Bought",
                )
                for i in range(3000)
            ]
        )
        await rig.run_for(5)
        assert len(rig.delivered()) == 2700
        rig.ask(ReplayRange(1, T0 + 1_000_000, T0 + 2_000_000, rig.clock.now_ms()))
        await rig.run_for(1)
        await rig.crash()
        await rig.start()
        await rig.run_for(20)
        again = rig.delivered()[2700:]
        wanted = {f"m{i}" for i in range(1000, 2000) if i % 10}
        assert set(again) == wanted
        assert rig.ledger()["replayed"] == 900, "no chunk was made twice by the crash"
        of_one = [int(id_[1:]) for id_ in dict.fromkeys(again) if int(id_[1:]) % 5 == 1]
        assert of_one == sorted(of_one), "in order for each user"
        left, right = rig.balance()
        assert left == right
        await rig.stop()

    run(story)


def test_a_long_replay_waits_at_the_limits_of_the_lanes_instead_of_parking(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, lane_events_max=50)
        await rig.start()
        rig.put(*[event(f"m{i}", "one", received_ms=T0 + i) for i in range(400)])
        await rig.run_for(3)
        rig.receiver.seconds = lambda sent: 0.2
        rig.ask(ReplayRange(1, T0, T0 + 400, rig.clock.now_ms()))
        most = 0
        for _ in range(60):
            await rig.run_for(0.5)
            most = max(most, rig.rows("SELECT COUNT(*) FROM waiting")[0][0])
        assert most <= 50
        assert rig.delivered()[400:] == [f"m{i}" for i in range(400)]
        assert rig.rows("SELECT COUNT(*) FROM job") == [(0,)]
        await rig.stop()

    run(story)
