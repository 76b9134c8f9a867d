"""What a param may be is said by its kit, and told without showing a secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kits.test_kit_file import kit, problems_of
from trunkline.kits.params import Param, param_endings, param_problems, read_params
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

DATASET = {"name": "DATASET", "pattern": "[0-9]{5,20}", "expected": "the dataset's id"}
VERSION = {
    "name": "VERSION",
    "defaultValue": "v2",
    "choices": ["v2", "v1"],
    "goodUntil": {"v1": "2027-03-01"},
}


def params(*declared: dict[str, Any]) -> tuple[Param, ...]:
    problems: list[Problem] = []
    found = read_params(Node([*declared], "params", problems))
    assert problems == []
    return found


def test_a_value_that_the_kit_does_not_take_is_told_with_what_was_expected() -> None:
    declared = params(DATASET, VERSION, {"name": "FREE"})
    given = {"DATASET": "12", "VERSION": "v3", "FREE": "anything", "OTHER": "x"}
    assert param_problems(declared, given) == [
        ("DATASET", "is '12'; expected the dataset's id"),
        ("VERSION", "is 'v3'; expected `v2` or `v1`"),
    ]
    assert param_problems(declared, {"DATASET": "1234567", "VERSION": "v1"}) == []
    assert param_problems(declared, {"DATASET": ""}) == [], "not given"


def test_a_currency_is_one_of_iso_4217() -> None:
    plain = {"name": "CURRENCY", "choices": "ISO 4217"}
    for declared in (params(plain), params({**plain, "expected": "a currency, as IRR"})):
        assert param_problems(declared, {"CURRENCY": "IRR"}) == []
    assert param_problems(declared, {"CURRENCY": "IRT"}) == [
        ("CURRENCY", "is 'IRT'; expected a currency, as IRR")
    ]
    assert param_problems(params(plain), {"CURRENCY": "irr"})[0][1].endswith("one of its choices")


def test_a_pattern_holds_for_the_whole_value() -> None:
    declared = params({"name": "A", "pattern": "[a-c]+|x(?:y|z)*"})
    assert [bool(param_problems(declared, {"A": value})) for value in ("abc", "xyz", "xq", "abc ")]\
        == [False, False, True, True]  # fmt: skip
    assert param_problems(declared, {"A": "q"})[0][1].endswith("matches [a-c]+|x(?:y|z)*")


def test_no_sentence_shows_a_secret() -> None:
    declared = params({**DATASET, "isSensitive": True}, {**VERSION, "isSensitive": True})
    told = param_problems(declared, {"DATASET": "hunter2", "VERSION": "hunter2"})
    assert len(told) == 2 and "hunter2" not in repr(told)


@pytest.mark.parametrize(
    ("today", "verb"), [("2027-02-28", "ends"), ("2027-03-01", "ends"), ("2027-03-02", "ended")]
)
def test_a_value_that_the_vendor_ends_is_told_with_its_day(today: str, verb: str) -> None:
    told = param_endings(params(VERSION), {"VERSION": "v1"}, today)
    assert told == [
        ("VERSION", f"the vendor {verb} this value on 2027-03-01; choose a newer one"),
    ]
    assert param_endings(params(VERSION), {}, today) == [], "the default goes on"


def test_a_kit_whose_own_example_breaks_its_pattern_is_refused() -> None:
    declared = [
        {**DATASET, "exampleValue": "abc"},
        {**VERSION, "defaultValue": "v9", "goodUntil": {"v1": "soon"}},
        {"name": "C", "pattern": "(["},
    ]
    told = problems_of(
        kit(connection={"params": declared, "default": {"endpoint": "https://a.example"}})
    )
    assert told[:3] == [
        "connection.params[0].exampleValue: is 'abc'; expected the dataset's id",
        "connection.params[1].goodUntil.v1: is 'soon'; expected a day, as 2027-03-01",
        "connection.params[1].defaultValue: is 'v9'; expected `v2` or `v1`",
    ]
    assert told[3].startswith("connection.params[2].pattern: is no regular expression")
