"""A playbook is taken as the kits write it, or refused with all that is wrong in it, by place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.kits import KITS, kit_names, read_kit
from trunkline.playbook.check import event_names, needs_code, parse_playbook, playbook_json
from trunkline.playbook.program import PlaybookError

CODE = {"lang": "lua", "body": "return input"}


def problems_of(tree: Any) -> list[str]:
    with pytest.raises(PlaybookError) as caught:
        parse_playbook(tree)
    return [str(problem) for problem in caught.value.problems]


def in_global(part: str, *entries: Any) -> dict[str, Any]:
    return {"global": {part: list(entries)}}


def mapping(**more: Any) -> dict[str, Any]:
    return in_global("mappings", {"inputKey": "a", "outputKey": "b", **more})


def when(condition: Any) -> dict[str, Any]:
    return in_global("filters", {"byConditions": {"action": "allow", "when": condition}})


def test_every_kit_parses_and_keeps_its_content() -> None:
    names = kit_names()
    assert len(names) == KITS
    for name in names:
        tree = read_kit(name)["playbook"]
        written = json.loads(playbook_json(parse_playbook(tree)))
        assert written == normal(tree), name


def normal(tree: Any) -> Any:
    """A kit's tree with what its oddities mean: numbers as text, floats as whole numbers."""
    if isinstance(tree, dict):
        kept = {k: normal(v) for k, v in tree.items() if k in KEPT or is_said(v)}
        for key in ("staticInt", "defaultInt"):
            kept |= {key: int(kept[key])} if key in kept else {}
        for key in ("staticFloat", "defaultFloat"):
            kept |= {key: float(kept[key])} if key in kept else {}
        return kept if set(kept) - {"prefix"} or kept.get("prefix") else {}
    return [normal(each) for each in tree] if isinstance(tree, list) else tree


def is_said(value: Any) -> bool:
    return value is not False and value not in ([], {})


KEPT = ("staticBool", "defaultBool", "value", "ignoreCase", "conditions", "events")


def test_the_same_playbook_has_the_same_bytes_whatever_the_order_of_its_keys() -> None:
    entry = {"outputKey": "b", "inputKey": "a", "transforms": []}
    one = {"version": "1", "global": {"mappings": [entry], "filters": None}, "functions": []}
    other = {"global": {"mappings": [dict(reversed(entry.items()))]}, "version": "1"}
    assert playbook_json(parse_playbook(one)) == playbook_json(parse_playbook(other))
    assert playbook_json(parse_playbook(one)) == (
        b'{"global":{"mappings":[{"inputKey":"a","outputKey":"b"}]},"version":"1"}'
    )


@pytest.mark.parametrize(
    ("tree", "needs"),
    [
        ({}, False),
        (mapping(transforms=[{"toHash": "md5"}]), False),
        (mapping(transforms=[{"expression": CODE}]), True),
        ({"default": {"expressions": [CODE]}}, True),
        ({"eventSpecific": {"page": {"expressions": [CODE]}}}, True),
        ({"functions": [{"lang": "python", "when": "before", "body": "…"}]}, True),
    ],
)
def test_what_holds_code_is_known(tree: Any, needs: bool) -> None:
    assert needs_code(parse_playbook(tree)) is needs


def test_the_events_with_a_section_are_known() -> None:
    playbook = parse_playbook({"eventSpecific": {"Order Completed": {}, "page": None}})
    assert event_names(playbook) == ("Order Completed", "page")


