"""Where the person of an event is: what states a place, what does not, and groups of countries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from trunkline.kit.regions import GROUPS, Regions, is_region
from trunkline.playbook.countries import country_table

LISTED = ("EEA", "GB", "CH", "CA-QC", "US-CA", "ES-CT")


def location(country: Any, **more: Any) -> dict[str, Any]:
    return {"context": {"location": {"country": country, **more}}}


def consent(**said: Any) -> dict[str, Any]:
    return {"context": {"consent": said}}


@pytest.mark.parametrize(
    ("held", "event"),
    [
        # A country, by any of its names.
        (True, location("DE")), (True, location("de")), (True, location("DEU")),
        (True, location("Germany")), (True, location("UK")), (True, location(" NO ")),
        (False, location("IR")), (False, location("ایران")), (True, location("RE")),
        # A part of one: it must be stated where it matters, and only there.
        (True, location("US", region="CA")), (True, location("US", state="California")),
        (True, location("US", region="US-CA")), (True, location("CA", region="Québec")),
        (True, location("CA", province="quebec")), (False, location("CA", region="ON")),
        (False, location("US", region="Texas")), (None, location("US")),
        (None, location("US", region="somewhere")), (None, location("US", region=7)),
        (True, location("US-CA")), (False, location("us-tx")), (False, location("IR", region="07")),
        # What is written and cannot be read is not known.
        (None, location("Wonderland")), (None, location(7)), (None, location(["DE"])),
        (None, {}), (None, location("")), (None, location(None)), (None, {"context": 7}),
        # Each of the places, and the worst of them counts.
        (True, {"context": {"country": "FR"}}),
        (True, {"traits": {"address": {"country": "FR"}}}),
        (True, {"traits": {"country": "FR"}}),
        (True, {"traits": {"countryCode": "US", "region": "CA"}}),
        (True, {"context": {"traits": {"address": {"country": "US", "state": "CA"}}}}),
        (True, {**location("IR"), "traits": {"country": "FR"}}),
        (None, {**location("IR"), "traits": {"country": "Wonderland"}}),
        (False, {**location("IR"), "traits": {"country": "TR"}}),
        # What the consent platform found out.
        (True, consent(region="DE")), (True, consent(region="US-CA")),
        (False, consent(region="IR")),
        (True, consent(region="EEA")), (True, consent(region="eu")), (True, consent(eea=True)),
        (True, consent(eea=1)), (True, consent(gdpr_applies="true")),
        (None, consent(eea=False)), (None, consent(gdpr_applies=False)), (None, consent(eea="?")),
        # The country of a shop or a journey makes careful, but proves nothing.
        (True, {"properties": {"country": "FR"}}), (None, {"properties": {"country": "IR"}}),
        (True, {**location("IR"), "properties": {"country": "FR"}}),
        # No proof at all.
        (None, {"context": {"timezone": "Europe/Berlin", "locale": "de-DE", "ip": "192.0.2.1"}}),
        (None, {"properties": {"currency": "EUR"}}),
    ],
)  # fmt: skip
def test_an_event_is_held_against_the_list(held: bool | None, event: dict[str, Any]) -> None:
    assert Regions(LISTED).hold(event) is held


def test_fields_of_ones_own_state_a_country_too() -> None:
    regions = Regions(("EEA",), ("properties.market", "context.where.country"))
    assert regions.hold({"properties": {"market": "FR"}}) is True
    assert regions.hold({"properties": {"market": "IR"}}) is False
    assert regions.hold({"context": {"where": {"country": "Wonderland"}}}) is None
    assert regions.hold({"properties": {"market": {"a": 1}}}) is None
    assert regions.hold({"properties": {"market": None}}) is None


def test_who_is_outside_the_eea_is_free_where_nothing_else_is_listed() -> None:
    assert Regions(("EEA",)).hold(consent(eea=False)) is False
    assert Regions(("DE", "ES-CT")).hold(consent(eea=False)) is False
    assert Regions(("EEA", "GB")).hold(consent(eea=False)) is None


def test_a_group_is_as_sure_as_its_members() -> None:
    assert Regions(("DE",)).hold(consent(eea=True)) is None
    assert Regions(("GB", "US-CA")).hold(consent(eea=True)) is False
    assert Regions(("ES-CT",)).hold(consent(region="EU")) is None
    assert Regions(("EU",)).hold(location("NO")) is False
    assert Regions(("ALL",)).hold(location("IR")) is True
    assert Regions(("ALL",)).hold({}) is None


def test_a_part_holds_what_lies_in_it_and_what_it_lies_in_is_not_known() -> None:
    regions = Regions(("ES-CT",))  # Catalonia, in which Barcelona lies
    assert regions.hold(location("ES", region="ES-B")) is True
    assert regions.hold(location("ES", region="Barcelona")) is True
    assert regions.hold(location("ES", region="Madrid")) is False
    assert Regions(("ES-B",)).hold(location("ES", region="CT")) is None
    assert Regions(("ES", "ES-B")).hold(location("ES", region="Madrid")) is True


def test_the_groups_are_those_of_the_treaties() -> None:
    own_codes = {"AX", "GF", "GP", "MF", "MQ", "RE", "YT"}
    assert len(GROUPS["EU"] - own_codes) == 27
    assert GROUPS["EEA"] - GROUPS["EU"] == {"IS", "LI", "NO"}
    assert {"GB", "CH"}.isdisjoint(GROUPS["EEA"])
    assert GROUPS["EEA"] <= set(country_table().values())


@pytest.mark.parametrize("code", ["EEA", "EU", "ALL", "GB", "NO", "XK", "US-CA", "CA-QC", "GB-ENG"])
def test_a_code_is_a_region(code: str) -> None:
    assert is_region(code)


@pytest.mark.parametrize(
    "code",
    ["", "UK", "gb", "GBR", "eea", "Germany", "US-XX", "us-ca", "US-", "-CA", "US-CALI", "ZZ"],
)
def test_any_other_text_is_none(code: str) -> None:
    assert not is_region(code)


def test_a_part_that_is_no_more_stands_for_its_country() -> None:
    regions = Regions(("US-XX", "CA-QC"))
    assert regions.hold(location("US", region="TX")) is True
    assert regions.hold(location("CA", region="ON")) is False


@given(
    st.fixed_dictionaries(
        {}, optional={"context": JSON, "traits": JSON, "properties": JSON, "userId": JSON}
    )
)
def test_any_event_is_judged(event: dict[str, Any]) -> None:
    assert Regions(LISTED, ("properties.market",)).hold(event) in (True, False, None)


@given(st.sampled_from(sorted(set(country_table().values()))))
def test_every_country_is_in_exactly_the_groups_that_name_it(code: str) -> None:
    for name, members in GROUPS.items():
        assert Regions((name,)).hold(location(code)) is (code in members)
