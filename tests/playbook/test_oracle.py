"""The compiled playbook and the closures, written apart, agree on everything.

Outputs, what filtered, why it failed, which part made what; and neither raises or changes an event.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.kits import kit_names, kit_params, read_kit
from tests.support.playbook_fuzz import EVENTS, MOMENT, Fuzz, StubLoader, run_both
from tests.support.semantic_events import FULL
from trunkline.playbook.check import parse_playbook, playbook_json
from trunkline.playbook.closures import closures_of
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import CodeError, Program, WritingProgram


def both(tree: Any) -> tuple[WritingProgram, Program]:
    playbook = parse_playbook(tree)
    return compile_playbook(playbook, {}, StubLoader()), closures_of(playbook, {}, StubLoader())


def fuzz(seed: int, playbooks: int, events: int, *, has_code: bool) -> Counter[str]:
    """Return how often an event was sent, filtered, or failed."""
    found: Counter[str] = Counter()
    source = Fuzz(seed, has_code=has_code)
    for _ in range(playbooks):
        ours, oracle = both(source.playbook())
        for _ in range(events):
            shaped = run_both(ours, oracle, source.event())
            found["failed" if shaped.failure else "filtered" if shaped.filtered else "sent"] += 1
    return found


@pytest.mark.slow
def test_mutated_events_come_to_the_same_in_both_back_ends() -> None:
    found = fuzz(1, 75, 10, has_code=False)
    assert found["sent"] > 300 and found["filtered"] > 75
    found = fuzz(2, 75, 10, has_code=True)
    assert min(found[word] for word in ("sent", "filtered", "failed")) > 75


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_fifty_thousand_mutated_events_come_to_the_same(seed: int) -> None:
    found = fuzz(100 + seed, 500, 5, has_code=False) + fuzz(200 + seed, 500, 6, has_code=True)
    assert found.total() == 5500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
PARTS = ("type", "event", "userId", "properties", "traits", "context", "timestamp")
EVERYTHING = {
    "global": {
        "mappings": [
            {"inputKey": part, "outputKey": key, "transforms": transforms}
            for part, key, transforms in (
                ("properties", "a.b", []),
                ("traits", "a.b.c", [{"toHash": "sha256"}]),
                ("context", "a", [{"mapItems": {"fields": {"x": "y"}}}]),
                ("input", "", []),
                ("userId", "e", [{"modifyString": "trim"}, {"normaliseEmail": "google"}]),
                ("timestamp", "t", [{"toTimestamp": "inMillis"}]),
                ("properties", "s", [{"toScalar": "string"}, {"substring": {"start": 1}}]),
                ("properties", "m", [{"toMinorUnits": {"currency": "USD"}}]),
            )
        ],
        "spreadings": [{"inputKey": "context", "flatten": {"separator": "_", "depth": 3}}],
    },
    "eventSpecific": {"order_completed": {"mappings": [{"inputKey": "event", "outputKey": "z"}]}},
}
COMPILED = both(EVERYTHING)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, JSON)))
def test_no_event_makes_a_playbook_raise(event: dict[str, Any]) -> None:
    run_both(*COMPILED, event)


class Returning:
    """A loader whose code returns one value, or fails."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def expression(self, lang: str, body: str) -> Any:
        return lambda event, moment: self._answer()

    def function(self, lang: str, body: str) -> Any:
        return lambda value, meta, moment: self._answer()

    def _answer(self) -> Any:
        if self.value == "fail":
            raise CodeError("why", 1)
        return self.value


@settings(max_examples=200, deadline=None)
@given(JSON, st.sampled_from(("expression", "transform", "before", "after")))
def test_nothing_that_code_returns_makes_a_playbook_raise(value: Any, where: str) -> None:
    code = {"lang": "lua", "body": "return"}
    section: dict[str, Any] = {"mappings": [{"inputKey": "type", "outputKey": "type"}]}
    tree: dict[str, Any] = {"global": section}
    if where == "expression":
        section["expressions"] = [code]
    elif where == "transform":
        section["mappings"].append(
            {"inputKey": "type", "outputKey": "a.b", "transforms": [{"expression": code}]}
        )
    else:
        tree["functions"] = [{"lang": "python", "when": where, "body": "…"}]
    playbook = parse_playbook(tree)
    loader = Returning(value)
    ours, oracle = compile_playbook(playbook, {}, loader), closures_of(playbook, {}, loader)
    run_both(ours, oracle, {"type": "page"})


@pytest.mark.parametrize("levels", [300, 2000, 100_000])
def test_an_event_far_too_deep_fails_and_does_not_raise(levels: int) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = {"a": deep}
    for part in ("properties", "input"):
        tree = {"global": {"mappings": [{"inputKey": part, "outputKey": ""}]}}
        shaped = compile_playbook(parse_playbook(tree), {}).shape({"properties": deep}, MOMENT)
        assert shaped.outputs or shaped.failure
        assert shaped.outputs or levels > 300


def test_half_a_surrogate_pair_in_an_event_fails_and_does_not_raise() -> None:
    event = {"type": "page", "userId": "\ud800", "properties": {"\udfff": 1}}
    filters = [{"byConditions": {"action": "deny", "when": {
        "stringMatches": {"inputPath": "userId", "value": "^u"}}}}]  # fmt: skip
    tree = {"global": {"filters": filters, "mappings": [{"inputKey": "input", "outputKey": "a"}]}}
    program = compile_playbook(parse_playbook(tree), {})
    failure = program.shape(event, MOMENT).failure
    assert failure is not None and failure.path == "output"


@pytest.mark.slow
def test_every_section_of_every_kit_comes_to_the_same_in_both() -> None:
    """With code that returns an object in the place of the kits' Lua."""
    sections = 0
    for kit_name in kit_names():
        kit = read_kit(kit_name)
        playbook = parse_playbook(kit["playbook"])
        text = playbook_json(playbook)
        assert playbook_json(parse_playbook(json.loads(text))) == text
        loader = Returning({"code": {"was": "here"}})
        params = kit_params(kit)
        ours = compile_playbook(playbook, params, loader)
        oracle = closures_of(playbook, params, loader)
        for event in FULL:
            run_both(ours, oracle, event)
        sections += len(playbook.event_specific)
    assert sections == 706


def test_events_of_the_whole_vocabulary_are_in_the_fuzz() -> None:
    assert len(EVENTS) > 60
