"""Which destination may have which event, as a table; and that the ledger names the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.forwarding import Rig, destination, event, run, snapshot
from trunkline.forwarder.decide import REASONS, SUPPRESSED, decider
from trunkline.kit.erasure import ERASED
from trunkline.model.record import Routing
from trunkline.model.snapshot import ConsentRegions, Filter
from trunkline.state.forwarder import unpack_offsets

CRM: dict[str, Any] = {"id": "crm", "name": "Acme CRM", "kind": "post"}
DROPPED = ConsentRegions(("EEA",), drops=True)
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("", {}, {}),
    ("disabled", {"enabled": False}, {}),
    ("", {"filter": Filter(types=("track",))}, {}),
    ("filter: types", {"filter": Filter(types=("identify",))}, {}),
    ("", {"filter": Filter(events=("purchase_completed",))}, {"name": "Purchase Completed"}),
    ("filter: events", {"filter": Filter(events=("Other",))}, {"name": "Purchase Completed"}),
    ("filter: events", {"filter": Filter(events=("Other",))}, {"type": "identify", "name": ""}),
    ("filter: except", {"filter": Filter(except_=("Sign-up",))}, {"name": "sign Up"}),
    ("", {"filter": Filter(except_=("Other",))}, {"type": "identify", "name": ""}),
    ("integrations", {}, {"integrations": {"All": False}}),
    ("integrations", {}, {"integrations": {"all": False, "Other": True}}),
    ("", {}, {"integrations": {"All": False, "CRM": True}}),
    ("", {}, {"integrations": {"All": False, "acme crm": {"list": 7}}}),
    ("", {}, {"integrations": {"All": False, "POST": True}}),
    ("integrations", {}, {"integrations": {"Acme CRM": False}}),
    ("", {}, {"integrations": {"crm": True, "post": False}}),
    ("", {}, {"integrations": {"Other": False}}),
    ("", {"consent": ("ads",)}, {}),
    ("consent", {"consent": ("ads",)}, {"consent": {"optOut": {"ads": True}}}),
    ("consent", {"consent": ("ads",)}, {"consent": {"optOut": {"ADS": "true"}}}),
    ("", {"consent": ("ads",)}, {"consent": {"optOut": {"ads": "false"}}}),
    ("", {}, {"consent": {"optOut": {"ads": True}}}),
    ("consent", {"consent": ("a", "b")}, {"consent": {"categoryPreferences": {"b": False}}}),
    ("", {"consent": ("a", "b")}, {"consent": {"categoryPreferences": {"a": True, "b": True}}}),
    ("", {"consent": ("ads",)}, {"consent": {"optOut": {}}}),
    ("consent", {"consent": ("ads",)}, {"consent": {"explicit": "true", "optOut": {}}}),
    ("", {"consent": ("ads",)}, {"consent": {"explicit": True, "optOut": {"ads": False}}}),
    ("", {"consent": ("ads",)}, {"consent": {"optOut": ["ads"], "categoryPreferences": 7}}),
    ("consent", {"consent": ("ads",)}, {"consent": {"deniedConsentIds": ["x", "ADS"]}}),
    ("", {"consent": ("ads",)}, {"consent": {"allowedConsentIds": ["Ads"]}}),
    ("", {"consent": ("ads",)}, {"consent": {"deniedConsentIds": ["other"]}}),
    ("consent", {"consent": ("ads",)}, {"consent": {"allowedConsentIds": ["other"]}}),
    ("", {"consent": ("ads",)}, {"consent": {"allowedConsentIds": [], "deniedConsentIds": 7}}),
    ("consent", {"consent": ("a", "b")}, {"consent": {"allowedConsentIds": ["a"]}}),
    ("consent", {"consent": ("ad_storage",)}, {"consent": {"ad_storage": "denied"}}),
    ("", {"consent": ("ad_storage",)}, {"consent": {"ad_storage": "granted"}}),
    ("consent", {"consent": ("ad_storage",)}, {"consent": {"AD_STORAGE": "CONSENT_DENIED"}}),
    ("", {"consent": ("ad_storage",)}, {"consent": {"ad_user_data": "denied"}}),
    ("consent", {"consent": ("ad_storage",)}, {"consent": {"ad_storage": False}}),
    ("", {"consent": ("a",)}, {"consent": {"explicit": True, "a": "granted"}}),
    ("consent", {"consent": ("a",)}, {"consent": {"a": "granted", "optOut": {"a": True}}}),
    ("", {"consent": ("a",)}, {"consent": {"a": {"granted": True}}}),
    ("consent: region", {"consent_regions": DROPPED}, {}),
    ("", {"consent_regions": msgspec.structs.replace(DROPPED, is_needed_unknown=False)}, {}),
    ("", {"consent_regions": msgspec.structs.replace(DROPPED, drops=False)}, {}),
    ("consent", {"consent": ("ads",), "consent_regions": DROPPED},
     {"consent": {"optOut": {"ads": True}}}),
    ("filter: types", {"filter": Filter(types=("identify",)), "consent_regions": DROPPED}, {}),
    ("disabled", {"enabled": False, "consent_regions": DROPPED}, {}),
    ("historical", {}, {"historical": True}),
    ("", {"historical": True}, {"historical": True}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "config", "facts"), CASES)
def test_a_decision_has_the_reason_of_the_contract(
    reason: str, config: dict[str, Any], facts: dict[str, Any]
) -> None:
    facts = dict(facts)
    integrations, consent = facts.pop("integrations", {}), facts.pop("consent", {})
    routing = Routing(integrations, consent) if integrations or consent else None
    stored = event("m", "u", routing=routing, **facts)
    assert decider(destination(**{**CRM, **config}))(stored) == reason


def test_every_reason_is_decided_by_some_case() -> None:
    # Who is suppressed or erased is the app's business, and no destination's.
    assert {reason for reason, _, _ in CASES} - {""} == set(REASONS) - {SUPPRESSED, ERASED}


def test_filtered_events_stand_in_the_ledger_and_their_offsets_in_one_row_for_the_trace(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, destination(filter=Filter(types=("track",))))
        await rig.start()
        kinds = ["track", "identify", "track", "identify", "identify"]
        rig.put(*[event(f"m{i}", "a", type=type_) for i, type_ in enumerate(kinds)])
        await rig.run_for(0.5)
        assert rig.ledger() == {"delivered": 2, "filtered filter: types": 3}
        rows = rig.rows("SELECT reason, offsets FROM fate WHERE kind='filtered'")
        assert [(reason, unpack_offsets(packed)) for reason, packed in rows] == [
            ("filter: types", [1, 3, 4])
        ]
        assert rig.balance() == (5, 5)
        await rig.stop()

    run(story)
