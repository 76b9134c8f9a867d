"""Parked destinations: what parks, what probes find, what a person may do, what expires."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forwarding import Rig, Sent, destination, event, run, snapshot
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.state.inbox import SetState


def test_blocked_parks_and_probes_with_the_oldest_after_1_2_4_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Blocked("locked")
        await rig.start()
        rig.put(*[event(f"m{i}", "one") for i in range(30)])
        await rig.run_for(130, step=0.1)
        first, *probes = rig.receiver.requests
        assert {tuple(sent.ids) for sent in probes} == {("m0",)}
        times = [sent.at - first.at for sent in probes]
        waits = [b - a for a, b in zip([0.0, *times], times, strict=False)]
        assert [round(wait) for wait in waits] == [1, 2, 4, 8, 16, 32, 60]
        row = rig.saved()
        assert (row.state, row.cause, row.reason) == ("parked", "blocked", "HTTP 401")
        assert row.position == 0, "the position holds"
        assert rig.ledger() == {}
        assert rig.pending() == 30
        await rig.stop()

    run(story)


def test_a_delivered_probe_drains_everything_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Blocked("locked")
        await rig.start()
        rig.put(*[event(f"m{i}", "one") for i in range(500)])
        await rig.run_for(10)
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(20)
        assert rig.delivered() == [f"m{i}" for i in range(500)]
        assert rig.saved().state == "running"
        await rig.stop()

    run(story)


def test_changed_settings_are_probed_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Blocked("locked")
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.run_for(70, step=0.1)
        rig.receiver.answer = lambda sent: Delivered()
        rig.snapshot = snapshot(2, destination(settings={"url": "https://mended/"}))
        await rig.run_for(1)
        assert sorted(rig.delivered()) == ["m0", "m1"]
        await rig.stop()

    run(story)


def test_settings_that_do_not_decode_park_until_they_do(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"url": 7}), destination(2, kind="gone"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(1)
        assert rig.saved(1).cause == rig.saved(2).cause == "settings"
        assert "url" in rig.saved(1).reason
        assert "'gone' is not known; expected one of careless, post" in rig.saved(2).reason
        rig.snapshot = snapshot(2, destination(), destination(2, kind="gone"))
        await rig.run_for(1)
        assert rig.delivered() == ["m0"]
        assert rig.saved(1).state == "running"
        await rig.stop()

    run(story)


def test_a_probe_that_is_only_late_ends_the_parking(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        answers: list[Outcome] = [Blocked("locked"), Retry("busy")]
        rig.receiver.answer = lambda sent: answers.pop(0) if answers else Delivered()
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(6)
        assert rig.delivered() == ["m0", "m1"]
        await rig.stop()

    run(story)


def test_an_event_that_is_blocked_by_its_content_is_rejected_and_the_rest_drains(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda s: Blocked("403") if "m0" in s.ids else Delivered()
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"), event("m2", "b"))
        await rig.run_for(3)
        assert sorted(rig.delivered()) == ["m1", "m2"]
        (row,) = rig.rows("SELECT message_id, reason, detail FROM dead_letter")
        assert row[:2] == ("m0", "rejected")
        assert "another user's event was delivered" in row[2]
        assert rig.balance() == (3, 3)
        await rig.stop()

    run(story)


def test_the_fuse_holds_back_what_a_misconfiguration_would_burn(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Rejected("bad request")
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(200)])
        await rig.run_for(20)
        assert rig.saved().cause == "fuse"
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert rig.ledger() == {}
        assert rig.pending() == 200
        assert rig.balance() == (200, 200)
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(70, step=0.1)
        assert sorted(rig.delivered()) == sorted(f"m{i}" for i in range(200))
        assert rig.ledger() == {"delivered": 200}
        await rig.stop()

    run(story)


def test_a_delivery_between_resets_the_fuse(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, fuse_rejections=3)
        rig.snapshot = snapshot(1, destination(settings={"batch_events_max": 1}))
        rig.receiver.answer = lambda s: Rejected("no") if s.ids[0][0] == "b" else Delivered()
        await rig.start()
        for i in range(10):
            rig.put(event(f"b{i}"), event(f"b{i}x"))
            await rig.run_for(0.1)
            rig.put(event(f"g{i}"))
            await rig.run_for(0.1)
        assert rig.saved().state == "running"
        assert rig.ledger() == {"delivered": 10, "dead rejected": 20}
        await rig.stop()

    run(story)


def test_the_fuse_counts_on_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, fuse_rejections=4)
        rig.receiver.answer = lambda sent: Rejected("no")
        await rig.start()
        for i in range(4):
            rig.put(event(f"m{i}", f"u{i}"))
            await rig.run_for(0.1)
            await rig.crash()
            await rig.start()
        await rig.run_for(0.1)
        assert rig.saved().cause == "fuse"
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(4,)]
        assert rig.balance() == (4, 4)
        await rig.crash()

    run(story)


@pytest.mark.slow
def test_the_horizon_stands_still_while_parked_and_while_paused(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"retry_hours_max": 0.05}))
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(100, step=0.2)
        rig.receiver.answer = lambda sent: Blocked("locked")
        await rig.run_for(500, step=0.2)
        assert rig.saved().state == "parked"
        rig.ask(SetState(1, "paused", rig.clock.now_ms()))
        await rig.run_for(600, step=0.2)
        assert rig.ledger() == {}
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(SetState(1, "running", rig.clock.now_ms()))
        await rig.run_for(2)
        assert rig.ledger() == {"delivered": 1}
        await rig.stop()

    run(story)


def test_a_jump_of_the_wall_clock_expires_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(70, step=0.2)
        rig.clock.jump(400 * 86_400)
        await rig.run_for(400, step=0.2)
        assert rig.ledger() == {}
        assert len(rig.receiver.requests) > 5
        await rig.crash()

    run(story)


def test_paused_holds_and_resumed_delivers(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        await rig.run_for(0.5)
        rig.ask(SetState(1, "paused", rig.clock.now_ms()))
        await rig.run_for(1.5)
        rig.put(*[event(f"m{i}", "a") for i in range(700)])
        await rig.run_for(5)
        assert rig.receiver.requests == []
        assert rig.saved().state == "paused"
        assert len(rig.forwarder.groups[1].book.place.open) <= 200
        await rig.crash()
        await rig.start()
        await rig.run_for(2)
        assert rig.receiver.requests == [], "a restart does not resume"
        rig.ask(SetState(1, "running", rig.clock.now_ms()))
        await rig.run_for(5)
        assert rig.delivered() == [f"m{i}" for i in range(700)]
        await rig.stop()

    run(story)


def test_what_is_under_way_when_a_destination_parks_is_delivered_or_put_back(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"batch_events_max": 1}))

        def answer(sent: Sent) -> Outcome:
            outcomes: dict[str, Outcome] = {"m0": Blocked("locked"), "m1": Delivered()}
            return outcomes.get(sent.ids[0], Rejected("no"))

        rig.receiver.answer = answer
        rig.receiver.seconds = lambda sent: float(sent.ids[0][1:]) * 0.1
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(4)])
        await rig.run_for(0.9)
        assert rig.delivered() == ["m1"]
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert rig.saved().unfinished == (0, 2, 3)
        await rig.crash()

    run(story)


def test_past_parked_bytes_max_the_oldest_expire_with_ledger_rows(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(
            1, destination(1, settings={"parked_bytes_max": 1_000_000}), destination(2)
        )
        rig.receiver.answer = lambda s: Blocked("no") if s.to.endswith("d1") else Delivered()
        await rig.start()
        for i in range(40):
            rig.put(*[event(f"m{i}.{k}", f"u{k}", bytes=1000) for k in range(50)])
            await rig.run_for(0.5)
        await rig.run_for(10)
        expired = rig.ledger()["dead expired"]
        assert 700 < expired < 1700
        assert rig.balance() == (2000, 2000)
        fates = rig.rows("SELECT outcomes, reason FROM fate WHERE kind='expired'")
        assert {*fates} == {(b"X", "expired: parked_bytes_max")}
        assert len(rig.delivered(2)) == 2000, "another destination does not feel it"
        rig.receiver.answer = lambda s: Delivered()
        await rig.run_for(70, step=0.1)
        kept = [e.message_id for e in rig.accepted[expired:]]
        assert sorted(rig.delivered(1)) == sorted(kept), "the oldest went, the newest stayed"
        await rig.stop()

    run(story)


def test_a_day_before_space_runs_out_there_is_an_alert_with_the_hours_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"parked_bytes_max": 5_000_000}))
        rig.receiver.answer = lambda sent: Blocked("no")
        await rig.start()
        for i in range(90):
            rig.put(*[event(f"m{i}.{k}", f"u{k}") for k in range(4)])
            await rig.run_for(1, step=0.1)
        assert rig.ledger() == {}
        await rig.crash()

    run(story)
    alerts = [line for line in written(capsys) if "parked_space_runs_out" in line]
    assert len(alerts) == 1
    assert "hours_left" in alerts[0]


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the log lines of a test, wherever structlog writes by default."""
    captured = capsys.readouterr()
    return (captured.out + captured.err).splitlines()
