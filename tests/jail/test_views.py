"""JavaScript sees an event through views, and cannot tell: results, errors and logs are the same as
where it was given the whole event. Both ways are in every world; here each is called.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.jail_stage import moment
from trunkline.jail.javascript_code import Called, JavaScriptCode
from trunkline.jail.notes import Notes
from trunkline.playbook.functions import FUNCTIONS
from trunkline.playbook.program import CodeError

ENTRY = "function transform_event(e, m)"
HEAP_BYTES = 64 << 20
KEYS = ["a", "b", "userId", "context", "then", "toJSON", "constructor", "__proto__", "1", "0", "é"]
NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(10**22), 10**22),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.0, -0.0, 0.1, 1e16, 1e21, 5e-324, 2**53, 2**53 + 1, -(2**63)]),
)
TEXTS = st.one_of(
    st.sampled_from(["", " ", "a", "\0", "a\0b", "\x01", "\x02", "\x03", "=", "!x", "ß", "😀"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), TEXTS), inner, max_size=4),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)
EVENTS = st.dictionaries(
    st.one_of(st.sampled_from(KEYS), TEXTS), st.one_of(VALUES, OBJECTS, OBJECTS), max_size=8
)

KEY = st.sampled_from([*KEYS, "c", "a\0b", "\ud800", "toString"]).map(
    lambda key: msgspec.json.encode(key).decode() if key != "\ud800" else r'"\ud800"'
)
PLACE = st.one_of(
    st.just("e"),
    KEY.map(lambda key: f"e[{key}]"),
    st.tuples(KEY, KEY).map(lambda keys: f"e[{keys[0]}]?.[{keys[1]}]"),
    st.just("o"),
)
SHOWN = st.sampled_from(
    [
        "{}", "typeof {}", "Object.keys({} ?? 0)", "Object.entries({} ?? 0)", "{{...{}}}",
        "Array.isArray({})", "JSON.stringify({})", "Object.prototype.toString.call({})",
        "Object.getOwnPropertyDescriptor({} ?? 0, 'a')", "{}?.hasOwnProperty?.('b')",
        "{} === {}", "'a' in Object({})", "String({}?.a)", "{}?.map?.((x) => x?.a)",
        "Object.isFrozen({})", "({{a, ...r}}) => r", "{} instanceof Object", "{}?.length",
        "[...(function*(){{for (const k in {}) yield k}})()]", "TRIM({})", "structure({})",
        "Object.getPrototypeOf({} ?? 0) === Object.prototype", "Object.assign({{}}, {})",
    ]
)  # fmt: skip
VALUE = st.one_of(
    st.sampled_from(
        ["1", "'x'", "null", "undefined", "[1, {a: 2}]", "{b: {a: 1}}", "NaN", "-0", "1e21", "3n",
         "() => 1", "new Date(0)", "{toJSON() { return 'j' }}", "new Map()", "Symbol('s')"]
    ),
    PLACE,
)  # fmt: skip


def assignment(place: str, key: str, value: str) -> str:
    """Assign where it can be. A circle of prototypes is refused, but not where a proxy is in it."""
    if key == '"__proto__"' and value[0] in "eo":
        value = "{q: 1}"
    return f"if (Object({place}) === {place}) ({place})[{key}] = {value}"


STEPS = st.one_of(
    st.tuples(SHOWN, PLACE).map(lambda t: f"log({t[0].format(t[1], t[1])})"),
    st.builds(assignment, PLACE, KEY, VALUE),
    st.tuples(PLACE, KEY).map(lambda t: f"if ({t[0]}) delete ({t[0]})[{t[1]}]"),
    PLACE.map(lambda place: f"o = {place} ?? o"),
    PLACE.map(lambda place: f"({place})?.push?.({{a: 1}})"),
    PLACE.map(lambda place: f"Object.freeze({place})"),
    PLACE.map(
        lambda place: (
            f"if (Object({place}) === {place}) Object.defineProperty({place}, 'g', "
            "{get: () => 7, enumerable: true, configurable: true})"
        )
    ),
    PLACE.map(lambda place: f"if (Object({place}) === {place}) Object.create({place}).a = 1"),
    PLACE.map(lambda place: f"if ({place}) ({place})[Symbol.iterator] = 1"),
    PLACE.map(lambda place: f"for (const k in {place}) if (k > 'b') delete ({place})[k]"),
    PLACE.map(
        lambda place: f"if (Object({place}) === {place}) Object.setPrototypeOf({place}, {{q: 1}})"
    ),
)
RETURNS = st.sampled_from(
    ["e", "e", "e", "e", "{...e}", "[e]", "[e, {...e, a: 1}]", "o", "{o}", "[o]", "null",
     "{a: e.a}", "e.context", "JSON.parse(JSON.stringify(e))", "Object.create(e)", "m.event",
     "new Proxy(e, {})"]
)  # fmt: skip
PROGRAMS = st.tuples(st.lists(STEPS, max_size=6), RETURNS).map(
    lambda t: "let o = {};\n" + ";\n".join(t[0]) + f";\nreturn {t[1]}"
)


class World:
    """A function in JavaScript, called one way."""

    def __init__(self, body: str, *, is_plain: bool, heap_bytes: int = HEAP_BYTES) -> None:
        helpers = {name: helper.call for name, helper in FUNCTIONS.items()}
        self.notes = Notes()
        code = f"const structure = (x) => x?.constructor?.name;\n{ENTRY} {{{body}}}"
        run = JavaScriptCode(helpers, self.notes, heap_bytes).function(code)
        self.called: Called = getattr(run, "__self__")  # noqa: B009 the type of `run` is Callable
        self.called.is_plain = is_plain

    def tell(self, event: Any, number: int = 0) -> Any:
        """Return what comes of an event: its JSON or error, and what was logged."""
        meta = {"nowMs": 5, "event": event}
        try:
            result = self.called.run(event, meta, moment(number))
            came: Any = msgspec.json.encode(result, order="sorted"), in_order(result)
        except RecursionError:
            came = "too deep", 0
        except CodeError as error:
            came = str(error), error.line
        return came, self.notes.take()


def in_order(value: Any) -> Any:
    """Return the keys in order, but for those that are numbers: JavaScript puts them first."""
    if isinstance(value, dict):
        return [(k, in_order(v)) for k, v in value.items() if not re.fullmatch("[0-9]+", k)]
    return [in_order(each) for each in value] if isinstance(value, list) else None


@settings(max_examples=150, deadline=None)
@given(EVENTS, PROGRAMS)
def test_a_function_cannot_tell_a_view_from_the_event(event: Any, body: str) -> None:
    before = msgspec.json.encode(event)
    expected = World(body, is_plain=True).tell(event)
    assert World(body, is_plain=False).tell(event) == expected
    assert msgspec.json.encode(event) == before


def tell_all(body: str, events: list[Any], *, is_plain: bool) -> tuple[list[Any], World]:
    world = World(body, is_plain=is_plain)
    return [world.tell(event, n) for n, event in enumerate(events)], world


KEEPING = [
    "globalThis.kept ??= []; kept.push(e); return kept",
    "globalThis.kept ??= []; kept.push(e.c); return kept",
    "const was = globalThis.was; globalThis.was = e.c; return {was: was?.d, now: e}",
    "const was = globalThis.was; globalThis.was = e; if (was) was.c.d.x = e.n; return {was, e}",
    "if (e.n == 1) globalThis.was = e; return [globalThis.was?.c?.d, e]",
    "if (e.n == 1) { globalThis.was = e; throw new Error('no') } delete was.c; return was",
    "const was = globalThis.was; globalThis.was = () => e.c; return was?.()",
]


@pytest.mark.parametrize("body", KEEPING)
def test_an_event_that_a_function_keeps_stays_as_it_was(body: str) -> None:
    events = [{"n": n, "c": {"d": {"n": n, "l": [n]}}, "t": "x"} for n in (1, 2, 3, 4)]
    expected, _ = tell_all(body, events, is_plain=True)
    came, world = tell_all(body, events, is_plain=False)
    assert came == expected
    assert world.called.is_plain


@pytest.mark.parametrize(
    ("body", "is_plain"),
    [("return {...e}", True), ("return Object.keys(e).length ? e : null", True),
     ("return e", False), ("e.c.d = Object.keys(e.c).length; return e", False),
     ("return e.n % 9 ? {...e} : e", False), ("throw new Error('no')", False)],
)  # fmt: skip
def test_a_function_that_wants_every_event_whole_gets_it_so(body: str, is_plain: bool) -> None:
    events = [{"n": n, "c": {"a": n}} for n in range(40)]
    expected, _ = tell_all(body, events, is_plain=True)
    came, world = tell_all(body, events, is_plain=False)
    assert came == expected
    assert world.called.is_plain is is_plain


CHANGES: list[tuple[str, Any]] = [
    ("e.c.d.x = 5; return e", {"a": 1, "c": {"d": {"y": [1], "x": 5}, "z": "z"}}),
    ("e.c.d.y.push(2); return e", {"a": 1, "c": {"d": {"y": [1, 2]}, "z": "z"}}),
    ("delete e.a; e.a = 2; return e", {"c": {"d": {"y": [1]}, "z": "z"}, "a": 2}),
    ("e.c.d.x = 1; e.c = e.c.d; return e", {"a": 1, "c": {"y": [1], "x": 1}}),
    ("e.c.d.x = 1; delete e.c; return e", {"a": 1}),
    ("e.c.d.x = 1; return e.c", {"d": {"y": [1], "x": 1}, "z": "z"}),
    ("e.a = undefined; e.b = null; return e", {"c": {"d": {"y": [1]}, "z": "z"}, "b": None}),
    ("const {d} = e.c; e.c.d = 3; d.x = 1; return e", {"a": 1, "c": {"d": 3, "z": "z"}}),
    ("Object.keys(e); e.c.z = 1; return e", {"a": 1, "c": {"d": {"y": [1]}, "z": 1}}),
    ("e.c.z = 1; e.a = 2; Object.keys(e); return e", {"a": 2, "c": {"d": {"y": [1]}, "z": 1}}),
]


@pytest.mark.parametrize(("body", "expected"), CHANGES)
def test_what_a_function_changes_comes_out(body: str, expected: Any) -> None:
    event = {"a": 1, "c": {"d": {"y": [1]}, "z": "z"}}
    for is_plain in (True, False):
        result, _ = World(body, is_plain=is_plain).tell(event)
        assert result == (msgspec.json.encode(expected, order="sorted"), in_order(expected))
    assert event == {"a": 1, "c": {"d": {"y": [1]}, "z": "z"}}


def test_what_nobody_reads_takes_no_room_in_the_world() -> None:
    event = {"type": "track", "properties": {"x": "x" * 3_000_000}, "context": {"ip": "::1"}}
    body = "e.context.ip = 'none'; return e"
    (came, _), _ = World(body, is_plain=False, heap_bytes=3_000_000).tell(event)
    assert came == msgspec.json.encode({**event, "context": {"ip": "none"}}, order="sorted")
    (message, _), _ = World(body, is_plain=True, heap_bytes=3_000_000).tell(event)
    assert "out of memory" in message


@pytest.mark.parametrize("depth", [50, 300, 2000, 100_000])
def test_a_deep_result_fails_as_ever(depth: int) -> None:
    body = f"let x = 1; for (let n = 0; n < {depth}; n++) x = [x]; e.x = x; return e"
    expected = World(body, is_plain=True).tell({"a": 1})
    assert World(body, is_plain=False).tell({"a": 1}) == expected


def test_events_that_nobody_keeps_are_let_go_of() -> None:
    for body in ("return e", "throw new Error('no')", "return Object.keys(e).length > 9"):
        _, world = tell_all(body, [{"n": n} for n in range(12)], is_plain=False)
        assert world.called.views.held <= 2
