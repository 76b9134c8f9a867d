"""Places of an envelope that hold a part of the event, and objects that a param leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.kits.envelope import check_envelope, make_envelope
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

EVENT = {"name": "purchase", "params": {"value": 0, "items": [{"id": "a"}]}, "note": None}


def complaints_of(tree: Any, batch_max: int = 1) -> list[str]:
    problems: list[Problem] = []
    check_envelope(Node(tree, "body", problems), batch_max)
    return [str(problem) for problem in problems]


def test_a_part_of_the_event_stands_where_it_is_named() -> None:
    tree = {"client": "$event.client", "events": [{"name": "$event.name", "p": "$event.params"}]}
    made = make_envelope(tree, {})([EVENT])
    assert made == {"events": [{"name": "purchase", "p": EVENT["params"]}]}
    assert make_envelope({"v": "$event.params.value", "i": "$event.params.items.0.id"}, {})(
        [EVENT]
    ) == {"v": 0, "i": "a"}


def test_a_part_that_is_null_or_missing_is_left_out() -> None:
    made = make_envelope({"a": "$event.note", "b": ["$event.x", "$event.name"]}, {})([EVENT])
    assert made == {"b": ["purchase"]}


def test_an_object_is_left_out_where_its_param_is_empty() -> None:
    tree = {
        "list": [{"$if": "$$A$$", "id": "$$A$$"}, {"$if": "$$B$$", "id": "$$B$$"}],
        "login": {"$if": "$$B$$", "id": "$$B$$"},
    }
    assert make_envelope(tree, {"A": "1", "B": ""})([EVENT]) == {"list": [{"id": "1"}]}
    assert make_envelope(tree, {"A": "1", "B": "2"})([EVENT]) == {
        "list": [{"id": "1"}, {"id": "2"}],
        "login": {"id": "2"},
    }


@pytest.mark.parametrize(
    ("tree", "batch_max", "words"),
    [
        ({"a": "$event.name"}, 2, "a request carries 2"),
        ({"a": "$event."}, 1, "did you mean"),
        ({"$if": "yes", "a": 1}, 1, "is more than params"),
        ({"$iff": "$$A$$", "a": 1}, 1, "did you mean `$if`"),
    ],
)
def test_a_wrong_place_is_told(tree: Any, batch_max: int, words: str) -> None:
    assert any(words in complaint for complaint in complaints_of(tree, batch_max))


def test_a_right_envelope_has_no_complaint() -> None:
    tree = {"n": "$event.a.b", "all": "$event", "o": {"$if": "$$A$$$$B$$", "x": 1}}
    assert complaints_of(tree) == []
