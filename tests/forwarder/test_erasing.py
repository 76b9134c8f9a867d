"""A person is erased from what the forwarder holds: memory, lanes, dead letters, answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tests.support.forwarding import Answer, Rig, Sent, destination, event, run, snapshot
from trunkline.kit.erasure import Forgotten, Person, rest_of_stored
from trunkline.kit.identifiers import Identifier
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.model.record import EVENTS, StoredEvent
from trunkline.model.snapshot import Filter
from trunkline.state.forwarder import unpack_offsets
from trunkline.state.inbox import SetState

JANE = frozenset({Identifier("userId", "jane")})


def of(message_id: str, user: str, **more: Any) -> StoredEvent:
    """An event that names its user in its JSON, too."""
    made = event(message_id, user, **more)
    body = {"messageId": message_id, "type": made.type, "event": made.name, "userId": user}
    return msgspec.structs.replace(made, event=msgspec.json.encode(body))


def story_of(rig: Rig, *events: StoredEvent) -> list[int]:
    """Put events; return the offsets of Jane's."""
    begin = len(rig.accepted)
    rig.put(*events)
    return [begin + at for at, each in enumerate(events) if each.user == "u:jane"]


async def erase(rig: Rig, offsets: list[int], until: int) -> Forgotten:
    """Erase Jane as the engine of erasures does, which is on another thread."""
    left = {at: rest_of_stored(rig.accepted[at], at, 1) for at in offsets}
    rig.log.replace(EVENTS, 0, left)
    person = Person(rig.accepted[0].app, JANE, until)
    task = asyncio.ensure_future(asyncio.to_thread(rig.forwarder.erase, person, offsets))
    while not task.done():
        await rig.run_for(0.1)
    return task.result()


def answering(rule: dict[str, Outcome]) -> Answer:
    def answer(sent: Sent) -> Outcome:
        users = {user.removeprefix("u:") for user in sent.users}
        return next((rule[user] for user in sorted(users & rule.keys())), Delivered())

    return answer


def mixed(count: int) -> list[StoredEvent]:
    return [of(f"{user}{n}", user) for n in range(count) for user in ("jane", "joe")]


def test_what_waits_is_filtered_and_the_rest_of_its_destination_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path, waiting_seconds=1.0)
        await rig.start()
        rig.receiver.answer = answering({"jane": Retry("busy"), "joe": Retry("busy")})
        offsets = story_of(rig, *mixed(5))
        await rig.run_for(20, step=0.1)
        assert rig.rows("SELECT COUNT(*) FROM waiting") == [(10,)]
        gone = await erase(rig, offsets, 10)
        assert (gone.pending, gone.dead_letters, gone.sent) == (5, 0, {})
        assert rig.rows("SELECT DISTINCT user FROM waiting") == [("u:joe",)]
        assert rig.balance() == (10, 10)
        rig.receiver.answer = answering({})
        await rig.run_for(400, step=0.2)
        assert rig.ledger() == {"delivered": 5, "filtered erased": 5}
        assert rig.balance() == (10, 10)
        await rig.stop()

    run(story)


def test_what_is_in_memory_held_or_asleep_goes_nowhere(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.receiver.answer = answering({"jane": Blocked("wrong key"), "joe": Blocked("wrong key")})
        offsets = story_of(rig, *mixed(5))
        await rig.run_for(2)
        assert rig.pending() >= 5
        gone = await erase(rig, offsets, 10)
        rig.receiver.answer = answering({})
        rig.ask(SetState(1, "running", rig.clock.now_ms()))
        await rig.run_for(400, step=0.2)
        assert gone.pending <= 5  # what was let go of is read again as what is left of it
        assert rig.ledger() == {"delivered": 5, "filtered erased": 5}
        assert not [each for each in rig.delivered() if each.startswith("jane")]
        assert rig.balance() == (10, 10)
        await rig.stop()

    run(story)


def test_dead_letters_go_and_are_counted_as_erased(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.receiver.answer = answering({"jane": Rejected("no such jane")})
        offsets = story_of(rig, *mixed(4))
        await rig.run_for(5)
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(4,)]
        gone = await erase(rig, offsets, 8)
        assert (gone.dead_letters, gone.pending) == (4, 0)
        assert rig.rows("SELECT COUNT(*) FROM dead_letter") == [(0,)]
        assert rig.ledger() == {"delivered": 4, "dead erased": 4}
        assert rig.rows("SELECT COUNT(*) FROM fate WHERE reason LIKE '%jane%'") == [(0,)]
        assert rig.balance() == (8, 8)
        await rig.stop()

    run(story)


def test_who_was_sent_what_is_told_and_answers_are_blanked(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(
            1, destination(1), destination(2, filter=Filter(types=("identify",)))
        )
        await rig.start()
        offsets = story_of(rig, *mixed(6))
        await rig.run_for(2)
        gone = await erase(rig, offsets, 12)
        assert gone.sent == {1: 6}
        rows = rig.rows("SELECT offsets, answer FROM fate WHERE kind='attempt'")
        theirs = [answer for packed, answer in rows if {*unpack_offsets(packed)} & {*offsets}]
        assert theirs and {*theirs} == {b""}
        again = await erase(rig, offsets, 12)
        assert (again.sent, again.answers) == ({1: 6}, 0)
        await rig.stop()

    run(story)


def test_what_comes_later_is_new(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        offsets = story_of(rig, *mixed(2))
        await rig.run_for(1)
        await erase(rig, offsets, 4)
        rig.put(of("jane-back", "jane"))
        await rig.run_for(1)
        assert rig.delivered()[-1] == "jane-back"
        await rig.stop()

    run(story)
