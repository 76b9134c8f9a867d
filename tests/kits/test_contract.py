"""The contract of a vendor: what breaks it is not sent, or mended and told."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kits.test_kit_file import JSON, kit, problems_of, request
from trunkline.kit.destination import Mapped
from trunkline.kits.contract import read_contract
from trunkline.kits.contract_check import Contract
from trunkline.kits.kit import kit_json, parse_kit
from trunkline.model.outcome import Filtered, Rejected
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import Problem

NOW_MS = 1_795_169_731_000  # one second after the event
DAY_MS = 86_400_000
SAY = {"then": "reject", "say": "No.", "page": "https://v.example/p"}
GONE: Any = object()
REJECTED = Rejected("r: No. (https://v.example/p)", is_sure=True, was_sent=False)


def contract(*rules: dict[str, Any]) -> Contract:
    problems: list[Problem] = []
    found = read_contract(Node([{"rule": "r", **rule} for rule in rules], "contract", problems))
    assert [*map(str, problems)] == []
    return Contract(found)


def event(output: dict[str, Any], **more: Any) -> Mapped:
    canonical = {"messageId": "m", "type": "track", "timestamp": "2026-11-20T10:15:30Z", **more}
    encode = msgspec.json.encode
    return Mapped("m", "a", "u", "track", "E", encode(output), encode(canonical))


def judged(rule: dict[str, Any], output: dict[str, Any], now_ms: int = NOW_MS) -> Any:
    """Return the output as it may be sent, or the outcome."""
    found = contract(rule).judge(event(output), now_ms)
    return found.value if isinstance(found, Mapped) else found


def test_a_condition_over_the_output_rejects_or_drops() -> None:
    has = {"inputPathExists": {"inputPath": "user.em"}}
    either = {
        "matchesAny": {"conditions": [has, {"stringEqual": {"inputPath": "t", "value": "x"}}]}
    }
    assert judged({"unless": either, **SAY}, {"user": {"ph": 1}}) == REJECTED
    assert judged({"unless": either, **SAY}, {"user": {"em": 1}}) == {"user": {"em": 1}}
    assert judged({"unless": either, **SAY}, {"t": "x"}) == {"t": "x"}
    assert judged({"when": has, "then": "drop"}, {"user": {"em": 1}}) == Filtered("vendor: r")
    both = {"matchesAll": {"conditions": [has, {"inputPathExists": {"inputPath": "l.1.a"}}]}}
    assert judged({"when": both, "then": "drop"}, {"user": {"em": 1}, "l": [0]}) != REJECTED
    assert judged({"when": both, "then": "drop"}, {"user": {"em": 1}, "l": [0, {"a": 1}]}) == (
        Filtered("vendor: r")
    )


def test_a_condition_beside_a_test_says_where_the_test_is_asked() -> None:
    rule = {"when": {"stringEqual": {"inputPath": "n", "value": "buy"}}, "key": "v", "min": 0}
    assert judged({**rule, "then": "drop"}, {"n": "buy", "v": -1}) == Filtered("vendor: r")
    assert judged({**rule, "then": "drop"}, {"n": "see", "v": -1}) == {"n": "see", "v": -1}


CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"charactersMax": 3}, ["abc", "äöü", 12345, None], ["abcd"]),
    ({"itemsMax": 1}, [[1], {"a": 1}, "abc"], [[1, 2], {"a": 1, "b": 2}]),
    ({"bytesMax": 4}, ["ab", [1]], ["ä€", {"a": 1}]),
    ({"in": ["EUR", 1]}, ["EUR", 1], ["eur", 2, True, []]),
    ({"in": "ISO 4217"}, ["EUR", "IRR"], ["eur", "IRT", "TMN", "XXX", "XAU", 1, True]),
    ({"pattern": "[a-c]{1,3}"}, ["abc"], ["abcd", "d", 1, "", True]),
    ({"pattern": "[0-9]+(?:\\.[0-9]+)?"}, ["12", 12, 1.5], ["x", -1, False]),
    ({"min": 0, "max": 10}, [0, 10, "5", "x", True], [-1, 10.5, "11"]),
    ({"names": "[a-c]+"}, [{"a": 1, "bc": 2}, {}, "d", ["d"]], [{"a": 1, "d": 2}, {"a\n": 1}]),
    ({"namesNot": "ga_.*|_.*"}, [{"g": 1}, {"a_b": 1}, "ga_x"], [{"ga_x": 1}, {"a": 1, "_": 1}]),
]


@pytest.mark.parametrize(("test", "good", "bad"), CASES)
def test_a_test_of_a_value_holds_only_where_it_is_there(
    test: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    rule = {"key": "a.b", **test, **SAY}
    assert judged(rule, {}) == {}
    assert judged(rule, {"a": {"b": None}}) == {"a": {"b": None}}
    for value in good:
        assert judged(rule, {"a": {"b": value}}) == {"a": {"b": value}}, value
    for value in bad:
        assert judged(rule, {"a": {"b": value}}) == REJECTED, value


def test_keys_of_a_bad_name_are_left_out_and_the_others_stay() -> None:
    rule = {"key": "p", "names": "[a-z]{1,3}", "namesNot": "x.*", "then": "leave_out"}
    assert judged(rule, {"p": {"ok": 1, "long": 2, "xy": 3, "no": None}, "long": 4}) == {
        "p": {"ok": 1, "no": None}, "long": 4,
    }  # fmt: skip
    every = {**rule, "key": "p.*"}
    assert judged(every, {"p": [{"a": 1, "xa": None}, {"b": 2}, 7]}) == {
        "p": [{"a": 1}, {"b": 2}, 7],
    }  # fmt: skip


def test_texts_and_lists_are_cut_and_keys_left_out() -> None:
    output = {"t": "abcdef", "l": [1, 2, 3], "o": {"a": 1, "b": 2}}
    rules = (
        {"rule": "t", "key": "t", "charactersMax": 2, "then": "cut"},
        {"rule": "l", "key": "l", "itemsMax": 1, "then": "cut"},
        {"rule": "o", "key": "o", "itemsMax": 1, "then": "cut"},
        {"rule": "x", "key": "o.a", "max": 0, "then": "leave_out"},
    )
    made = event(output)
    before = copy.deepcopy(made.value)
    found = contract(*rules).judge(made, NOW_MS)
    assert isinstance(found, Mapped)
    assert found.value == {"t": "ab", "l": [1], "o": {}}
    assert msgspec.json.decode(found.body) == found.value
    assert made.value == before, "what others hold of the event stays as it was"
    assert contract(*rules).notes(made, NOW_MS) == [
        "t: t was cut to 2 characters", "l: l was cut to 1 items", "o: o was cut to 1 items",
        "x: o.a was left out",
    ]  # fmt: skip


def test_a_star_stands_for_each_member() -> None:
    output = {"c": [{"id": "long", "p": {"x": "long"}}, {"id": "ok"}, {"id": "longer"}]}
    assert judged({"key": "c.*.id", "charactersMax": 2, "then": "cut"}, output) == {
        "c": [{"id": "lo", "p": {"x": "long"}}, {"id": "ok"}, {"id": "lo"}]
    }
    assert judged({"key": "c.*.p.*", "charactersMax": 2, **SAY}, output) == REJECTED
    assert judged({"key": "l.*", "in": [1], "then": "leave_out"}, {"l": [2, 1, 3, 1]}) == {
        "l": [1, 1]
    }
    assert judged({"key": "l.*", "in": [1], **SAY}, {"l": {"a": 1, "b": 2}}) == REJECTED


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_text_is_cut_to_bytes_and_never_in_the_middle_of_a_letter(text: str, most: int) -> None:
    rule = {"key": "t", "bytesMax": most, "then": "cut"}
    made = judged(rule, {"t": text, "n": [text]})
    cut = made["t"]
    assert (text.startswith(cut) and len(cut.encode()) <= most) or text == cut
    assert text == cut or len(text[: len(cut) + 1].encode()) > most, "no more than is needed"
    assert made["n"] == [text]


def test_only_texts_are_cut_to_bytes() -> None:
    whole = {"t": {"a": "long long"}, "n": 123456789, "l": ["long long"]}
    rule = {"key": "*", "bytesMax": 3, "then": "cut"}
    assert judged(rule, whole) == whole
    assert judged(rule, {"a": "خرید"}) == {"a": "خ"}


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ([{"id": 1}, {"name": "x"}, {"price": 1}], [{"id": 1}, {"name": "x"}]),
        ([{"id": None, "name": ""}, {"id": 0}, "text"], [{"id": 0}, "text"]),
        ([{}, {"price": 1}], GONE),
        ([], []),
    ],
)
def test_objects_that_have_none_of_several_keys_go_and_so_does_a_list_that_is_left_empty(
    items: list[Any], left: Any
) -> None:
    rule = {"key": "o.items.*", "hasAny": ["id", "name"], "then": "leave_out"}
    kept = {} if left is GONE else {"items": left}
    assert judged(rule, {"o": {"n": 1, "items": items}}) == {"o": {"n": 1, **kept}}
    assert judged({**rule, **SAY}, {"o": {"items": [{"id": 1}, {}]}}) == REJECTED
    assert judged({"key": "l.*", "in": [1], **SAY}, {"l": 7}) == {"l": 7}


def test_the_whole_output_may_be_too_large_also_after_a_cut() -> None:
    big = {"rule": "big", "bytesMax": 20, **SAY}
    cut = {"rule": "cut", "key": "t", "charactersMax": 4, "then": "cut"}
    output = {"t": "x" * 30}
    assert isinstance(contract(big).judge(event(output), NOW_MS), Rejected)
    assert isinstance(contract(cut, big).judge(event(output), NOW_MS), Mapped)
    assert isinstance(contract(big, cut).judge(event(output), NOW_MS), Rejected), "in order"


def test_an_event_is_as_old_as_its_own_timestamp_at_the_attempt() -> None:
    rule = {"olderThan": "7d", "then": "drop"}
    assert judged(rule, {"a": 1}, NOW_MS + 7 * DAY_MS - 1000) == {"a": 1}
    assert judged(rule, {"a": 1}, NOW_MS + 7 * DAY_MS) == Filtered("vendor: r")
    untold = event({"a": 1}, timestamp=None)
    assert contract(rule).judge(untold, NOW_MS + 9 * DAY_MS) is untold


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("seconds", NOW_MS // 1000 - 3600),
        ("millis", NOW_MS - 3_600_000),
        ("micros", 1000 * (NOW_MS - 3_600_000)),
        ("rfc3339", "2026-11-20T09:15:31.000Z"),
    ],
)
def test_a_time_ahead_is_set_to_the_attempt_s(unit: str, value: Any) -> None:
    rule = {"ahead": "60s", "clamp": {"key": "t.at", "unit": unit}}
    early = NOW_MS - 3_600_000
    assert judged(rule, {"t": {"at": 1}}, early) == {"t": {"at": value}}
    assert judged(rule, {"t": {"at": 1}}) == {"t": {"at": 1}}
    assert judged(rule, {"b": 1}, early) == {"b": 1}, "there is no such key to set"
    assert contract(rule).notes(event({"t": {"at": 1}}), early) == [
        "r: t.at was set to the attempt's time"
    ]


def test_an_event_that_keeps_every_rule_is_not_copied() -> None:
    one = event({"a": "b"})
    rules = ({"key": "a", "charactersMax": 3, "then": "cut"}, {"olderThan": "7d", "then": "drop"})
    assert contract(*[{"rule": f"r{n}", **rule} for n, rule in enumerate(rules)]).judge(
        one, NOW_MS
    ) is one  # fmt: skip


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
def test_any_output_gets_a_verdict_and_a_mended_one_keeps_the_rules(output: dict[str, Any]) -> None:
    rules = [
        {"rule": "cut", "key": "a.*", "charactersMax": 2, "then": "cut"},
        {"rule": "items", "key": "b", "itemsMax": 1, "then": "cut"},
        {"rule": "out", "key": "c", "in": [1, "x"], "then": "leave_out"},
    ]
    whole = contract(*rules)
    found = whole.judge(event(output), NOW_MS)
    assert isinstance(found, Mapped)
    assert whole.judge(found, NOW_MS) is found, "it keeps them now"
    assert bool(whole.notes(event(output), NOW_MS)) == (found.value != output)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"rule": "Big", **SAY, "bytesMax": 1}, "rule: is 'Big'; expected small letters"),
        ({"then": "drop", "olderThan": "7d"}, "contract[0]: rule is missing"),
        ({"rule": "a", "olderThan": "1w", "then": "drop"}, "olderThan: is '1w'; expected a number"),
        ({"rule": "a", "then": "drop"}, "asks nothing"),
        ({"rule": "a", "olderThan": "1d", "ahead": "1d", "then": "drop"}, "make it two rules"),
        ({"rule": "a", "olderThan": "1d"}, "then is missing"),
        ({"rule": "a", "olderThan": "1d", "then": "reject"}, "does not say why"),
        ({"rule": "a", "charactersMax": 1, "then": "drop"}, "name it with `key`"),
        ({"rule": "a", "key": "b", "then": "drop"}, "tests nothing of it"),
        ({"rule": "a", "key": "b", "min": 1, "then": "cut"}, "cuts by `charactersMax`"),
        ({"rule": "a", "bytesMax": 1, "then": "leave_out"}, "leaves out no key"),
        ({"rule": "a", "hasAny": ["b"], "then": "drop"}, "hasAny tests a value; name it"),
        ({"rule": "a", "key": "b", "hasAny": [], "then": "drop"}, "has 0 keys; 1 to 30 are taken"),
        ({"rule": "a", "key": "b", "hasAny": ["c"], "then": "cut"}, "cuts by `charactersMax`"),
        ({"rule": "a", "bytesMax": 9, "then": "cut"}, "cuts by `charactersMax`"),
        ({"rule": "a", "key": "b", "bytesMax": 9, "itemsMax": 1, "then": "cut"},
         "or by `bytesMax`"),
        ({"rule": "a", "ahead": "1m", "clamp": {"key": "t", "unit": "minutes"}}, "'minutes'"),
        ({"rule": "a", "ahead": "1m", "clamp": {"key": "t", "unit": "millis"}, "then": "drop"},
         "without `then`"),
        ({"rule": "a", "key": "b..c", "min": 1, "then": "drop"}, "one dot between two"),
        ({"rule": "a", "key": "b", "pattern": "([", "then": "drop"}, "no regular expression"),
        ({"rule": "a", "key": "b", "in": [[1]], "then": "drop"}, "in[0]: is a list"),
        ({"rule": "a", "key": "b", "in": "ISO 4218", "then": "drop"},
         "expected a list of values, or `ISO 4217`"),
        ({"rule": "a", "charactrsMax": 1, "then": "drop"}, "did you mean `charactersMax`?"),
        ({"rule": "a", "when": {"inputPathExist": {}}, "then": "drop"},
         "contract[0].when.inputPathExist: is not known here; did you mean `inputPathExists`?"),
        ({"rule": "a", "when": {"stringEqual": {"inputPath": "a", "value": "$$X$$"}},
          "then": "drop"}, "$$X$$ names no param; add it to `params`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(rule: dict[str, Any], told: str) -> None:
    problems = problems_of(kit(contract=[rule], connection={"default": request()}))
    assert any(told in one and one.startswith("contract[0]") for one in problems), problems


def test_a_contract_stands_at_the_top_and_goes_into_the_settings() -> None:
    rule = {"rule": "a", "olderThan": "7d", "then": "drop"}
    inside = kit(connection={"default": request(), "contract": [rule]})
    assert "write it beside, at the top of the kit" in problems_of(inside)[0]
    twice = problems_of(kit(contract=[rule, rule], connection={"default": request()}))
    assert twice == ["contract[1]: a stands twice; give each rule a name of its own"]
    whole = parse_kit(kit(contract=[rule], connection={"default": request()}))
    assert whole.settings_connection == {"default": request(), "contract": [rule]}
    kept = msgspec.json.decode(kit_json(whole))
    assert (kept["contract"], kept["connection"]) == ([rule], {"default": request()})
    assert kit_json(parse_kit(kept)) == kit_json(whole)
    plain = parse_kit(kit(connection={"default": request()}))
    assert plain.settings_connection == {"default": request()}
    assert {*msgspec.json.decode(kit_json(plain))} == {
        "format", "name", "metadata", "connection", "playbook",
    }  # fmt: skip
