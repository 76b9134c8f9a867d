"""The body of a request, written around what the playbook made."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.kits.envelope import check_envelope, make_envelope
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

BATCH = ({"a": 1}, {"a": 2})


def made(tree: Any, **values: str) -> Any:
    return make_envelope(tree, values)(BATCH)


def told(tree: Any, batch_max: int = 10) -> list[str]:
    problems: list[Problem] = []
    check_envelope(Node(tree, "body", problems), batch_max)
    return [*map(str, problems)]


def test_what_was_made_stands_where_the_kit_says() -> None:
    assert made({"data": "$events"}) == {"data": [{"a": 1}, {"a": 2}]}
    assert made({"in": [{"one": "$event"}], "n": 7}) == {"in": [{"one": {"a": 1}}], "n": 7}
    assert made("$events") == [{"a": 1}, {"a": 2}]


def test_a_key_whose_text_is_params_alone_and_empty_is_left_out() -> None:
    tree = {"code": "$$CODE$$", "two": "$$A$$$$CODE$$", "text": "v$$CODE$$", "list": ["$$CODE$$"]}
    assert made(tree, CODE="", A="") == {"text": "v", "list": []}
    assert made(tree, CODE="x", A="") == {"code": "x", "two": "x", "text": "vx", "list": ["x"]}
    assert made({"kept": ""}) == {"kept": ""}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("$number", "7", 7),
        ("$number", "1.5", 1.5),
        ("$flag", "true", True),
        ("$flag", "False", False),
        ("$json", '{"a":[1]}', {"a": [1]}),
    ],
)
def test_params_may_be_numbers_flags_and_json(kind: str, text: str, value: Any) -> None:
    assert made({"v": {kind: "$$X$$"}}, X=text) == {"v": value}
    assert made({"v": {kind: "$$X$$"}}, X="") == {}


@pytest.mark.parametrize(
    ("kind", "text"), [("$number", "true"), ("$number", "s3cret"), ("$flag", "1"), ("$json", "{")]
)
def test_a_value_of_another_kind_is_told_and_not_shown(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"params: \$\$X\$\$ must be") as caught:
        made({"v": {kind: "$$X$$"}}, X=text)
    assert text not in str(caught.value)


def test_one_batch_does_not_change_the_next() -> None:
    render = make_envelope({"data": "$events"}, {})
    render(BATCH)["data"].append("x")
    assert render(BATCH) == {"data": [{"a": 1}, {"a": 2}]}


def test_mistakes_are_told_with_their_place() -> None:
    assert told({"a": {"b": "$event"}}) == [
        "body.a.b: is the first event, but a request carries 10; write `$events`"
    ]
    assert told({"a": "$event"}, 1) == []
    assert told({"a": "$evnts"}) == ["body.a: is '$evnts'; did you mean `$events`?"]
    assert told({"n": {"$nummer": "$$X$$"}}) == [
        "body.n.$nummer: is not known here; did you mean `$number`?"
    ]
    assert told({"n": {"$number": "7"}})[0].startswith("body.n.$number: holds no param")
    assert told({"n": {"$number": "$$X$$", "m": 1}})[0].startswith("body.n: holds more than")
    assert told(7) == ["body: is a number; expected an object, with `$events` in it"]
    deep: Any = "$events"
    for _ in range(20):
        deep = {"a": deep}
    assert "nests more than" in told(deep)[0]
