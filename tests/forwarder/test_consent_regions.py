"""Consent by region on the way: what is withheld, what is dropped, and what the ledger says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.forwarder.test_guarding import event
from tests.support.forwarding import destination, run, snapshot
from tests.support.shaped import Keep, bodies, playbook, rig_with, shaped
from trunkline.kit.consent import CONSENT_REGION
from trunkline.kit.destination import Attempt, Mapped
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected
from trunkline.model.snapshot import ConsentRegions
from trunkline.state.inbox import ReplayRange, SetState

EEA = ConsentRegions(("EEA",))
DROPPED = ConsentRegions(("EEA",), drops=True)
GERMANY: dict[str, Any] = {"location": {"country": "DE"}, "ip": "203.0.113.7"}
IRAN: dict[str, Any] = {"location": {"country": "IR"}, "ip": "203.0.113.7"}
JANE: dict[str, Any] = {"email": "jane@example.com"}


class NeedsUser(Keep):
    """A vendor that takes nothing without a user, and says so before a request is made."""

    kind = "needs_user"

    def exchange(self, events: Sequence[Mapped], attempt: Attempt) -> Any:
        known = [each for each in events if each.value.get("userId")]
        judged: Outcome = Delivered()
        if known:
            response = yield self.build(known, attempt)
            judged = self.judge(response)
        refused = Rejected("needs_user: a user is needed", is_sure=True, was_sent=False)
        return [judged if each in known else refused for each in events]


def test_who_has_no_consent_is_sent_without_what_is_personal(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="keep", consent_regions=EEA))
        await rig.start()
        granted = {"consent": {"ads": "granted"}}
        rig.put(
            event("silent", "u-1", context=GERMANY, traits=JANE),
            event("agreed", "u-1", context={**GERMANY, **granted}, traits=JANE),
            event("abroad", "u-1", context=IRAN, traits=JANE),
            event("nowhere", "u-1", traits=JANE),
        )
        await rig.run_for(1)
        assert rig.delivered() == ["silent", "agreed", "abroad", "nowhere"]  # in their order
        for message_id in ("silent", "nowhere"):
            seen = bodies()[message_id]
            assert "userId" not in seen and "traits" not in seen
            assert seen["event"] == "Bought" and "x" in seen["properties"]
        assert bodies()["silent"]["context"] == {"location": {"country": "DE"}}
        for message_id in ("agreed", "abroad"):
            seen = bodies()[message_id]
            assert (seen["userId"], seen["traits"]) == ("u-1", JANE)
        assert rig.ledger() == {"delivered": 4} and rig.balance() == (4, 4)
        await rig.stop()

    run(story)


def test_a_destination_that_drops_them_says_so_in_the_ledger(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(
            tmp_path, destination(1, kind="keep", consent_regions=DROPPED), destination(2)
        )
        await rig.start()
        rig.put(event("m0", "a", context=GERMANY), event("m1", "b", context=IRAN), event("m2", "c"))
        await rig.run_for(1)
        assert rig.delivered(1) == ["m1"] and rig.delivered(2) == ["m0", "m1", "m2"]
        assert rig.ledger(1) == {"delivered": 1, f"filtered {CONSENT_REGION}": 2}
        assert rig.rows("SELECT DISTINCT reason FROM fate WHERE kind='filtered'") == [
            (CONSENT_REGION,)
        ]
        assert rig.balance(1) == (3, 3)
        await rig.stop()

    run(story)


def test_a_replay_sends_what_was_dropped_once_the_setting_allows_it(tmp_path: Path) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="keep", consent_regions=DROPPED))
        await rig.start()
        rig.put(event("m0", "a", context=GERMANY))
        await rig.run_for(1)
        rig.ask(ReplayRange(1, 0, 2**50, rig.clock.now_ms()))
        await rig.run_for(5)
        assert rig.delivered() == []
        rig.snapshot = snapshot(2, destination(kind="keep", consent_regions=EEA))
        await rig.run_for(1)
        rig.ask(ReplayRange(1, 0, 2**50, rig.clock.now_ms()))
        await rig.run_for(5)
        assert rig.delivered() == ["m0"] and "userId" not in bodies()["m0"]
        await rig.stop()

    run(story)


def test_what_is_held_when_a_consent_becomes_needed_is_not_sent_any_more(tmp_path: Path) -> None:
    async def story(regions: ConsentRegions, sent: list[str]) -> None:
        rig = rig_with(tmp_path / str(regions.drops), destination(kind="keep"))
        rig.receiver.answer = lambda sent: Blocked("HTTP 401")
        await rig.start()
        rig.put(event("m0", "a", context=GERMANY), event("m1", "b", context=IRAN))
        await rig.run_for(1)
        assert rig.saved().state == "parked"
        Keep.kept.clear()
        rig.snapshot = snapshot(2, destination(kind="keep", consent_regions=regions))
        rig.receiver.answer = lambda sent: Delivered()
        rig.ask(SetState(1, "running", rig.clock.now_ms()))
        await rig.run_for(5)
        assert sorted(rig.delivered()) == sent == sorted(bodies())
        assert "userId" not in bodies().get("m0", {}) and bodies()["m1"]["userId"] == "b"
        assert rig.balance() == (2, 2)
        await rig.stop()

    run(lambda: story(EEA, ["m0", "m1"]))
    run(lambda: story(DROPPED, ["m1"]))


def test_what_a_vendor_takes_only_with_a_person_is_filtered_and_no_dead_letter(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = rig_with(tmp_path, destination(kind="needs_user", consent_regions=EEA))
        rig.kinds[NeedsUser.kind] = NeedsUser
        await rig.start()
        rig.put(
            event("m0", "a", context=GERMANY),
            event("m1", "b", context=IRAN),
            event("m2", "", context=IRAN),  # has no user of its own
        )
        await rig.run_for(1)
        assert rig.delivered() == ["m1"]
        assert rig.ledger() == {
            "delivered": 1, f"filtered {CONSENT_REGION}": 1, "dead rejected": 1,
        }  # fmt: skip
        assert rig.rows("SELECT reason FROM fate WHERE kind='filtered'") == [
            (f"{CONSENT_REGION}: needs_user: a user is needed",)
        ]
        assert rig.balance() == (3, 3)
        await rig.stop()

    run(story)


def test_a_playbook_and_a_shadow_see_no_more_than_is_sent(tmp_path: Path) -> None:
    async def story() -> None:
        mappings = [
            {"inputKey": "messageId", "outputKey": "id"},
            {"inputKey": "traits.email", "outputKey": "email"},
            {"inputKey": "userId", "outputKey": "user"},
        ]
        same = playbook(default={"mappings": mappings})
        config = shaped(playbook=same, shadow=same, shadow_revision=2, consent_regions=EEA)
        rig = rig_with(tmp_path, config)
        await rig.start()
        rig.put(event("m0", "u-42", context=GERMANY, traits=JANE))
        await rig.run_for(5)
        assert bodies() == {"m0": {"id": "m0"}}
        assert rig.rows("SELECT kind, count FROM shadow") == [("same", 1)]
        await rig.stop()

    run(story)
