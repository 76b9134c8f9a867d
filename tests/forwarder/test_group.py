"""One destination: batches, retries, splits, horizon, order, and what a component may get wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from tests.support.forwarding import (
    Careless,
    Post,
    Rig,
    Sent,
    Tape,
    destination,
    event,
    run,
    snapshot,
)
from trunkline.kit.destination import Batching, Response, delivery_id
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry


def test_every_event_is_delivered_once_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i % 7}") for i in range(100)])
        await rig.run_for(1)
        assert sorted(rig.delivered()) == sorted(f"m{i}" for i in range(100))
        assert rig.ledger() == {"delivered": 100}
        assert rig.saved().position == 100
        assert rig.balance() == (100, 100)
        await rig.stop()

    run(story)


def test_a_free_slot_sends_at_once_and_batches_keep_within_their_limit(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        start = rig.clock.monotonic()
        rig.put(event("m0", "a"))
        await rig.settle()
        assert [sent.ids for sent in rig.receiver.requests] == [["m0"]]
        assert rig.receiver.requests[0].at == start
        rig.put(*[event(f"n{i}") for i in range(35)])
        await rig.run_for(0.5)
        assert max(len(sent.ids) for sent in rig.receiver.requests) == 10
        await rig.stop()

    run(story)


def test_batch_seconds_wait_for_a_full_batch_and_no_longer(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"batch_seconds_max": 2.0}))
        await rig.start()
        rig.put(event("m0"), event("m1"))
        await rig.run_for(1.9)
        assert rig.receiver.requests == []
        await rig.run_for(0.2)
        assert [sent.ids for sent in rig.receiver.requests] == [["m0", "m1"]]
        rig.put(*[event(f"n{i}") for i in range(10)])
        await rig.run_for(0.1)
        assert len(rig.receiver.requests) == 2, "a full batch does not wait"
        await rig.stop()

    run(story)


def test_requests_under_way_never_exceed_the_concurrency(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"concurrency_max": 3}))
        rig.receiver.seconds = lambda sent: 0.3
        await rig.start()
        rig.put(*[event(f"m{i}") for i in range(200)])
        await rig.run_for(5)
        assert rig.receiver.most_under_way == {"zcmwmxbkmuodelu/d1": 3}
        assert len(rig.delivered()) == 200
        await rig.stop()

    run(story)


def test_a_retried_batch_keeps_its_composition_and_its_key(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        left = [4]

        def answer(sent: Sent) -> Outcome:
            left[0] -= 1
            return Delivered() if left[0] < 0 else Retry("busy")

        rig.receiver.answer = answer
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"))
        await rig.settle()
        rig.put(event("m2", "a"), event("m3", "b"))
        await rig.run_for(40)
        tries = [sent for sent in rig.receiver.requests if "m0" in sent.ids]
        assert [sent.ids for sent in tries] == [["m0", "m1"]] * 5
        assert {sent.key for sent in tries} == {delivery_id("zcmwmxbkmuodelu/d1", ["m0", "m1"])}
        assert [sent.number for sent in tries] == [1, 2, 3, 4, 5]
        assert rig.delivered() == ["m0", "m1", "m2", "m3"]
        await rig.stop()

    run(story)


def test_retry_n_waits_at_most_two_to_the_n_seconds(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, seed=3, waiting_seconds=10_000)
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(2000, step=0.5)
        times = [sent.at for sent in rig.receiver.requests]
        waits = [b - a for a, b in pairwise(times)]
        assert len(waits) > 8
        for n, wait in enumerate(waits, 1):
            assert wait <= min(2.0**n, 300) + 1
        assert max(waits) > 60, "it does back off"
        await rig.crash()

    run(story)


@pytest.mark.parametrize("after", [5.0, 90.0])
def test_no_retry_comes_before_retry_after(tmp_path: Path, after: float) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        answers: list[Outcome] = [Retry("slow down", after), Delivered()]
        rig.receiver.answer = lambda sent: answers.pop(0)
        await rig.start()
        start = rig.clock.monotonic()
        rig.put(event("m0", "a"))
        await rig.run_for(after + 5)
        assert len(rig.receiver.requests) == 2
        assert rig.receiver.requests[1].at - start >= after
        await rig.stop()

    run(story)


@pytest.mark.parametrize("bad", [[0], [7], [3, 4], [0, 9], list(range(8))])
def test_a_rejected_batch_is_split_until_the_bad_events_are_found(
    tmp_path: Path, bad: list[int]
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        names = {f"m{i}" for i in bad}
        rig.receiver.answer = lambda sent: Rejected("no") if names & {*sent.ids} else Delivered()
        await rig.start()
        rig.put(*[event(f"m{i}", "one") for i in range(10)])
        await rig.run_for(1)
        good = [f"m{i}" for i in range(10) if i not in bad]
        assert rig.delivered() == good, "the others go on, in order"
        dead = rig.rows("SELECT message_id, reason, detail, attempts FROM dead_letter ORDER BY id")
        assert [row[0] for row in dead] == [f"m{i}" for i in bad]
        assert {row[1:3] for row in dead} == {("rejected", "HTTP 422")}
        assert rig.ledger() == {"delivered": len(good), "dead rejected": len(bad)}
        assert len(rig.receiver.requests) < 2 * 10
        await rig.stop()

    run(story)


def test_past_the_horizon_an_event_expires_as_a_dead_letter(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"retry_hours_max": 0.1}))
        rig.receiver.answer = lambda sent: Retry("busy")
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(350, step=0.5)
        assert rig.ledger() == {}
        await rig.run_for(400, step=0.5)
        assert rig.ledger() == {"dead expired": 1}
        (row,) = rig.rows("SELECT message_id, reason, detail FROM dead_letter")
        assert row == ("m0", "expired", "HTTP 503")
        assert rig.pending() == 0
        await rig.stop()

    run(story)


def test_a_users_event_waits_for_the_outcome_of_the_one_before(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.seconds = lambda sent: 1.0
        await rig.start()
        rig.put(event("a1", "a"))
        await rig.settle()
        rig.put(event("a2", "a"), event("b1", "b"))
        await rig.settle()
        assert [sent.ids for sent in rig.receiver.requests] == [["a1"], ["b1"]]
        await rig.run_for(1.1)
        assert rig.receiver.requests[2].ids == ["a2"]
        await rig.stop()

    run(story)


def test_without_order_nothing_waits_for_another(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(order="none"))
        rig.receiver.answer = lambda s: Retry("busy") if "a1" in s.ids else Delivered()
        await rig.start()
        rig.put(event("a1", "a"))
        await rig.settle()
        rig.put(event("a2", "a"), event("a3", "a"))
        await rig.settle()
        assert rig.delivered() == ["a2", "a3"]
        await rig.crash()

    run(story)


async def _sent_while_the_first_is_under_way(rig: Rig) -> list[list[str]]:
    rig.receiver.seconds = lambda sent: 1.0
    await rig.start()
    rig.put(event("a1", "a", device="AD-1"))
    await rig.settle()
    rig.put(
        event("b1", "b", device="ad-1"),  # the same phone, in another spelling
        event("a2", "a", device="ad-2"),
        event("a3", "a"),  # names no phone: in order with its user's others that name none
    )
    await rig.settle()
    requests = [sent.ids for sent in rig.receiver.requests]
    await rig.run_for(5)
    assert sorted(rig.delivered()) == ["a1", "a2", "a3", "b1"]
    await rig.stop()
    return requests


def test_in_order_by_device_nothing_overtakes_on_one_phone(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(order="device"))
        assert await _sent_while_the_first_is_under_way(rig) == [["a1"], ["a2", "a3"]]

    run(story)


def test_a_destination_that_wants_the_order_of_devices_has_it(tmp_path: Path) -> None:
    class ByDevice(Post):
        kind = "by_device"
        batching = Batching(by_device=True)

    async def story(order: str, expected: list[list[str]]) -> None:
        rig = Rig(tmp_path / order)
        rig.kinds["by_device"] = ByDevice
        rig.snapshot = snapshot(1, destination(kind="by_device", order=order))
        assert await _sent_while_the_first_is_under_way(rig) == expected

    run(lambda: story("user", [["a1"], ["a2", "a3"]]))
    run(lambda: story("none", [["a1"], ["b1", "a2", "a3"]]))


def test_after_a_rejection_the_users_next_event_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(settings={"batch_events_max": 1}))
        rig.receiver.answer = lambda s: Rejected("no") if "a1" in s.ids else Delivered()
        await rig.start()
        rig.put(event("a1", "a"), event("a2", "a"))
        await rig.run_for(0.2)
        assert rig.delivered() == ["a2"]
        await rig.stop()

    run(story)


def test_a_kind_that_judges_each_event_has_each_settled_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(kind="sorted"))
        answers = iter([[Delivered(), Rejected("bad"), Retry("later")], [Delivered()]])
        rig.receiver.answer = lambda s: Response(200, {}, msgspec.json.encode(next(answers)))
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "b"), event("m2", "c"))
        await rig.run_for(4)
        assert rig.ledger() == {"delivered": 2, "dead rejected": 1}
        assert [sent.ids for sent in rig.receiver.requests] == [["m0", "m1", "m2"], ["m2"]]
        await rig.stop()

    run(story)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("raise", "KeyError"), ("endless", "more than 10 requests"), ("few", "0 outcomes for 1")],
)
def test_a_fault_of_a_component_parks_and_loses_nothing(
    tmp_path: Path, fault: str, says: str
) -> None:
    async def story() -> None:
        Careless.fault = fault
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(kind="careless"))
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.run_for(0.5)
        row = rig.saved()
        assert row.state == "parked"
        assert says in row.reason
        assert rig.pending() == 1
        await rig.stop()

    run(story)


def test_a_channel_is_opened_again_after_it_failed(tmp_path: Path) -> None:
    async def story() -> None:
        Tape.kept, Tape.failures = [], 1
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(kind="tape"))
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(3)
        assert Tape.kept == ["m0", "m1"]
        assert rig.ledger() == {"delivered": 2}
        (reason,) = rig.rows("SELECT reason FROM fate ORDER BY id")[0]
        assert reason == "tape: OSError: no tape"
        await rig.stop()

    run(story)


def test_each_request_leaves_a_row_with_its_answer_and_an_outcome_for_each_event(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        long = b"x" * 5000
        rig.receiver.answer = lambda s: Response(503 if len(s.ids) > 1 else 200, {}, long)
        await rig.start()
        rig.put(event("m0", "a"))
        await rig.settle()
        rig.put(event("m1", "b"), event("m2", "c"))
        await rig.run_for(0.1)
        rows = rig.rows(
            "SELECT number, status, LENGTH(answer), offsets, outcomes, snapshot FROM fate"
        )
        assert rows[0] == (1, 200, 2048, b"\x00", b"D", 1)
        assert rows[1] == (1, 503, 2048, b"\x01\x01", b"R", 1)
        spans = rig.rows("SELECT uid, bucket FROM fate_span ORDER BY fate")
        assert spans[:2] == [(1, 0), (1, 0)]
        await rig.crash()

    run(story)


def test_one_hanging_destination_slows_no_other(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(1), destination(2))
        rig.receiver.seconds = lambda s: 1000.0 if s.to.endswith("d1") else 0.0
        await rig.start()
        for i in range(40):
            rig.put(*[event(f"m{i}.{k}", f"u{k}") for k in range(50)])
            await rig.run_for(0.05)
        assert len(rig.delivered(2)) == 2000
        assert rig.delivered(1) == []
        group = rig.forwarder.groups[1]
        assert not group.book.place.is_at_head, "it left the head, which waits for nobody"
        assert len(group.book.place.open) <= 1000, "and holds only what it may"
        await rig.crash()

    run(story)


def test_a_group_that_fell_behind_catches_up_and_joins_the_head_again(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, readers_max=1)
        rig.snapshot = snapshot(1, destination(1), destination(2))
        rig.receiver.seconds = lambda s: 0.5
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i % 100}") for i in range(3000)])
        await rig.run_for(0.4)
        assert not rig.forwarder.groups[1].book.place.is_at_head
        rig.receiver.seconds = lambda s: 0.01
        await rig.run_for(10)
        for uid in (1, 2):
            assert len(rig.delivered(uid)) == 3000
            assert rig.forwarder.groups[uid].book.place.is_at_head
            assert rig.balance(uid) == (3000, 3000)
        await rig.stop()

    run(story)


def test_a_blocked_event_among_delivered_ones_gives_back_only_what_was_not_taken(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(kind="sorted"))
        mixed = msgspec.json.encode([Delivered(), Blocked("no leave")])
        rig.receiver.answer = lambda s: Response(200, {}, mixed)
        await rig.start()
        rig.put(event("m0", "a"), event("m1", "a"))
        await rig.run_for(0.1)
        assert rig.saved().state == "parked"
        assert rig.saved().unfinished == (1,)
        assert rig.ledger() == {"delivered": 1}
        await rig.crash()

    run(story)
