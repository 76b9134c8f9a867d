"""What filters let through: names, operators, groups; and that they are asked before all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.playbook_fuzz import MOMENT
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.conditions import GROUPS, OPERATORS
from trunkline.playbook.spec import DEFAULT_KEYS, SECTION_PARTS, STATIC_KEYS

EVENT = {
    "type": "track",
    "event": "Order Cancelled",
    "userId": "u-1",
    "properties": {
        "text": "Straße", "empty": "", "null": None, "number": 12.5, "whole": 3, "digits": " 12.50",
        "yes": True, "no": False, "list": [{"a": 1}], "object": {"0": "zero"}, "large": 2**53,
    },
}  # fmt: skip

HOLDS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("inputPathExists", "text", {}, True),
    ("inputPathExists", "empty", {}, True),
    ("inputPathExists", "no", {}, True),
    ("inputPathExists", "null", {}, False),
    ("inputPathExists", "absent", {}, False),
    ("inputPathExists", "text.more", {}, False),
    ("inputPathExists", "list.0.a", {}, True),
    ("inputPathExists", "list.1", {}, False),
    ("inputPathExists", "list.00", {}, True),
    ("inputPathExists", "list.-1", {}, False),
    ("inputPathExists", "list.99999999999999999999", {}, False),
    ("inputPathExists", "list.٠", {}, False),
    ("inputPathExists", "object.0", {}, True),
    ("inputPathIsObject", "object", {}, True),
    ("inputPathIsObject", "list", {}, False),
    ("inputPathIsObject", "list.0", {}, True),
    ("inputPathIsString", "empty", {}, True),
    ("inputPathIsString", "number", {}, False),
    ("stringEqual", "text", {"value": "Straße"}, True),
    ("stringEqual", "text", {"value": "strasse"}, False),
    ("stringEqual", "text", {"value": "STRASSE", "ignoreCase": True}, True),
    ("stringEqual", "absent", {"value": ""}, True),
    ("stringEqual", "null", {"value": ""}, True),
    ("stringEqual", "number", {"value": "12.5"}, False),
    ("stringEqual", "object", {"value": ""}, False),
    ("stringNotEqual", "text", {"value": ""}, True),
    ("stringNotEqual", "absent", {"value": ""}, False),
    ("stringNotEqual", "absent", {"value": "0"}, True),
    ("stringNotEqual", "number", {"value": ""}, True),
    ("stringIn", "text", {"values": ["a", "STRASSE"], "ignoreCase": True}, True),
    ("stringIn", "text", {"values": ["a", "STRASSE"]}, False),
    ("stringIn", "text", {"values": []}, False),
    ("stringStartsWith", "text", {"value": "Str"}, True),
    ("stringStartsWith", "text", {"value": "str", "ignoreCase": True}, True),
    ("stringStartsWith", "number", {"value": ""}, False),
    ("stringMatches", "text", {"value": "^S.*e$"}, True),
    ("stringMatches", "text", {"value": "RASS"}, False),
    ("stringMatches", "text", {"value": "ra(ß|x)", "ignoreCase": True}, True),
    ("stringMatches", "whole", {"value": "3"}, False),
    ("booleanEqual", "yes", {"value": True}, True),
    ("booleanEqual", "no", {"value": False}, True),
    ("booleanEqual", "absent", {"value": False}, False),
    ("booleanEqual", "whole", {"value": True}, False),
    ("numberEqual", "whole", {"value": 3}, True),
    ("numberEqual", "digits", {"value": 12.5}, True),
    ("numberEqual", "yes", {"value": 1}, False),
    ("numberEqual", "large", {"value": 2**53 + 1}, False),
    ("numberGreater", "number", {"value": 12}, True),
    ("numberGreater", "number", {"value": 12.5}, False),
    ("numberGreaterOrEqual", "number", {"value": 12.5}, True),
    ("numberLess", "digits", {"value": 13}, True),
    ("numberLess", "text", {"value": 13}, False),
    ("numberLess", "absent", {"value": 13}, False),
    ("numberLessOrEqual", "whole", {"value": 3}, True),
]


def passes(*filters: Any, section: str = "global", event: Any = EVENT) -> bool:
    playbook = parse_playbook({section: {"filters": list(filters)}})
    shaped = compile_playbook(playbook, {}).shape(event, MOMENT)
    assert bool(shaped.filtered) != bool(shaped.outputs)
    return not shaped.filtered


def asking(condition: Any, action: str = "allow") -> dict[str, Any]:
    return {"byConditions": {"action": action, "when": condition}}


def naming(action: str, *names: str) -> dict[str, Any]:
    return {"byEventNames": {"action": action, "events": list(names)}}


@pytest.mark.parametrize(("name", "path", "argument", "holds"), HOLDS)
def test_an_operator_holds(name: str, path: str, argument: dict[str, Any], holds: bool) -> None:
    condition = {name: {"inputPath": f"properties.{path}", **argument}}
    assert passes(asking(condition)) is holds
    assert passes(asking(condition, "deny")) is not holds


def test_every_operator_is_tried_both_ways() -> None:
    tried = {(name, holds) for name, _, _, holds in HOLDS}
    assert tried >= {(name, holds) for name in OPERATORS for holds in (True, False)} - {
        ("numberLessOrEqual", False),
        ("numberGreaterOrEqual", False),
    }


YES = {"inputPathExists": {"inputPath": "userId"}}
NO = {"inputPathExists": {"inputPath": "nobody"}}


@pytest.mark.parametrize(
    ("group", "members", "holds"),
    [
        ("matchesAll", [], True),
        ("matchesAny", [], False),
        ("matchesAll", [YES, NO], False),
        ("matchesAny", [YES, NO], True),
        ("matchesAll", [YES, {"matchesAny": {"conditions": [NO, YES]}}], True),
        ("matchesAny", [NO, {"matchesAll": {"conditions": [YES, NO]}}], False),
        ("matchesAny", [{"matchesAll": {"conditions": []}}], True),
    ],
)
def test_groups_hold_as_they_say(group: str, members: list[Any], holds: bool) -> None:
    assert passes(asking({group: {"conditions": members}})) is holds


@pytest.mark.parametrize(
    "name", ["order_canceled", "Order Cancelled", "ORDER-CANCELLED", "order canceled"]
)
def test_names_match_whatever_their_case_and_spacing(name: str) -> None:
    assert passes(naming("allow", "page", name))
    assert not passes(naming("deny", name))


def test_events_go_by_what_happened_or_by_their_type() -> None:
    page = {"type": "page", "name": "Home"}
    assert passes(naming("allow", "page"), event=page)
    assert not passes(naming("allow", "Home"), event=page)
    assert not passes(naming("allow", "track"))
    assert not passes(naming("allow", "track"), event={"type": "track"})
    assert passes(naming("deny", "x"), event={"type": 5, "event": []})


def test_the_empty_name_allows_nothing() -> None:
    """As the kits write it in `default`: drop every event that has no section of its own."""
    tree = {
        "eventSpecific": {"order_cancelled": {}},
        "default": {"filters": [naming("allow", "")]},
    }
    program = compile_playbook(parse_playbook(tree), {})
    assert program.shape(EVENT, MOMENT).outputs == ({},)
    assert program.shape({"type": "page"}, MOMENT).filtered == "default.filters[0]"
    assert program.shape({}, MOMENT).filtered == "default.filters[0]"


def test_the_first_filter_that_drops_is_named_and_nothing_is_made() -> None:
    drop, keep = asking(YES, "deny"), asking(YES)
    fails = {"lang": "lua", "body": "fails"}
    tree = {
        "global": {"filters": [keep], "expressions": [fails]},
        "eventSpecific": {"order_cancelled": {"filters": [keep, drop, drop]}},
    }

    class Loader:
        def expression(self, lang: str, body: str) -> Any:
            return lambda event, moment: pytest.fail("was run")

        def function(self, lang: str, body: str) -> Any:
            raise AssertionError

    shaped = compile_playbook(parse_playbook(tree), {}, Loader()).explain(EVENT, MOMENT)
    assert shaped.filtered == "eventSpecific.order_cancelled.filters[1]"
    assert shaped.steps == ()


def test_the_guide_names_every_operator_and_part() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "playbooks.md").read_text("utf-8")
    words = (*OPERATORS, *GROUPS, *SECTION_PARTS, *STATIC_KEYS, *DEFAULT_KEYS)
    assert [word for word in words if f"`{word}" not in page] == []