WRONG: list[tuple[Any, str]] = [
    ([], "is a list; expected an object"),
    ("text", "is text; expected an object"),
    ({"globals": {}}, "globals: is not known here; did you mean `global`?"),
    (in_global("mapping"), "global.mapping: is not known here; did you mean `mappings`?"),
    ({"default": []}, "default: is a list; expected an object"),
    ({"global": {"mappings": {}}}, "global.mappings: is an object; expected a list"),
    (in_global("mappings", {}), "global.mappings[0]: inputKey is missing"),
    (in_global("mappings", 1), "global.mappings[0]: is a number; expected an object"),
    (mapping(outputKeys="x"), "outputKeys: is not known here; did you mean `outputKey`?"),
    (mapping(inputKey="a..b"), "inputKey: is 'a..b'; expected names with one dot between two"),
    (mapping(inputKey=""), "inputKey: is ''; expected names with one dot"),
    (mapping(inputKey="input.userId"), "a path begins in the event: 'userId'"),
    (mapping(inputKey=".".join("a" * 13)), "inputKey: has 13 parts; at most 12 are taken"),
    (mapping(outputKey=5), "outputKey: is a number; expected text"),
    (mapping(defaultString="a", defaultInt=1), "holds 2 defaults; keep one"),
    (mapping(defaultInt="many"), "defaultInt: is 'many'; expected a whole number"),
    (mapping(defaultInt=1.5), "defaultInt: is a number; expected a whole number"),
    (mapping(defaultInt=2**63), "defaultInt: is a number of more than 64 bits"),
    (mapping(defaultFloat=float("nan")), "defaultFloat: is nan; JSON has no such value"),
    (mapping(defaultBool="maybe"), "defaultBool: is 'maybe'; expected true or false"),
    (mapping(transforms=[{"tohash": "md5"}]), "'tohash' is no transform; did you mean `toHash`?"),
    (mapping(transforms=[{}]), "transforms[0]: holds 0 transforms; expected one"),
    (mapping(transforms=[{"toHash": "md5", "toScalar": "float"}]), "holds 2 transforms"),
    (mapping(transforms=[{"toHash": "sha1"}]), "transforms[0].toHash: "),
    (mapping(transforms=[{"expression": {"lang": "lua"}}]), "expression: body is missing"),
    (mapping(transforms=[{"expression": {"lang": "python", "body": ""}}]), "go into `functions`"),
    (mapping(transforms=[{"expression": {"lang": "luu", "body": ""}}]), "'luu'; expected `lua`"),
    (in_global("expressions", {**CODE, "body": "é" * 40_000}), "has 80000 bytes of code"),
    (in_global("enrichments", {"outputKey": "a"}), "enrichments[0]: holds 0 values; expected one"),
    (in_global("enrichments", {"outputKey": "a", "uuid": "v7"}), "uuid: is 'v7'; expected `v4`"),
    (in_global("enrichments", {"outputKey": "", "uuid": "v4"}), "outputKey: is ''"),
    (
        in_global("enrichments", {"outputKey": "a", "timestamp": "s"}),
        "timestamp: is 's'; expected `seconds` or `milliseconds`",
    ),
    (in_global("spreadings", {"inputKey": "a"}), "spreadings[0]: flatten is missing"),
    (
        in_global("spreadings", {"inputKey": "a", "flatten": {"separator": "_", "depth": -1}}),
        "depth: is -1; expected a whole number from 0 to 80",
    ),
    (in_global("filters", {}), "filters[0]: holds 0 kinds of filter; expected one"),
    (
        in_global("filters", {"byEventNames": {"action": "keep", "events": []}}),
        "action: is 'keep'; expected `allow` or `deny`",
    ),
    (in_global("filters", {"byEventNames": {"events": []}}), "byEventNames: action is missing"),
    (when({}), "when: holds 0 operators; expected one"),
    (when({"stringEquals": {}}), "stringEquals: is not known here; did you mean `stringEqual`?"),
    (when({"stringEqual": {"inputPath": "a"}}), "stringEqual: value is missing"),
    (
        when(
            {"stringEqual": {"inputPath": "a", "value": ""}, "inputPathExists": {"inputPath": "a"}}
        ),
        "holds 2 operators; expected one; several go into the `conditions`",
    ),
    (
        when({"stringMatches": {"inputPath": "a", "value": "(a"}}),
        "stringMatches.value: is no regular expression that RE2 takes: missing ): (a",
    ),
    (
        when({"stringMatches": {"inputPath": "a", "value": "a(?=b)"}}),
        "is no regular expression that RE2 takes: invalid perl operator",
    ),
    (when({"numberLess": {"inputPath": "a", "value": "x"}}), "value: is 'x'; expected a number"),
    (when({"matchesAll": {}}), "matchesAll: conditions is missing"),
    ({"eventSpecific": {"": {}}}, "eventSpecific.: is no name of an event"),
    (
        {"eventSpecific": {"Order Cancelled": {}, "order_canceled": {}}},
        "eventSpecific.order_canceled: is the same event as 'Order Cancelled'",
    ),
    ({"params": [{"name": "A B"}]}, "params[0]: 'A B' is no name; expected letters, digits and _"),
    ({"params": [{"name": "A"}, {"name": "A"}]}, "params[1]: A stands twice; keep one"),
    (
        {"functions": [{"lang": "lua", "when": "before", "body": ""}]},
        "functions[0].lang: a function is Python or JavaScript; Lua goes into `expressions`",
    ),
    (
        {"functions": [{"lang": "python", "when": "during", "body": ""}]},
        "functions[0].when: is 'during'; expected `before` or `after`",
    ),
    (in_global("enrichments", {"outputKey": "a", "staticString": "\ud800"}), "surrogate pair"),
    ({"global": {1: 2}}, "global: has the key 1; quote it: every key is text"),
    ({"version": object()}, "version: is a object; JSON has no such value"),
]


