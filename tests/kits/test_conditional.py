"""Requests that what was made of an event decides: asked in order, before those of names."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.kits.test_kit_file import kit, problems_of
from tests.support.kit_driving import drive, made_of, shaped
from trunkline.kits.kit import parse_kit
from trunkline.kits.test_request import make_test
from trunkline.model.outcome import Delivered, Retry

URL = "https://acme.example"
ANONYMOUS = {"inputPathExists": {"inputPath": "who.visitor"}}
GOLD = {"stringEqual": {"inputPath": "plan", "value": "$$PLAN$$"}}


def one(name: str, when: Any, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "when": when, "request": {"endpoint": f"{URL}/{path}", **more}}


CONNECTION: dict[str, Any] = {
    "params": [{"name": "PLAN", "defaultValue": "gold"}],
    "default": {"endpoint": f"{URL}/batch", "batchSize": 10},
    "conditional": [
        one("visitors", ANONYMOUS, "visitors/{{anonymousId}}", body={"id": "$event.who.visitor"}),
        one("gold", GOLD, "gold", batchSize=5),
    ],
    "eventSpecific": {"identify": {"endpoint": f"{URL}/people"}},
}


def test_the_first_whose_condition_holds_is_the_request_of_an_event() -> None:
    events = [
        shaped({"who": {"id": 1}}, id="m1", user="a"),
        shaped({"who": {"visitor": "v 1"}, "plan": "gold"}, id="m2", user="b", anonymousId="v 1"),
        shaped({"plan": "gold"}, id="m3", user="c", type="identify"),
        shaped({"who": {"id": 4}}, id="m4", user="d", type="identify"),
        shaped({"who": {"id": 5}, "plan": "silver"}, id="m5", user="e"),
    ]
    driven = drive(made_of(CONNECTION), events)
    assert [(r.url, msgspec.json.decode(r.body)) for r in driven.requests] == [
        (f"{URL}/batch", [{"who": {"id": 1}}, {"who": {"id": 5}, "plan": "silver"}]),
        (f"{URL}/visitors/v%201", {"id": "v 1"}),
        (f"{URL}/gold", [{"plan": "gold"}]),
        (f"{URL}/people", {"who": {"id": 4}}),
    ]
    assert driven.outcomes == [Delivered()] * 5


def test_a_param_may_decide_it() -> None:
    events = [shaped({"plan": "silver"}, id="m1"), shaped({"plan": "gold"}, id="m2")]
    driven = drive(made_of(CONNECTION, {"PLAN": "silver"}), events)
    assert [request.url for request in driven.requests] == [f"{URL}/gold", f"{URL}/batch"]


def test_one_user_s_events_keep_their_order_over_requests_of_both_kinds() -> None:
    told: list[dict[str, Any]] = [{"n": 1}, {"n": 2, "plan": "gold"}, {"n": 3}]
    events = [shaped(output, id=f"m{output['n']}") for output in told]
    driven = drive(made_of(CONNECTION), events)
    assert [msgspec.json.decode(r.body)[0]["n"] for r in driven.requests] == [1, 2, 3]


def test_what_finds_no_room_among_ten_requests_goes_next_and_has_not_failed() -> None:
    events = [
        shaped({"who": {"visitor": str(n)}}, id=f"m{n}", user=f"u{n}", anonymousId=f"v{n}")
        for n in range(13)
    ]
    outcomes = drive(made_of(CONNECTION), events).outcomes
    assert outcomes[:10] == [Delivered()] * 10
    assert [one.is_next for one in outcomes if isinstance(one, Retry)] == [True] * 3


def told(conditional: Any, **more: Any) -> list[str]:
    found = problems_of(kit(connection={**CONNECTION, "conditional": conditional, **more}))
    return [text.removeprefix("connection.conditional") for text in found]


def test_what_is_wrong_with_it_is_told_where_it_stands() -> None:
    assert told({"a": 1}) == [": is an object; expected a list"]
    assert told([{"name": "a"}]) == ["[0]: when is missing", "[0]: request is missing"]
    bad = one("a", {"stringEqul": {"inputPath": "x", "value": "y"}}, "p", method="FETCH")
    assert [text.split(":")[0] for text in told([bad])] == [
        "[0].when.stringEqul", "[0].request.method",
    ]  # fmt: skip
    twice = [one("identify", ANONYMOUS, "a"), one("b", ANONYMOUS, "b"), one("b", GOLD, "c")]
    assert told(twice) == [
        "[0]: identify names another request; give each a name of its own",
        "[2]: b names another request; give each a name of its own",
    ]
    assert told([one("a", ANONYMOUS, "$$WHERE$$")]) == [
        "[0].request.endpoint: $$WHERE$$ names no param; expected `PLAN`"
    ]
    many = [one(f"r{n}", ANONYMOUS, "a") for n in range(21)]
    assert told(many) == [": has 21 requests; at most 20 are asked"]
    assert told([one("n" * 81, ANONYMOUS, "a")]) == [
        "[0].name: has 81 characters; at most 80 are taken"
    ]


def test_a_param_that_it_needs_and_that_cannot_stand_there_is_told() -> None:
    pattern = {"stringMatches": {"inputPath": "x", "value": "$$PLAN$$"}}
    connection = {**CONNECTION, "conditional": [one("odd", pattern, "odd")]}
    with pytest.raises(ValueError, match=r"PLAN cannot stand in the request odd; correct it"):
        made_of(connection, {"PLAN": "(s3cret"})
    needed = {**connection, "params": [{"name": "PLAN", "exampleValue": "gold"}]}
    with pytest.raises(ValueError, match=r"PLAN must be given; the request odd uses it"):
        made_of(needed)


def test_a_connection_test_with_an_endpoint_of_its_own_goes_there() -> None:
    book = {"version": "1", "global": {"mappings": [{"inputKey": "plan", "outputKey": "plan"}]}}
    event = {"messageId": "m", "type": "track", "event": "paid", "plan": "gold"}
    fixture = {"name": "order", "events": [event], "requests": []}
    test = {"proves": "It is right.", "event": "order"}
    parts = {"connection": CONNECTION, "playbook": book, "fixtures": [fixture]}
    for endpoint, url in (("", f"{URL}/gold"), (f"{URL}/debug", f"{URL}/debug")):
        tree = kit(**parts, test={**test, **({"endpoint": endpoint} if endpoint else {})})
        steps = make_test(parse_kit(tree), {}).steps(1_800_000_000_000)
        assert getattr(next(steps), "url", "") == url
        steps.close()
