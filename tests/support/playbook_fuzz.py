"""Random playbooks, random events, and code that needs no interpreter: what both back ends are fed.

Output keys come from a small alphabet, so that parts overlap in every way there is; input paths
lead into events that have something there, something else, or nothing.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import msgspec

from tests.support.semantic_events import BARE, FULL
from trunkline.playbook.conditions import OPERATORS
from trunkline.playbook.program import Code, CodeError, Moment, Program, Shaped, WritingProgram
from trunkline.playbook.transforms import TRANSFORMS

Tree = dict[str, Any]
COMMON: tuple[Tree, ...] = (
    {"modifyString": "trim"}, {"modifyString": "lowercase"}, {"modifyString": "uppercase"},
    {"toHash": "sha256"}, {"toScalar": "float"}, {"toTimestamp": "inMillis"},
    {"pluckValues": {"extractKey": "product_id"}}, {"mapItems": {"fields": {"a": "product_id"}}},
)  # fmt: skip
MOMENT = Moment(1_795_170_000_123, "zcmwmxbkmuodelu/ads\0m-1")
KEYS = ("a", "b", "a.b", "a.b.c", "a.c", "b.a", "b.0", "c", "a.b.c.d", "x_y", "d.e.f")
TEXTS = ("", "USD", "usd", " a@B.co ", "12.50", "7", "true", "2026-11-20T10:15:30.250Z", "ä", "0")
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 12.5, 1e300, 2**63, -(2**70), "", "text", " Text ", "x" * 70_000,
    "\0", "ﬀ", "2026-11-20T10:15:30.250Z", "1969-12-31T23:59:59.999Z", [], {}, [1, [2]],
    {"a": {"b": 1}}, [{"product_id": 1, "price": "2"}, None, {"price": 3}], {"": {"": None}},
    list(range(1200)), {"0": {"price": 3, "product_id": "z"}}, {"b": None, "c": [None]}, [[[[[]]]]],
)  # fmt: skip


def _paths(value: Any, path: str = "", depth: int = 0) -> list[str]:
    found = [path] if path else []
    if isinstance(value, dict) and depth < 6:
        for key, child in value.items():
            found += _paths(child, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list):
        for n, child in enumerate(value[:2]):
            found += _paths(child, f"{path}.{n}", depth + 1)
    return found


EVENTS: list[Tree] = [*FULL, *BARE]
PATHS = sorted({path for event in FULL for path in _paths(event)})
NUMBERED = [path for path in PATHS if ".0" in path]
NAMES = sorted({e["event"] for e in EVENTS if "event" in e} | {e["type"] for e in EVENTS})


class StubLoader:
    """Loads "code": the body is the name of what it does."""

    def expression(self, lang: str, body: str) -> Code:
        if body == "does not load":
            raise CodeError("unexpected symbol near 'is'", 3)
        return CODE[body]

    def function(self, lang: str, body: str) -> Callable[[Any, Tree, Moment], Any]:
        run = FUNCTIONS[body]
        return lambda value, meta, moment: run(copy.deepcopy(value), copy.deepcopy(meta), moment)


def _fail(*values: Any) -> Any:
    raise CodeError("attempt to index a nil value", 2)


def _nest(levels: int) -> Tree:
    return {"a": _nest(levels - 1)} if levels else {}


NO_JSON = object()
CODE: dict[str, Code] = {
    "the event": lambda event, moment: event,
    "a part": lambda event, moment: event.get("properties"),
    "nothing": lambda event, moment: None,
    "false": lambda event, moment: False,
    "an object": lambda event, moment: {"a": {"b": 1, "z": None}, "b": None, "n": moment.now_ms},
    "a list": lambda event, moment: [1, {"a": 2}],
    "a text": lambda event, moment: "text",
    "fails": _fail,
    "deep": lambda event, moment: {"a": _nest(100)},
    "no json": lambda event, moment: {"a": NO_JSON},
    "huge": lambda event, moment: {"c": "x" * 1_100_000},
    "a batch": lambda event, moment: {
        "_metarouter_batch": [{"a": {"b": 2}}, {"b": event.get("userId")}, {}]
    },
    "an empty batch": lambda event, moment: {"_metarouter_batch": {}},
    "a wrong batch": lambda event, moment: {"_metarouter_batch": [{}, 1]},
    "a large batch": lambda event, moment: {"_metarouter_batch": [{}] * 1001},
}


def _overwrite(value: Any, meta: Tree, moment: Moment) -> Any:
    """Change everything that can be reached from a value, as careless code does."""
    stack = [value, meta.get("event")]
    while stack:
        each = stack.pop()
        if isinstance(each, dict | list):
            stack += list(each.values()) if isinstance(each, dict) else each
            each.clear()
            if isinstance(each, dict):
                each["type"] = "overwritten"
    return value


FUNCTIONS: dict[str, Callable[[Any, Tree, Moment], Any]] = {
    "same": lambda value, meta, moment: value,
    "overwrite": _overwrite,
    "drop": lambda value, meta, moment: None,
    "drop pages": lambda value, meta, moment: None if value.get("type") == "page" else value,
    "twice": lambda value, meta, moment: [value, {**value, "b": {"second": 1}}],
    "none of two": lambda value, meta, moment: [None, None],
    "empty": lambda value, meta, moment: [],
    "add": lambda value, meta, moment: {**value, "now": meta["nowMs"], "of": meta.get("event")},
    "a text": lambda value, meta, moment: "text",
    "a wrong list": lambda value, meta, moment: [value, 1],
    "many": lambda value, meta, moment: [value] * 1001,
    "fails": _fail,
}


class Fuzz:
    """Random playbooks and events of one seed."""

    def __init__(self, seed: int, *, has_code: bool) -> None:
        self.dice = random.Random(seed)
        self._has_code = has_code

    def playbook(self) -> Tree:
        """Return a playbook that the check takes."""
        pick = self.dice
        tree: Tree = {"global": self._section()}
        if pick.random() < 0.7:
            tree["default"] = self._section()
        names = pick.sample(NAMES, pick.randrange(4))
        tree["eventSpecific"] = {self._respelled(name): self._section() for name in names}
        if self._has_code and pick.random() < 0.4:
            bodies = [b for b in FUNCTIONS if pick.random() < 0.15]
            tree["functions"] = [
                {"lang": "python", "when": pick.choice(("before", "after")), "body": body}
                for body in bodies
            ]
        return tree

    def _respelled(self, name: str) -> str:
        return self.dice.choice((name, name.lower().replace(" ", "_"), name.upper()))

    def _section(self) -> Tree:
        pick = self.dice
        section: Tree = {
            "enrichments": [self._enrichment() for _ in range(pick.randrange(3))],
            "mappings": [self._mapping() for _ in range(pick.randrange(6))],
        }
        if pick.random() < 0.3:
            section["filters"] = [self._filter() for _ in range(pick.randrange(1, 3))]
        if pick.random() < 0.2:
            section["spreadings"] = [self._spreading()]
        if self._has_code and pick.random() < 0.4:
            section["expressions"] = [{"lang": "lua", "body": pick.choice(list(CODE))}]
        return section

    def _enrichment(self) -> Tree:
        constants: tuple[Tree, ...] = (
            {"staticString": self.dice.choice(TEXTS)}, {"staticInt": 1}, {"staticInt": "1"},
            {"staticFloat": 0}, {"staticBool": False}, {"timestamp": "seconds"},
            {"timestamp": "milliseconds"}, {"uuid": "v4"},
        )  # fmt: skip
        return {"outputKey": self.dice.choice(KEYS), **self.dice.choice(constants)}

    def _input(self) -> str:
        pick = self.dice
        if pick.random() < 0.3:
            return pick.choice(("input", "properties", "context", "a.b", "properties.products"))
        return pick.choice(PATHS if pick.random() < 0.7 else NUMBERED)

    def _mapping(self) -> Tree:
        pick = self.dice
        defaults: tuple[Tree, ...] = (
            {}, {}, {"defaultString": ""}, {"defaultInt": 0}, {"defaultBool": False},
            {"defaultFloat": 0},
        )  # fmt: skip
        return {
            "inputKey": self._input(),
            "outputKey": "" if pick.random() < 0.08 else pick.choice(KEYS),
            "transforms": [self._transform() for _ in range(pick.choice((0, 0, 0, 1, 1, 2, 3)))],
            **pick.choice(defaults),
        }

    def _transform(self) -> Tree:
        pick = self.dice
        if self._has_code and pick.random() < 0.15:
            return {"expression": {"lang": "lua", "body": pick.choice(list(CODE))}}
        if pick.random() < 0.5:
            return pick.choice(COMMON)
        transform = pick.choice(list(TRANSFORMS.values()))
        return {transform.name: pick.choice(transform.examples).argument}

    def _filter(self) -> Tree:
        pick = self.dice
        if pick.random() < 0.3:
            names = pick.sample(["", *NAMES], pick.randrange(4))
            names = [self._respelled(name) for name in names]
            # Mostly such that events pass: a fuzz whose every event is dropped finds nothing.
            return {
                "byEventNames": {"action": pick.choice(("deny", "deny", "allow")), "events": names}
            }
        return {"byConditions": {"action": pick.choice(("allow", "deny")), "when": self._when(0)}}

    def _when(self, depth: int) -> Tree:
        pick = self.dice
        if depth < 3 and pick.random() < 0.4:
            members = [self._when(depth + 1) for _ in range(pick.randrange(4))]
            return {pick.choice(("matchesAll", "matchesAny")): {"conditions": members}}
        name = pick.choice(list(OPERATORS))
        argument: Tree = {"inputPath": self._input()}
        for field, kind in OPERATORS[name].fields.items():
            argument[field] = {
                "text": pick.choice(TEXTS), "flag": pick.random() < 0.5,
                "number": pick.choice((0, 3, 12.5)), "texts": [pick.choice(TEXTS), "USD"],
            }[kind]  # fmt: skip
        return {name: argument}

    def _spreading(self) -> Tree:
        pick = self.dice
        flatten: Tree = {"separator": pick.choice(("_", ".", ""))}
        flatten |= pick.choice(({}, {"prefix": "a"}, {"prefix": ""}))
        flatten |= pick.choice(({}, {"depth": 1}, {"depth": 3}))
        return {"inputKey": self._input(), "flatten": flatten}

    def event(self) -> Tree:
        """Return an event with a few of its values replaced by strange ones, or gone."""
        event = copy.deepcopy(self.dice.choice(EVENTS))
        for _ in range(self.dice.randrange(5)):
            self._mutate(event)
        return event

    def _mutate(self, event: Tree) -> None:
        pick = self.dice
        place: Any = event
        for _ in range(pick.randrange(5)):
            below = [
                child
                for child in (place.values() if isinstance(place, dict) else place)
                if isinstance(child, dict | list) and child
            ]
            if not below:
                break
            place = pick.choice(below)
        key = pick.choice(list(place) if isinstance(place, dict) else range(len(place)))
        strange = copy.deepcopy(pick.choice(STRANGE))
        if pick.random() < 0.3:
            del place[key]
        elif isinstance(place[key], list) and pick.random() < 0.5:
            place[key] = {str(n): child for n, child in enumerate(place[key])}
        elif isinstance(place, dict) and pick.random() < 0.3:
            place[pick.choice(("a", "b", "0", "x_y", "USD"))] = strange
        else:
            place[key] = strange


def run_both(ours: WritingProgram, oracle: Program, event: Tree) -> Shaped:
    """Run an event through both, hold all they say against each other, return what it became."""
    before = exact(event)
    shaped, told = ours.shape(event, MOMENT), ours.explain(event, MOMENT)
    expected = oracle.explain(event, MOMENT)
    assert exact(event) == before, "the event was changed"
    assert exact(told) == exact(expected)
    assert exact(shaped) == exact(msgspec.structs.replace(told, steps=()))
    text = msgspec.json.encode(event)
    if msgspec.json.decode(text) == event:  # JSON holds no infinity
        written, texts = ours.write(text, MOMENT)
        again = tuple(map(msgspec.json.decode, texts))
        assert exact(msgspec.structs.replace(written, outputs=again)) == exact(shaped)
    return shaped


def exact(value: Any) -> bytes:
    """Return a text that is the same for the same value only: 1, 1.0 and true are three."""
    return msgspec.json.encode(value, order="sorted", enc_hook=lambda each: type(each).__name__)
