"""What an operator says in a contract: an age limit, and values of conditions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.kits.test_kit_file import kit, problems_of
from trunkline.kit.destination import Mapped
from trunkline.kits.connection import parse_connection
from trunkline.kits.filled import fill_connection
from trunkline.model.outcome import Filtered

NOW_MS = 1_795_169_730_000
DAY_MS = 86_400_000
CONNECTION: dict[str, Any] = {
    "params": [{"name": "AGE_MAX", "defaultValue": "7d", "pattern": "[1-9][0-9]*[smhd]"}],
    "default": {"endpoint": "https://vendor.example/"},
    "contract": [{"rule": "too_old", "olderThan": "$$AGE_MAX$$", "then": "drop"}],
}


def event_of(days: float) -> Mapped:
    timestamp = msgspec.json.encode({"timestamp": (NOW_MS - int(days * DAY_MS)) / 1000})
    return Mapped("m-1", "Shop", "u-42", "track", "x", timestamp, timestamp)


def is_dropped(days: float, **given: str) -> bool:
    contract = fill_connection(parse_connection(CONNECTION), given).contract
    return contract is not None and isinstance(contract.judge(event_of(days), NOW_MS), Filtered)


@pytest.mark.parametrize(
    ("days", "given", "expected"),
    [
        (6.9, {}, False),
        (7.1, {}, True),
        (7.1, {"AGE_MAX": "30d"}, False),
        (31, {"AGE_MAX": "30d"}, True),
        (0.1, {"AGE_MAX": "1h"}, True),
        (1000, {"AGE_MAX": ""}, False),
    ],
)
def test_the_param_says_how_old_an_event_may_be(
    days: float, given: dict[str, str], expected: bool
) -> None:
    assert is_dropped(days, **given) is expected


def test_a_value_that_is_no_span_is_told_and_not_shown() -> None:
    with pytest.raises(ValueError, match="AGE_MAX must be a number with s, m, h or d") as caught:
        is_dropped(1, AGE_MAX="forever")
    assert "forever" not in str(caught.value)


def test_a_param_that_nobody_declares_is_told() -> None:
    bare: dict[str, Any] = {**CONNECTION, "params": []}
    with pytest.raises(ValueError, match="AGE_MAX must be given"):
        fill_connection(parse_connection(bare), {})


# Conditions


def judged(when: Any, output: dict[str, Any], **given: str) -> Any:
    connection: dict[str, Any] = {
        "params": [{"name": "KIND", "isOptional": True}, {"name": "MOST", "defaultValue": "5"}],
        "default": {"endpoint": "https://vendor.example/"},
        "contract": [{"rule": "r", "when": when, "then": "drop"}],
    }
    contract = fill_connection(parse_connection(connection), given).contract
    assert contract is not None
    body = msgspec.json.encode(output)
    return contract.judge(Mapped("m-1", "Shop", "u", "track", "x", body, b"{}"), NOW_MS)


def test_a_condition_compares_with_what_the_operator_says() -> None:
    when = {"stringEqual": {"inputPath": "kind", "value": "$$KIND$$"}}
    assert isinstance(judged(when, {"kind": "x"}, KIND="x"), Filtered)
    assert isinstance(judged(when, {"kind": "y"}, KIND="x"), Mapped)
    assert isinstance(judged(when, {"kind": "y"}), Mapped)
    among = {"stringIn": {"inputPath": "kind", "values": ["a", "$$KIND$$"]}}
    either = {"matchesAny": {"conditions": [among]}}
    assert isinstance(judged(either, {"kind": "a"}, KIND="x"), Filtered)
    assert isinstance(judged(either, {"kind": "x"}, KIND="x"), Filtered)
    assert isinstance(judged(either, {"kind": "b"}, KIND="x"), Mapped)


def test_a_value_that_makes_no_condition_is_told_and_not_shown() -> None:
    when = {"stringMatches": {"inputPath": "kind", "value": "^$$KIND$$$"}}
    assert isinstance(judged(when, {"kind": "x"}, KIND="[x-z]"), Filtered)
    with pytest.raises(ValueError, match="KIND cannot stand in the contract's rule r") as caught:
        judged(when, {}, KIND="(secret")
    assert "secret" not in str(caught.value)
    when = {"stringEqual": {"inputPath": "kind", "value": "$$KINDS$$"}}
    with pytest.raises(ValueError, match="KINDS must be given"):
        judged(when, {})


def for_params(said: Any) -> dict[str, Any]:
    rule = {"rule": "needs_lead", "forParams": said, "key": "lead", "max": 0, "then": "leave_out"}
    params = [{"name": "SOURCE", "defaultValue": "web"}, {"name": "NOTE", "isOptional": True}]
    return {**CONNECTION, "params": params, "contract": [rule]}


@pytest.mark.parametrize(
    ("said", "given", "is_asked"),
    [
        ({"SOURCE": "crm"}, {"SOURCE": "crm"}, True),
        ({"SOURCE": "crm"}, {}, False),
        ({"SOURCE": ["web", "app"]}, {}, True),
        ({"SOURCE": "web", "NOTE": "x"}, {}, False),
        ({"SOURCE": "web", "NOTE": "x"}, {"NOTE": "x"}, True),
        ({"NOTE": ""}, {}, True),
    ],
)
def test_a_rule_may_be_asked_with_some_values_of_params_alone(
    said: Any, given: dict[str, str], is_asked: bool
) -> None:
    contract = fill_connection(parse_connection(for_params(said)), given).contract
    event = Mapped("m-1", "Shop", "u-42", "track", "x", b'{"lead":1}')
    notes = [] if contract is None else contract.notes(event, NOW_MS)
    assert notes == (["needs_lead: lead was left out"] if is_asked else [])


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "contract[0].forParams: names no param; write NAME: value"),
        (["SOURCE"], "contract[0].forParams: is a list; expected an object"),
        ({"SOURCE": []}, "contract[0].forParams.SOURCE: has no value; name one, or a list of them"),
        ({"SOURC": "x"}, "contract[0].forParams.SOURC: names no param; did you mean `SOURCE`?"),
    ],
)
def test_values_of_params_that_are_none_are_told(said: Any, problem: str) -> None:
    tree = for_params(said)
    contract = tree.pop("contract")
    assert problem in problems_of(kit(connection=tree, contract=contract))
