"""Every kit that is shipped says what an operator needs, and its fixtures hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, cast

import pytest

from trunkline.kits.fixtures import FixtureResult, run_fixtures
from trunkline.kits.shipped import find_shipped, shipped_kits, shipped_names

CATEGORIES = {
    "advertising", "analytics", "crm", "attribution", "push", "messaging", "routing",
}  # fmt: skip
NAMES = shipped_names()
pytestmark = pytest.mark.skipif(not NAMES, reason="no kit is shipped")


@pytest.mark.parametrize("name", NAMES)
def test_its_fixtures_make_exactly_the_requests_that_are_written_beside_them(name: str) -> None:
    results = run_fixtures(shipped_kits()[name])
    assert [result for result in results if result.problems] == []
    assert any(result.requests for result in results), "no fixture makes a request"


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_what_an_operator_needs(name: str) -> None:
    kit = shipped_kits()[name]
    assert kit.name == name, "the file is named after the kit"
    assert kit.title and kit.version and not kit.cannot_send
    assert kit.metadata["category"] in CATEGORIES
    assert str(kit.metadata["docs"]).startswith("https://")
    assert date.fromisoformat(str(kit.metadata["asOf"]))
    assert str(kit.metadata["description"]).endswith(".")
    assert kit.metadata["deduplicates"] and kit.metadata["sources"]
    assert kit.test is not None, "it has a connection test, or says why there is none"
    base = next((param for param in kit.params if param.name == "BASE_URL"), None)
    assert base is not None and (base.default or base.example).startswith("https://")


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_that_stops_an_event_is_shown_by_a_fixture(name: str) -> None:
    kit = shipped_kits()[name]
    stops = {rule.name for rule in kit.contract if rule.then in ("reject", "drop")}
    shown = {each for one in kit.fixtures for each in (one.dropped, one.rejected)}
    assert stops - shown == set()


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_that_stops_an_event_says_why_and_where_the_vendor_says_so(name: str) -> None:
    stops = [one for one in shipped_kits()[name].contract if one.then in ("reject", "drop")]
    assert [one.name for one in stops if not (one.say and one.page.startswith("https://"))] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_param_that_is_an_example_or_a_default_has_a_place(name: str) -> None:
    for param in shipped_kits()[name].params:
        assert not param.is_required or param.example, f"{param.name} has no example"
        assert len(param.choices) < 30 or param.expected, f"{param.name} says not what it takes"
        known = {*(param.choices or param.good_until)}
        assert {*param.good_until} <= known, f"{param.name} ends what it does not offer"


def test_a_shipped_kit_is_read_once_and_an_unknown_one_is_none() -> None:
    assert find_shipped(NAMES[0]) is find_shipped(NAMES[0])
    assert find_shipped("no-such-vendor") is None
    assert len(shipped_kits()) == len([*shipped_kits()]) == len(NAMES)
    with pytest.raises(KeyError):
        shipped_kits()["no-such-vendor"]


def test_what_fails_is_told_by_its_fixture() -> None:
    """The test above can fail: a changed fixture does."""
    kit = shipped_kits()[NAMES[0]]
    fixture = next(one for one in kit.fixtures if one.requests)
    found = [r for r in run_fixtures(kit) if r.name == fixture.name]
    assert found[0] != FixtureResult(fixture.name)
    assert found[0].requests


VERSION = re.compile(r"/v?\d+(?:\.\d+)?(?=[/?]|$)|[?&]v=\d")


@pytest.mark.parametrize("name", NAMES)
def test_a_version_in_a_url_is_a_setting_that_says_what_it_takes(name: str) -> None:
    kit = shipped_kits()[name]
    endpoints = [spec.endpoint for spec in kit.way.requests()]
    endpoints += [text for key, text in texts_of(kit.own.get("test")) if key == "endpoint"]
    if kit.way.follow_up is not None:
        endpoints.append(kit.way.follow_up.request.endpoint)
    assert [one for one in endpoints if VERSION.search(one)] == []
    for param in kit.params:
        if param.name.endswith("VERSION"):
            assert param.default, param.name
            assert param.choices or (param.pattern and param.expected), param.name


def texts_of(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts of an object and of those below it, each with its key."""
    for key, value in cast("dict[str, Any]", tree or {}).items():
        if isinstance(value, dict):
            yield from texts_of(value)
        elif isinstance(value, str):
            yield key, value


def test_a_version_is_known_where_it_stands() -> None:
    """The test above can fail."""
    for url in ("$$B$$/v1/x", "$$B$$/2/x", "https://a.example/api/v1.3", "$$B$$/flags/?v=2"):
        assert VERSION.search(url), url
    assert not VERSION.search("$$BASE_URL$$/api/$$API_VERSION$$/pixels/$$PIXEL_ID$$/events?a=1")
