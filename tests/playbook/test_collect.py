"""`collect` and the shaped `mapItems`: lists out of several places, without code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.playbook.transforms import TRANSFORMS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "price", "os"]), below, max_size=3)
    ),
    max_leaves=8,
)
SHA256 = {"toHash": "sha256"}
IDENTIFIERS = {
    "items": [
        {"paths": ["a", "b"], "transforms": [SHA256], "key": "hashed", "with": {"n": 1}},
        {"fields": {"ip": {"path": "ip"}, "ua": {"path": "ua"}}, "needs": ["ip"], "key": "net"},
    ]
}  # fmt: skip


def run(name: str, argument: Any, value: Any) -> Any:
    return TRANSFORMS[name].prepare(argument)(value)


def test_the_first_path_that_comes_to_something_counts() -> None:
    made = run("collect", IDENTIFIERS, {"a": "", "b": "u-42"})
    hashed = "16ec525b74b75626eb93ecad8acc749885fcf4e83c95b139342769a4ab1828a3"
    assert made == [{"n": 1, "hashed": hashed}]


def test_an_object_without_what_it_needs_is_left_out() -> None:
    assert run("collect", IDENTIFIERS, {"ua": "x"}) is None
    assert run("collect", IDENTIFIERS, {"ip": "1", "ua": "x"}) == [{"net": {"ip": "1", "ua": "x"}}]


def test_places_hold_what_stands_for_nothing_and_a_needed_one_decides() -> None:
    enum = {"mapEnum": {"values": {"ios": "i2"}, "ignoreCase": True}}
    places = [{"path": "os", "transforms": [enum], "isNeeded": True}, {"path": "x", "else": ""}]
    assert run("collect", {"items": places}, {"os": "iOS"}) == ["i2", ""]
    assert run("collect", {"items": places}, {"os": "desktop", "x": "y"}) is None


@given(JSON)
def test_collect_makes_json_of_everything(value: Any) -> None:
    made = run("collect", IDENTIFIERS, value)
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


def test_items_have_objects_inside_and_lists_of_one() -> None:
    argument = {
        "fields": {"id": "sku", "in": "kind"},
        "groups": {"more": {"name": "name", "size": "is.size"}},
        "lists": ["in"],
    }
    given = [{"sku": 7, "kind": "a", "name": "Uno", "is": {"size": 2}}, {"sku": 8, "kind": ["b"]}]
    assert run("mapItems", argument, given) == [
        {"id": 7, "in": ["a"], "more": {"name": "Uno", "size": 2}},
        {"id": 8, "in": ["b"]},
    ]
    assert run("mapItems", argument, [{"name": "of nothing"}]) == []


def test_items_become_texts_and_numbers_and_have_what_is_missing() -> None:
    argument = {
        "fields": {"id": "sku", "price": "price"},
        "numbers": ["price"],
        "texts": ["id"],
        "defaults": {"quantity": 1, "price": 0},
    }
    made = run("mapItems", argument, [{"sku": 7, "price": "9.5"}, {"sku": "b", "price": "many"}])
    assert made == [
        {"id": "7", "price": 9.5, "quantity": 1},
        {"id": "b", "quantity": 1, "price": 0},
    ]
    assert run("mapItems", argument, [{}]) == []


WRONG: list[tuple[str, Any, str]] = [
    ("collect", {"items": []}, "items: expected a list of objects"),
    ("collect", {"items": [{"path": "a"}] * 51}, "items: are 51; at most 50"),
    ("collect", {"items": [{"path": "a", "as": 1}]}, "items[0]: has no 'as'"),
    ("collect", {"items": [{"path": "a", "with": {"b": 1}}]}, "`with` needs a `key`"),
    ("collect", {"items": [{"fields": {"a": {}}, "path": "b"}]}, "has `fields` and `path`"),
    ("collect", {"items": [{"fields": []}]}, "fields: expected an object"),
    ("collect", {"items": [{"path": "a", "else": []}]}, "else: expected text"),
    ("collect", {"items": [{"path": "a", "isNeeded": 1}]}, "isNeeded: is 1; expected true"),
    (
        "collect",
        {"items": [{"path": "a", "transforms": [{"tohash": "md5"}]}]},
        "items[0]: transforms[0]: 'tohash' is no transform",
    ),
    (
        "collect",
        {"items": [{"path": "a", "transforms": [{"toHash": "md4"}]}]},
        "did you mean `md5`?",
    ),
    ("mapItems", {"fields": {"a": "a"}, "numbers": ["b"]}, "'b' is none of the `fields`"),
    ("mapItems", {"fields": {"a": "a"}, "groups": {}}, "groups: expected an object of objects"),
    ("mapItems", {"fields": {"a": "a"}, "groups": {"b": []}}, "b: expected an object of texts"),
    ("mapItems", {"fields": {"a": "a"}, "groups": {"a": {"c": "c"}}}, "'a' is one of the `fields`"),
    ("mapItems", {"fields": {"a": "a"}, "defaults": []}, "defaults: expected an object"),
    ("mapItems", {"fields": {"a": "a"}, "defaults": {"b": {}}}, "'b' must be text"),
]


@pytest.mark.parametrize(("name", "argument", "words"), WRONG)
def test_a_wrong_argument_is_told(name: str, argument: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        TRANSFORMS[name].prepare(argument)
    assert words in str(caught.value)
