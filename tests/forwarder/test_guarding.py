"""What is kept from destinations on the way: suppressed people, and fields of everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.forwarding import APP, Rig, Tape, destination, run, snapshot
from tests.support.forwarding import event as plain_event
from tests.support.shaped import Keep, bodies, playbook, rig_with, shaped
from trunkline.kit.destination import Attempt, Mapped
from trunkline.kit.suppression import PersonKind, normal_person, person_digest
from trunkline.model import snapshot as model
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.model.record import StoredEvent
from trunkline.state.inbox import ReplayLetters, ReplayRange, SetState

KEY = b"k" * 32
T0 = 1_700_000_000_000


def event(message_id: str, user: str, **facts: Any) -> StoredEvent:
    """An event whose canonical form says whose it is."""
    stored = plain_event(message_id, user)
    body = {**msgspec.json.decode(stored.event), "app": APP, "userId": user, **facts}
    return msgspec.structs.replace(stored, event=msgspec.json.encode(body))


def suppressing(
    version: int, people: Sequence[tuple[PersonKind, str]], *destinations: model.Destination
) -> model.Snapshot:
    """A snapshot in which these people are suppressed."""
    made = snapshot(version, *destinations)
    packed = b"".join(
        person_digest(KEY, APP, kind, normal_person(kind, text)) for kind, text in people
    )
    apps = tuple(msgspec.structs.replace(app, suppressed=packed) for app in made.apps)
    return msgspec.structs.replace(made, apps=apps, suppression_key=KEY)


def test_a_suppressed_person_s_events_go_nowhere_and_the_ledger_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = suppressing(1, [("user", "u-42")], destination(1), destination(2))
        await rig.start()
        rig.put(event("m0", "u-42"), event("m1", "u-43"), event("m2", "u-42"))
        await rig.run_for(0.5)
        for uid in (1, 2):
            assert rig.delivered(uid) == ["m1"]
            assert rig.ledger(uid) == {"delivered": 1, "filtered suppressed": 2}
            assert rig.balance(uid) == (3, 3)
        assert rig.rows("SELECT DISTINCT reason FROM fate WHERE kind='filtered'") == [
            ("suppressed",)
        ]
        await rig.stop()

    run(story)


def test_a_snapshot_is_enough_and_one_without_frees_them(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        await rig.start()
        rig.put(event("m0", "u-42"))
        await rig.run_for(1)
        rig.snapshot = suppressing(2, [("user", "u-42")], destination())
        await rig.run_for(1)
        rig.put(event("m1", "u-42"))
        await rig.run_for(1)
        rig.snapshot = snapshot(3, destination())
        await rig.run_for(1)
        rig.put(event("m2", "u-42"))
        await rig.run_for(1)
        assert rig.delivered() == ["m0", "m2"]
        await rig.stop()

    run(story)


@pytest.mark.slow
def test_what_waits_when_somebody_is_suppressed_is_not_sent_any_more(tmp_path: Path) -> None:
    async def story(answer: Outcome, seconds: float) -> None:
        rig = Rig(tmp_path / str(seconds), waiting_seconds=5)
        one = destination(settings={"batch_events_max": 2})
        rig.snapshot = snapshot(1, one)
        rig.receiver.answer = lambda sent: answer
        await rig.start()
        rig.put(*[event(f"m{n}", f"u-{n % 2}") for n in range(6)])
        await rig.run_for(seconds)
        rig.snapshot = suppressing(2, [("user", "u-0")], one)
        await rig.run_for(1)
        rig.receiver.requests.clear()
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(150)
        assert rig.delivered() == ["m1", "m3", "m5"]
        assert {id_ for sent in rig.receiver.requests for id_ in sent.ids} == {"m1", "m3", "m5"}
        assert rig.ledger() == {"delivered": 3, "filtered suppressed": 3}
        assert rig.balance() == (6, 6)
        await rig.stop()

    run(lambda: story(Retry("later"), 2))  # in the log, between two attempts
    run(lambda: story(Retry("later"), 60))  # in the waiting lanes


def test_a_parked_destination_drains_without_them(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Blocked("HTTP 401")
        await rig.start()
        rig.put(event("m0", "u-42"), event("m1", "u-43"), event("m2", "u-42"))
        await rig.run_for(1)
        assert rig.saved().state == "parked"
        rig.snapshot = suppressing(2, [("user", "u-42")], destination())
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(SetState(1, "running", rig.clock.now_ms()))
        await rig.run_for(5)
        assert rig.delivered() == ["m1"]
        assert rig.ledger() == {"delivered": 1, "filtered suppressed": 2}
        await rig.stop()

    run(story)


def test_a_replay_does_not_bring_them_back(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.receiver.answer = lambda sent: Rejected("no")
        await rig.start()
        rig.put(event("m0", "u-42"), event("m1", "u-43"))
        await rig.run_for(1)
        letters = [row[0] for row in rig.rows("SELECT id FROM dead_letter ORDER BY offset")]
        rig.snapshot = suppressing(2, [("user", "u-42")], destination())
        rig.receiver.answer = lambda sent: Delivered()
        await rig.run_for(1)
        rig.ask(ReplayLetters(tuple(letters), rig.clock.now_ms()))
        rig.ask(ReplayRange(1, 0, T0 + 10**9, rig.clock.now_ms()))
        await rig.run_for(10)
        assert set(rig.delivered()) == {"m1"}
        assert rig.ledger()["filtered suppressed"] == 1
        assert rig.balance()[0] == rig.balance()[1]
        await rig.stop()

    run(story)


def test_an_address_is_known_in_a_shaped_event_too(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, shaped())
        rig.snapshot = suppressing(1, [("email", "jane@example.com")], shaped())
        await rig.start()
        rig.put(event("m0", "a", traits={"email": "JANE@example.com"}), event("m1", "b"))
        await rig.run_for(0.5)
        assert set(bodies()) == {"m1"}
        assert rig.ledger() == {"delivered": 1, "filtered suppressed": 1}
        await rig.stop()

    run(story)


FIELDS: dict[str, Any] = {"deny_fields": ("context.ip",), "hash_fields": ("default", "userId")}
FACTS: dict[str, Any] = {"context": {"ip": "203.0.113.7"}, "traits": {"email": "jane@example.com"}}
JANE = "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"
U_42 = "16ec525b74b75626eb93ecad8acc749885fcf4e83c95b139342769a4ab1828a3"


def test_a_kind_sees_what_it_may_and_order_is_kept_by_the_person(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="keep", **FIELDS))
        await rig.start()
        rig.put(event("m0", "u-42", **FACTS), event("m1", "u-42"), event("m2", "u-42"))
        await rig.run_for(1)
        first = bodies()["m0"]
        assert first["context"] == {} and first["userId"] == U_42
        assert first["traits"] == {"email": JANE}
        assert rig.receiver.requests[0].users == [f"u:{U_42}"] * 3
        assert rig.delivered() == ["m0", "m1", "m2"]
        Keep.kept.clear()
        rig.snapshot = snapshot(2, destination(kind="keep"))  # it may see everything from now on
        await rig.run_for(1)
        rig.put(event("m3", "u-42", **FACTS))
        await rig.run_for(1)
        assert bodies()["m3"]["context"] == {"ip": "203.0.113.7"}
        await rig.stop()

    run(story)


def test_one_destination_s_protection_is_no_other_s(tmp_path: Path) -> None:
    async def story() -> None:
        both = destination(1, kind="keep", **FIELDS), destination(2, kind="keep")
        rig = rig_with(tmp_path, *both)
        await rig.start()
        rig.put(event("m0", "u-42", **FACTS))
        await rig.run_for(1)
        seen = sorted(msgspec.json.decode(body)["userId"] for _, body in Keep.kept)
        assert seen == sorted([U_42, "u-42"])
        await rig.stop()

    run(story)


def test_a_playbook_and_a_shadow_see_what_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        mappings = [
            {"inputKey": "messageId", "outputKey": "id"},
            {"inputKey": "context.ip", "outputKey": "ip"},
            {"inputKey": "traits.email", "outputKey": "email"},
        ]
        same = playbook(default={"mappings": mappings})
        config = shaped(playbook=same, shadow=same, shadow_revision=2, **FIELDS)
        rig = rig_with(tmp_path, config)
        await rig.start()
        rig.put(event("m0", "u-42", **FACTS))
        await rig.run_for(5)
        assert bodies() == {"m0": {"id": "m0", "email": JANE}}
        assert rig.rows("SELECT kind, count FROM shadow") == [("same", 1)]
        await rig.stop()

    run(story)


class Kept(Tape):
    """A channel that keeps the bodies."""

    kind = "kept"
    bodies: list[Any] = []

    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        Kept.bodies += [each.value for each in events]
        return [Delivered()] * len(events)


def test_a_channel_sees_what_it_may(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.kinds["kept"] = Kept
        Kept.bodies = []
        rig.snapshot = snapshot(1, destination(kind="kept", **FIELDS))
        await rig.start()
        rig.put(event("m0", "u-42", **FACTS))
        await rig.run_for(1)
        assert [(body["context"], body["traits"]["email"]) for body in Kept.bodies] == [({}, JANE)]
        await rig.stop()

    run(story)
