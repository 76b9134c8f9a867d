"""Whether an event has the consent that its region needs, as a table of what it may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import destination, event
from tests.support.json_values import JSON
from trunkline.forwarder.decide import CONSENT, decider
from trunkline.kit.consent import CONSENTS_MAX, Consent, lacks_consent, stated_consent
from trunkline.model.record import Routing, StoredEvent
from trunkline.model.snapshot import ConsentRegions

EEA = ConsentRegions(("EEA",))
GERMANY = {"location": {"country": "DE"}}


def lacks(context: Any, *categories: str, regions: ConsentRegions = EEA) -> bool:
    found = lacks_consent(destination(consent=categories, consent_regions=regions))
    assert found is not None
    return found({"context": context})


@pytest.mark.parametrize(
    ("is_enough", "said"),
    [
        (False, {}),
        (True, {"consent": {"optOut": {"ads": False}}}),
        (True, {"consent": {"optOut": {"ADS": "false"}}}),
        (False, {"consent": {"optOut": {"ads": True}}}),
        (False, {"consent": {"optOut": {"ads": None}}}),
        (False, {"consent": {"optOut": {"other": False}}}),
        (True, {"consent": {"categoryPreferences": {"Ads": True}}}),
        (True, {"consent": {"categoryPreferences": {"ads": "true"}}}),
        (False, {"consent": {"categoryPreferences": {"ads": False}}}),
        (False, {"consent": {"categoryPreferences": {"ads": None}}}),
        (False, {"consent": {"categoryPreferences": {"other": True}}}),
        (True, {"consentManagement": {"allowedConsentIds": ["ADS"]}}),
        (False, {"consentManagement": {"allowedConsentIds": ["other"]}}),
        (False, {"consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": ["ads"]}}),
        (True, {"consent": {"ads": "granted"}}),
        (True, {"consent": {"ads": True}}),
        (False, {"consent": {"ads": "denied"}}),
        (False, {"consent": {"ads": 1}}),
        (False, {"consent": {"explicit": True}}),
        (False, {"consent": {"tcf_string": "CPokAsAPokAsA", "gpp_string": "DBAA"}}),
        (False, {"consent": "granted"}),
        (False, {"consent": {"optOut": {"ads": False}, "categoryPreferences": {"ads": False}}}),
    ],
)
def test_only_a_yes_to_the_category_is_enough(is_enough: bool, said: dict[str, Any]) -> None:
    assert lacks({**GERMANY, **said}, "Ads") is not is_enough
    # Where no consent is needed nothing of it matters.
    assert not lacks({"location": {"country": "IR"}, **said}, "Ads")


def test_every_category_needs_its_yes() -> None:
    said = {"consent": {"categoryPreferences": {"ads": True, "analytics": True}}}
    assert not lacks({**GERMANY, **said}, "ads", "analytics")
    assert lacks({**GERMANY, **said}, "ads", "social")


@pytest.mark.parametrize(
    ("is_enough", "said"),
    [
        (False, {}),
        (True, {"consent": {"categoryPreferences": {"ads": True, "analytics": True}}}),
        (False, {"consent": {"categoryPreferences": {"ads": True, "analytics": False}}}),
        (False, {"consent": {"categoryPreferences": {"ads": True, "analytics": None}}}),
        (True, {"consent": {"optOut": {"ads": "false"}}}),
        (True, {"consentManagement": {"allowedConsentIds": ["a"], "deniedConsentIds": []}}),
        (False, {"consentManagement": {"allowedConsentIds": ["a"], "deniedConsentIds": ["b"]}}),
        (False, {"consentManagement": {"allowedConsentIds": []}}),
        (True, {"consent": {"ad_user_data": "granted", "ad_personalization": "CONSENT_GRANTED"}}),
        (False, {"consent": {"ad_user_data": "granted", "ad_personalization": "denied"}}),
        (True, {"consent": {"analytics": True}}),
        (True, {"consent": {"my_category": "granted"}}),
        # Facts about the person and the law are no consent, whatever their value.
        (False, {"consent": {"eea": True}}),
        (False, {"consent": {"gdpr_applies": True}}),
        (False, {"consent": {"explicit": "true"}}),
        (False, {"consent": {"region": "DE", "tcf_string": "granted?"}}),
        (False, {"consent": {"optOut": "granted", "categoryPreferences": "granted"}}),
        (False, {"consent": {"my_category": True}}),
        (False, {"consent": {"analytics": True, "my_category": False}}),
        (True, {"consent": {"analytics": True, "eea": False, "explicit": False}}),
        (False, {"consent": {"analytics": True, "npa": True}}),
        (False, {"consent": {"analytics": True, "do_not_sell": "true"}}),
        (True, {"consent": {"analytics": True, "ldu": False}}),
    ],
)
def test_without_categories_a_yes_is_needed_and_a_no_too_many(
    is_enough: bool, said: dict[str, Any]
) -> None:
    assert lacks({**GERMANY, **said}) is not is_enough


def test_where_no_place_is_known_the_setting_decides() -> None:
    elsewhere = ConsentRegions(("EEA",), is_needed_unknown=False)
    assert lacks({}) and lacks({}, "ads") and lacks(None)
    assert not lacks({}, regions=elsewhere)
    assert lacks(GERMANY, regions=elsewhere)
    assert not lacks({"consent": {"ads": "granted"}}, "ads")
    assert lacks({"timezone": "Asia/Tehran", "locale": "fa-IR"})


def test_a_destination_without_regions_asks_nothing() -> None:
    assert lacks_consent(destination(consent=("ads",))) is None


@given(JSON, st.lists(st.sampled_from(["ads", "analytics"]), unique=True))
def test_any_context_is_judged_and_silence_is_never_a_yes(context: Any, asked: list[str]) -> None:
    answer = lacks(context, *asked, regions=ConsentRegions(("ALL",)))
    assert answer in (True, False)
    if not stated_consent(context):
        assert answer


@given(
    st.dictionaries(
        st.sampled_from(["optOut", "categoryPreferences", "ads", "explicit"])
        | st.sampled_from(["allowedConsentIds", "deniedConsentIds"]),
        st.booleans()
        | st.sampled_from(["granted", "denied", "true", None])
        | st.dictionaries(st.sampled_from(["ads", "x"]), st.booleans() | st.none())
        | st.lists(st.sampled_from(["ads", "x"])),
    )
)
def test_who_has_said_no_is_filtered_and_who_has_said_yes_has_given_consent(
    said: dict[str, Any],
) -> None:
    """The two rules never disagree: a yes that is enough is filtered nowhere."""
    stored = Consent(said)
    if stored.is_given(("ads",)):
        decide = decider(destination(consent=("ads",)))
        assert decide(_event(said)) == ""
    if stored.answer("ads") is False:
        assert decider(destination(consent=("ads",)))(_event(said)) == CONSENT
        assert not stored.is_given(("ads",)) and not stored.is_given(())


def _event(said: dict[str, Any]) -> StoredEvent:
    return event("m", "u", routing=Routing({}, said) if said else None)


def test_a_list_of_categories_is_read_up_to_its_limit() -> None:
    ids = [f"c{number}" for number in range(CONSENTS_MAX + 1)]
    said = {**GERMANY, "consentManagement": {"allowedConsentIds": ids}}
    assert not lacks(said, ids[-2])
    assert lacks(said, ids[-1])