@pytest.mark.parametrize(("tree", "expected"), WRONG, ids=[text[:60] for _, text in WRONG])
def test_a_mistake_is_told_with_its_place_and_what_was_expected(tree: Any, expected: str) -> None:
    assert any(expected in problem for problem in problems_of(tree)), problems_of(tree)


def test_all_mistakes_are_told_at_once() -> None:
    tree = {
        "global": {"mappings": [{"inputKey": "a."}, {"outputKey": "b", "x": 1}]},
        "default": {"enrichments": [{"outputKey": "c", "staticInt": True}]},
        "functions": [{"lang": "ruby", "when": "before"}],
    }
    assert [problem.split(":")[0] for problem in problems_of(tree)] == [
        "global.mappings[0]",
        "global.mappings[0].inputKey",
        "global.mappings[1].x",
        "global.mappings[1]",
        "default.enrichments[0].staticInt",
        "functions[0]",
        "functions[0].lang",
    ]


def test_five_hundred_rules_are_taken_and_one_more_is_not() -> None:
    rule = {"inputKey": "a", "outputKey": "b"}
    assert parse_playbook(in_global("mappings", *[rule] * 500))
    assert problems_of(in_global("mappings", *[rule] * 501)) == [
        "has 501 rules; at most 500 are taken; split it"
    ]
    ask = {"inputPathExists": {"inputPath": "a"}}
    conditions = {"matchesAny": {"conditions": [ask] * 600}}
    assert "has 601 rules" in problems_of(when(conditions))[0]


def test_conditions_nest_twelve_deep_and_no_deeper() -> None:
    def nested(levels: int) -> Any:
        inner = nested(levels - 1) if levels > 1 else None
        return {"matchesAll": {"conditions": [inner] if inner else []}}

    assert parse_playbook(when(nested(11)))
    assert any("nests more than 12 conditions" in p for p in problems_of(when(nested(13))))


def test_a_tree_that_grows_when_it_is_walked_is_refused_at_once() -> None:
    bomb: Any = {"matchesAll": {"conditions": []}}
    for _ in range(10):
        bomb = {"matchesAny": {"conditions": [bomb] * 10}}
    assert problems_of(when(bomb)) == [
        "is too large; a playbook has at most 100,000 values and 1,048,576 characters"
    ]
    assert (
        "is too large" in problems_of({"version": "x" * 60_000, "params": ["y" * 60_000] * 20})[0]
    )
    loop: dict[str, Any] = {}
    loop["global"] = loop
    assert "nests more than 60 levels" in problems_of(loop)[0]


def test_a_text_longer_than_64_kb_is_refused() -> None:
    tree = in_global("enrichments", {"outputKey": "a", "staticString": "x" * 65_537})
    assert "staticString: has 65537 characters; at most 65536 are taken" in problems_of(tree)[0]
