"""Rules over several keys of which some, or one, must be there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kits.test_contract import NOW_MS, REJECTED, SAY, contract, event, judged
from trunkline.kits.contract import read_contract
from trunkline.model.outcome import Filtered
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

WAYS = ["a", "u.b", ["c", "u.d"]]


def told(rule: dict[str, Any]) -> list[str]:
    problems: list[Problem] = []
    read_contract(Node([{"rule": "r", **rule}], "contract", problems))
    return [*map(str, problems)]


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ({}, 0),
        ({"a": None, "u": {"b": None}}, 0),
        ({"c": 1}, 0),
        ({"c": 1, "u": {"d": 2}}, 1),
        ({"a": ""}, 1),
        ({"a": 1, "u": {"b": 2}}, 2),
        ({"a": 1, "c": 1, "u": {"d": 2}}, 2),
        ({"a": 1, "c": 1, "u": {"b": 1, "d": 2}}, 3),
    ],
)
def test_one_at_least_or_exactly_one_must_be_there(output: dict[str, Any], count: int) -> None:
    dropped = Filtered("vendor: r")
    assert judged({"anyOf": WAYS, **SAY}, output) == (output if count else REJECTED)
    assert judged({"anyOf": WAYS, "then": "drop"}, output) == (output if count else dropped)
    assert judged({"oneOf": WAYS, **SAY}, output) == (output if count == 1 else REJECTED)
    assert judged({"oneOf": WAYS, "then": "drop"}, output) == (output if count == 1 else dropped)


def test_the_first_that_is_there_stays_and_the_others_are_left_out_with_a_note() -> None:
    rule = {"oneOf": WAYS, "then": "leave_out"}
    assert judged(rule, {"x": 1}) == {"x": 1}
    assert judged(rule, {"c": 1, "u": {"d": 2}}) == {"c": 1, "u": {"d": 2}}
    whole = {"a": 1, "c": 1, "u": {"b": 1, "d": 2}, "x": 1}
    assert judged(rule, whole) == {"a": 1, "u": {}, "x": 1}
    assert judged(rule, {"c": 1, "u": {"b": 1, "d": 2}}) == {"u": {"b": 1}}
    assert contract(rule).notes(event(whole), NOW_MS) == [
        "r: u.b was left out", "r: c was left out", "r: u.d was left out",
    ]  # fmt: skip


def test_a_way_that_shares_a_key_with_the_one_that_stays_leaves_it_there() -> None:
    rule = {"oneOf": [["a", "b"], ["b", "c"]], "then": "leave_out"}
    assert judged(rule, {"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2}


def test_a_condition_says_where_the_ways_are_asked() -> None:
    rule = {"when": {"stringEqual": {"inputPath": "n", "value": "buy"}}, "anyOf": WAYS, **SAY}
    assert judged(rule, {"n": "buy"}) == REJECTED
    assert judged(rule, {"n": "see"}) == {"n": "see"}


KEYS = st.dictionaries(st.sampled_from("abcdx"), st.one_of(st.none(), st.integers()))


@given(KEYS)
def test_what_was_left_out_once_keeps_the_rule(output: dict[str, Any]) -> None:
    rule = contract({"oneOf": ["a", "b", ["c", "d"]], "then": "leave_out"})
    once: Any = rule.judge(event(output), NOW_MS)
    assert rule.judge(once, NOW_MS) is once
    there = [once.value.get("a"), once.value.get("b")]
    pair = once.value.get("c") is not None and once.value.get("d") is not None
    assert sum(value is not None for value in there) + pair <= 1


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"anyOf": ["a"], **SAY}, "contract[0].anyOf: has 1 ways; 2 to 30 are taken"),
        ({"anyOf": ["a", "b..c"], **SAY}, "contract[0].anyOf[1]: is 'b..c'; expected names"),
        ({"anyOf": ["a", "b.*"], **SAY}, "contract[0].anyOf[1]: is 'b.*'; expected names"),
        ({"oneOf": ["a", []], **SAY}, "contract[0].oneOf[1]: has 0 paths"),
        ({"oneOf": ["a", "b"], "key": "a", **SAY}, "asks oneOf and key; make it two rules"),
        ({"oneOf": ["a", "b"], "olderThan": "7d", **SAY}, "asks oneOf and olderThan"),
        ({"anyOf": ["a", "b"], "then": "leave_out"}, "leaves out no key"),
        ({"oneOf": ["a", "b"], "then": "cut"}, "cuts by `charactersMax` and `itemsMax`, or by"),
        ({"anyOf": ["a", "b"]}, "then is missing"),
    ],
)
def test_mistakes_are_told_with_their_place(rule: dict[str, Any], problem: str) -> None:
    assert [problem in one for one in told(rule)] == [True]
