"""Fixtures of a kit pass where the requests are exactly those, and say in words where not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kits.test_kit_file import kit, problems_of
from trunkline.kits.fixtures import FixtureResult, run_fixtures
from trunkline.kits.kit import parse_kit

EVENT = {
    "messageId": "m-1", "type": "track", "event": "Order Completed", "userId": "u-1",
    "timestamp": "2026-11-20T10:15:30.000Z", "properties": {"total": 5},
}  # fmt: skip
BOOK = {
    "global": {
        "filters": [{"byEventNames": {"action": "deny", "events": ["Secret"]}}],
        "mappings": [
            {"inputKey": "event", "outputKey": "name"},
            {"inputKey": "properties.total", "outputKey": "value"},
        ],
    }
}
CONTRACT = [
    {"rule": "negative", "key": "value", "min": 0, "then": "reject", "say": "No."},
    {"rule": "old", "olderThan": "7d", "then": "drop"},
    {"rule": "long", "key": "name", "charactersMax": 5, "then": "cut"},
]
REQUEST = {
    "method": "POST", "url": "https://acme.example/e?v=2&k=1", "headers": {"x-key": "k-1"},
    "body": {"name": "Order", "value": 5.0},
}  # fmt: skip


def connection(**more: Any) -> dict[str, Any]:
    headers = [{"key": "X-Key", "value": "$$KEY$$"}]
    params = [{"name": "KEY", "exampleValue": "k-1"}]
    request = {"endpoint": "https://acme.example/e?k=1&v=2", "headers": headers, **more}
    return {"params": params, "default": request}


def run(*fixtures: dict[str, Any], **more: Any) -> list[FixtureResult]:
    named = [{"name": f"f{n}", "events": [EVENT], **one} for n, one in enumerate(fixtures)]
    tree = kit(connection=connection(**more), contract=CONTRACT, fixtures=named, playbook=BOOK)
    return run_fixtures(parse_kit(tree))


def told(fixture: dict[str, Any], **more: Any) -> tuple[str, ...]:
    return run(fixture, **more)[0].problems


def changed(**event: Any) -> list[dict[str, Any]]:
    return [{**EVENT, **event}]


def test_what_is_exactly_so_passes() -> None:
    noted = {"requests": [REQUEST], "notes": ["long: …"]}
    dropped = {"dropped": "old", "now": "2026-12-20T00:00:00Z"}
    rejected = {"rejected": "negative", "events": changed(properties={"total": -1})}
    filtered = {"filtered": True, "events": changed(event="Secret")}
    keyed = {**REQUEST, "headers": {"X-Key": "other"}}
    found = run(
        noted, dropped, rejected, filtered, {"params": {"KEY": "other"}, "requests": [keyed]}
    )
    assert [one.problems for one in found] == [()] * 5
    assert [len(one.requests) for one in found] == [1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("fixture", "problem"),
    [
        ({"requests": [{**REQUEST, "body": {"name": "Order"}}]},
         "request 1: body.value is 5; expected (absent)"),
        ({"requests": [{**REQUEST, "body": {"name": "Order", "value": 5, "x": "y"}}]},
         'request 1: body.x is (absent); expected "y"'),
        ({"requests": [{**REQUEST, "body": {"name": "Order", "value": True}}]},
         "request 1: body.value is 5; expected true"),
        ({"requests": [{**REQUEST, "method": "PUT"}]}, "request 1: method is POST; expected PUT"),
        ({"requests": [{**REQUEST, "url": "https://acme.example/e?k=1"}]},
         "request 1: url is https://acme.example/e?k=1&v=2; expected https://acme.example/e?k=1"),
        ({"requests": [{**REQUEST, "headers": {"X-Key": "k-2"}}]},
         "request 1: header X-Key is 'k-1'; expected 'k-2'"),
        ({"requests": [{**REQUEST, "headers": {"X-No": "1"}}]},
         "request 1: header X-No is '(absent)'; expected '1'"),
        ({"requests": []},
         "made 1 requests (POST https://acme.example/e?k=1&v=2); expected 0"),
        ({"requests": [REQUEST], "notes": ["old: …"]},
         "no note 'old: …'; there are: long: name was cut to 5 characters"),
        ({"dropped": "old"}, "no event was dropped by old"),
        ({"rejected": "negative"}, "no event was rejected by negative"),
        ({"filtered": True}, "no event was filtered by the playbook"),
        ({"requests": [REQUEST], "now": "2026-12-20T00:00:00Z"},
         "an event was dropped: vendor: old"),
        ({"requests": [], "events": changed(event="Secret")},
         "an event was filtered: global.filters[0]"),
        ({"requests": [], "events": changed(properties={"total": -1})},
         "an event was rejected: negative: No."),
    ],
)  # fmt: skip
def test_what_is_not_so_is_told_in_words(fixture: dict[str, Any], problem: str) -> None:
    assert problem in told(fixture)


def test_forms_are_compared_by_their_fields() -> None:
    form = {**REQUEST, "body": {"name": "Order", "value": "5"}}
    assert told({"requests": [form]}, encoding="form") == ()
    assert told({"requests": [{**REQUEST, "body": "name=Order&value=5"}]}, encoding="form") == ()


def test_a_token_is_not_fetched_and_a_private_key_is_made_up() -> None:
    jwt = {"signingMethod": "RS256", "rsaPemKey": "$$KEY$$"}
    oauth2 = {"request": {"url": "https://acme.example/t"}, "jwt": jwt}
    signed = {**REQUEST, "headers": {"Authorization": "Bearer fixture-token"}}
    assert told({"requests": [signed]}, oauth2Auth=oauth2, headers=[]) == ()


def test_code_is_not_run() -> None:
    transform = {"lang": "lua", "body": "return request"}
    assert "has a transform, which is code" in told({"requests": []}, transform=transform)[0]
    code = {"expressions": [{"lang": "lua", "name": "x", "body": "return input"}]}
    fixture = {"name": "f", "events": [EVENT], "requests": []}
    tree = kit(connection=connection(), playbook={"default": code}, fixtures=[fixture])
    assert len(run_fixtures(parse_kit(tree))[0].problems) == 1


def test_mistakes_of_fixtures_are_told_with_their_place() -> None:
    fixtures = [
        {"name": "a", "events": [EVENT]},
        {"name": "a", "events": [{"messageId": 7}], "dropped": "odl", "now": "soon"},
        {"name": "c", "events": [], "requests": [{"methd": "GET"}], "params": {"KYE": "x"}},
    ]
    found = problems_of(kit(connection=connection(), contract=CONTRACT, fixtures=fixtures))
    for expected in (
        "fixtures[0]: says not what must come of it; give `requests`, or `dropped`, `rejected`",
        "fixtures[1]: 'a' stands twice; give each fixture a name of its own",
        "fixtures[1].events[0]: messageId is missing or no text; every event has one",
        "fixtures[1].events[0]: type is missing or no text; every event has one",
        "fixtures[1].dropped: names no rule of the contract; did you mean `old`?",
        "fixtures[1].now: is 'soon'; expected a time, as 2026-11-20T10:16:00Z",
        "fixtures[2].events: has 0 events; expected 1 to 1000",
        "fixtures[2].requests[0].methd: is not known here; did you mean `method`?",
        "fixtures[2].params.KYE: names no param; did you mean `KEY`?",
    ):
        assert expected in found
