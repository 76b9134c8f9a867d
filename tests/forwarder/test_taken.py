"""What a destination took and judges later: it waits without a slot, and nothing calls it sent."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.forwarding import Post, Rig, Sent, destination, event, run, snapshot
from trunkline.forwarder.attempting import Piece, parts
from trunkline.forwarder.item import Item
from trunkline.kit.destination import Batching, Mapped, Response
from trunkline.model.outcome import Blocked, Delivered, Outcome, Retry

TAKEN = Retry("it is looked at", 600.0, was_taken=True)
HALF_HOUR = 1800.0


def says(judge: Callable[[str, int], Outcome]) -> Callable[[Sent], Response]:
    """Answer for each event what is said of its id and the attempt."""

    def answer(sent: Sent) -> Response:
        outcomes = [judge(one, sent.number) for one in sent.ids]
        return Response(200, {}, msgspec.json.encode(outcomes))

    return answer


def rig_with(folder: Path, **changes: object) -> Rig:
    rig = Rig(folder)
    rig.snapshot = snapshot(1, destination(kind="sorted", **changes))
    return rig


def first_taken(message_id: str, number: int) -> Outcome:
    return TAKEN if number == 1 else Delivered()


def test_it_waits_as_long_as_it_was_told_and_holds_no_slot_meanwhile(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, settings={"concurrency_max": 1, "batch_events_max": 5})
        rig.receiver.answer = says(first_taken)
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(30)])
        await rig.run_for(5)
        assert sum(len(sent.ids) for sent in rig.receiver.requests) == 30
        assert rig.ledger() == {}, "what was taken is not delivered"
        assert rig.rows("SELECT COUNT(*), MIN(attempts), MAX(attempts) FROM waiting") == [
            (30, 1, 1)
        ]
        assert rig.saved().position == 30
        await rig.run_for(590, step=0.5)
        assert len(rig.receiver.requests) == 6, "nobody asks early"
        await rig.run_for(20, step=0.1)
        assert rig.ledger() == {"delivered": 30}
        assert rig.balance() == (30, 30)
        await rig.stop()

    run(story)


def test_a_user_s_next_event_waits_behind_and_no_other_does(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path)
        rig.receiver.answer = says(
            lambda one, number: TAKEN if (one, number) == ("a0", 1) else Delivered()
        )
        await rig.start()
        rig.put(event("a0", "a"))
        await rig.run_for(1)
        rig.put(event("a1", "a"), event("b0", "b"))
        await rig.run_for(5)
        assert [sent.ids for sent in rig.receiver.requests] == [["a0"], ["b0"]]
        await rig.run_for(620, step=0.2)
        assert rig.ledger() == {"delivered": 3}
        assert [one for sent in rig.receiver.requests for one in sent.ids] == [
            "a0", "b0", "a0", "a1",
        ]  # fmt: skip
        await rig.stop()

    run(story)


def test_what_fails_beside_it_is_not_put_off_as_long(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path)
        busy = Retry("busy")

        def judge(one: str, number: int) -> Outcome:
            return first_taken(one, number) if one == "a" else busy if number == 1 else Delivered()

        rig.receiver.answer = says(judge)
        await rig.start()
        rig.put(event("a", "a"), event("b", "b"))
        await rig.run_for(30, step=0.1)
        assert rig.ledger() == {"delivered": 1}
        await rig.run_for(600, step=0.5)
        assert rig.ledger() == {"delivered": 2}
        await rig.stop()

    run(story)


def test_it_survives_a_crash_and_does_not_expire(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, settings={"retry_hours_max": 0})
        rig.receiver.answer = says(first_taken)
        await rig.start()
        rig.put(event("a", "a"))
        await rig.run_for(1)
        assert rig.ledger() == {}
        await rig.crash()
        await rig.start()
        await rig.run_for(HALF_HOUR, step=10)
        assert rig.ledger() == {"delivered": 1}
        await rig.stop()

    run(story)


@pytest.mark.slow
def test_a_probe_passes_where_the_destination_takes_events_again(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path)
        rig.receiver.answer = says(lambda one, number: Blocked("no"))
        await rig.start()
        rig.put(event("a", "a"))
        await rig.run_for(1)
        assert rig.saved().state == "parked"
        rig.receiver.answer = says(lambda one, number: TAKEN if number < 4 else Delivered())
        await rig.run_for(2 * HALF_HOUR, step=10)
        assert rig.saved().state == "running"
        await rig.run_for(HALF_HOUR, step=10)
        assert rig.ledger() == {"delivered": 1}
        await rig.stop()

    run(story)


class ByUser(Post):
    """A kind whose requests hold events of one user."""

    kind = "by_user"
    batching = Batching(users_max=1)


def test_a_batch_of_one_user_holds_all_that_waits_of_the_user_and_nothing_else(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.kinds["by_user"] = ByUser
        rig.snapshot = snapshot(1, destination(kind="by_user", settings={"concurrency_max": 1}))
        rig.receiver.seconds = lambda sent: 0.1
        await rig.start()
        rig.put(*[event(f"{user}{i}", user) for i in range(12) for user in "abc"])
        await rig.run_for(10)
        assert rig.ledger() == {"delivered": 36}
        assert all(len({*sent.users}) == 1 for sent in rig.receiver.requests)
        assert max(len(sent.ids) for sent in rig.receiver.requests) == 10
        rig.receiver.answer = lambda sent: Retry("busy")
        rig.put(*[event(f"{user}{i}", user) for i in range(12, 20) for user in "abc"])
        await rig.run_for(100, step=0.2)
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(400, step=0.5)
        assert rig.ledger() == {"delivered": 60}
        assert all(len({*sent.users}) == 1 for sent in rig.receiver.requests)
        await rig.stop()

    run(story)


# What goes in one request


def pieces(*counts: int, size: int = 10) -> list[Piece]:
    """Return so many things of each of some events."""
    made: list[Piece] = []
    for number, count in enumerate(counts):
        mapped = Mapped(f"m{number}", "a", "u", "track", "", b"x" * size)
        item = Item(mapped, "u", number, 0)
        made += [Piece(item, f"m{number}/{place}", mapped) for place in range(count)]
    return made


def ids_of(*counts: int, events_max: int = 4, batching: Batching | None = None) -> list[list[str]]:
    found = parts(pieces(*counts), events_max, batching or Batching())
    return [[piece.id for piece in part] for part in found]


def test_what_was_made_of_one_event_is_cut_only_where_no_request_holds_it() -> None:
    assert ids_of(3, 3) == [["m0/0", "m0/1", "m0/2"], ["m1/0", "m1/1", "m1/2"]]
    assert ids_of(1, 3, 1) == [["m0/0", "m1/0", "m1/1", "m1/2"], ["m2/0"]]
    assert [len(part) for part in ids_of(1, 6, 2)] == [4, 3, 2]
    assert [len(part) for part in ids_of(1, 6, 2, batching=Batching(is_whole=True))] == [1, 6, 2]
    small = Batching(bytes_max=25)
    assert [len(part) for part in ids_of(2, 2, 1, batching=small)] == [2, 2, 1]
    assert [len(part) for part in ids_of(3, batching=small)] == [2, 1]


# Whatever happens


class Moods:
    """Random answers for single events, none of which lets one overtake another of its user."""

    def __init__(self, dice: random.Random) -> None:
        self.are_on = True
        self.ended: dict[str, list[int]] = defaultdict(list)
        self._dice = dice

    def answer(self, sent: Sent) -> Response:
        held: set[str] = set()
        outcomes: list[Outcome] = []
        for one, user in zip(sent.ids, sent.users, strict=True):
            outcome = Retry("behind") if user in held else self._judge()
            if isinstance(outcome, Retry):
                held.add(user)
            else:
                self.ended[user].append(int(one))
            outcomes.append(outcome)
        return Response(200, {}, msgspec.json.encode(outcomes))

    def _judge(self) -> Outcome:
        throw = self._dice.random() if self.are_on else 1.0
        if throw < 0.3:
            return Retry("busy")
        if throw < 0.6:
            return Retry("looked at", self._dice.choice([1.0, 30.0]), was_taken=True)
        return Delivered()


async def bad_days(rig: Rig, dice: random.Random) -> int:
    """Put events and crash now and then; return how many events there were."""
    count = 0
    for _ in range(8):
        fresh = range(count, count + dice.choice([0, 5, 25]))
        rig.put(*[event(f"{number}", dice.choice("abcd")) for number in fresh])
        count = fresh.stop
        await rig.run_for(dice.choice([0.2, 3.0]), step=0.05)
        if dice.random() < 0.3:
            await rig.crash()
            await rig.start()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_among_random_answers_and_crashes_each_comes_to_one_end_in_order(
    tmp_path: Path, seed: int
) -> None:
    async def story() -> None:
        dice = random.Random(seed)
        rig = Rig(tmp_path, seed, waiting_seconds=5.0)
        size = dice.choice([1, 4, 10])
        rig.snapshot = snapshot(1, destination(kind="sorted", settings={"batch_events_max": size}))
        moods = Moods(dice)
        rig.receiver.answer = moods.answer
        await rig.start()
        count = await bad_days(rig, dice)
        moods.are_on = False
        await rig.run_for(400, step=0.5)
        assert rig.ledger() == {"delivered": count}
        assert rig.balance() == (count, count)
        for numbers in moods.ended.values():
            # After a crash some end a second time; what is new never comes before what is older.
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts)
        await rig.stop()

    run(story)


def test_what_had_no_room_in_an_attempt_goes_on_at_once(tmp_path: Path) -> None:
    """Ten of a batch go, the others find no room: nobody failed, so nobody waits."""
    next_ = Retry("no room", is_next=True)
    delivered: set[str] = set()

    def answer(sent: Sent) -> Response:
        outcomes: list[Outcome] = [Delivered() if n < 10 else next_ for n in range(len(sent.ids))]
        delivered.update(sent.ids[:10])
        return Response(200, {}, msgspec.json.encode(outcomes))

    async def story() -> None:
        rig = rig_with(tmp_path, settings={"batch_events_max": 200, "concurrency_max": 1})
        rig.receiver.answer = answer
        await rig.start()
        rig.put(*[event(f"m{i}", f"u{i}") for i in range(200)])
        await rig.run_for(3, step=0.05)
        assert rig.ledger() == {"delivered": 200}
        assert len(delivered) == 200
        assert rig.balance() == (200, 200)
        await rig.stop()

    run(story)
