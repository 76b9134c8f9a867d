"""What Lua is given it reads piece by piece; nothing that a body does can tell.

The oracle is the same body over an event of which everything was read before it began.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.json_values import JSON
from trunkline.playbook.lua_values import DEPTH_MAX, ROW_MAX
from trunkline.playbook.lua_world import LuaWorld
from trunkline.playbook.program import CodeError, Moment

NOW = Moment(1_795_169_730_250, "app/destination\0message-1")
WORLD = LuaWorld()
READ_ALL = (
    "local function read(t) for _, v in pairs(t) do if type(v) == 'table' then read(v) end end end "
    "read(input) "
)
BODIES = [
    "return input",
    "return input.a",
    "return {input.a, input.b, again = {input.a, input}}",
    "return {input.a.b.c, input.b[1], input.c[2], input.a.b == input.a.b}",
    "input.a = 1 return input",
    "input.d = input.a input.a = nil return input",
    "local was = input.a input.a = nil return {was, input.a, input}",
    "input.a = nil return {input.a, input}",
    "if type(input.a) == 'table' then input.a.x = 1 end return input",
    "if type(input.a) == 'table' then input.a.b = nil return {input.a.b, input} end",
    "local deep = input.a.b if type(deep) == 'table' then deep.c = {1} deep.d = deep.c end "
    "return {input, deep}",
    "local a = input.a if type(a) == 'table' then a[1] = 'one' a.b = nil end return input",
    "local l = input.b if type(l) == 'table' then table.insert(l, 'x') end return input",
    "local l = input.b if type(l) == 'table' then table.remove(l, 1) end return {l, input}",
    "local l = {} for k, v in pairs(input) do l[k] = type(v) end return l",
    "local l = {} for n, v in ipairs(input.b) do l[n] = v end return l",
    "local n = 0 for k in pairs(input.c) do n = n + 1 end return n",
    "return {next(input.a) == nil, type(next(input))}",
    "return {rawget(input, 'a'), rawget(input.b, 1)}",
    "return {pcall(unpack, input.b)}",
    "return {pcall(table.concat, input.b, ',')}",
    "return {pcall(table.sort, input.b, function(x, y) return tostring(x) < tostring(y) end)}",
    "return {table.maxn(input.b), table.maxn(input)}",
    "return {MAP(input, type), MAP(input.a, type), MAP(input.b, function(x) return x end)}",
    "return {FLATTEN(input, 'p', '.'), PLUCK(input.b, 'a'), JOIN(input.c, '-'), SUM(input.b)}",
    "local a = input.a if type(a) == 'table' then a.n = 'é' end "
    "return {FLATTEN(input), PLUCK({input, input}, 'a')}",
    "return {TO_STRING(input), TO_STRING(input.a), LOWER(input.b), TABLE_SLICE(input.b, 1, 2)}",
    "local t = SPLIT('a,b,c', ',') t[2] = nil return {t, SPLIT('a,b', ',')[2]}",
    "local q = DECODE_URL_QUERY('https://a.example/?x=1&y=2') q.x = nil return {q, q.y}",
    "return setmetatable({}, {__index = input}).a",
    "local t = setmetatable({}, input) return {t.a, type(t)}",
    "return {getmetatable(input), getmetatable(input.b)}",
    "setmetatable(input, {__index = function() return 'made' end}) return {input.zz, input}",
    "return {(('a b c'):gsub('%a', input)), tostring(input), type(input.a), input[1], input[true]}",
    "input.a = ('é'):sub(1, 1) return input",
    "if type(input.a) == 'table' then input.a.b = ('é'):sub(1, 1) end return input",
    "local cut = ('é'):sub(1, 1) return {input[cut], PLUCK({{x = cut}, input}, 'x')}",
    "input.a = {input.b, input.b} return {input, input.a}",
    "input.input = input return input",
    "return {input, f = function() end}",
    "return {input.b, 0/0, x = input, [3] = input.a, [1.5] = input.c}",
    "if type(input.a) == 'table' then input.a.b = 1 end return {input, [7] = input}",
    "return input.a.b + input.b .. input.c",
    "error(input)",
    "input[nil] = 1",
    "return {#input, #input.a, #input.b, #(input.c or '')}",
    "local l = input.b l[#l + 1] = 'x' return input",
]

VALUES = JSON | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
PARTS = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), inner, max_size=4)
    ),
    max_leaves=12,
)
EVENTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), PARTS, max_size=4)


INNER: dict[str, Any] = {"b": {"c": [1, {"a": "x"}], "n": 2.0}, "c": "text", "d": None}
PICKED: list[dict[str, Any]] = [
    {},
    {"a": INNER, "b": [INNER, {"a": [1, 2]}, "z"], "c": [1.5, 2, "x"]},
    {"a": {}, "b": [], "c": {"only": None}, "d": [None]},
    {"a": {"b": None}, "b": [{"a": None}], "c": [None, None, 3], "d": [1, None]},
    {"b": [3, 1, 2], "a": 2**60 + 1, "c": {"10": 1, "9": 2}, "d": [[[]], [{}]]},
    {"a": "", "b": "text", "c": False, "d": -0.0},
    {"__index": {"a": "by it"}, "a": {"__index": INNER}, "b": [INNER, INNER], "c": [1e300]},
]


def outcome(body: str, event: Any) -> Any:
    try:
        return repr(WORLD.expression(body)(event, NOW))
    except CodeError as error:
        return error.line, str(error)


def check(body: str, event: dict[str, Any]) -> None:
    before = repr(event)
    plainly = outcome(READ_ALL + body, event)
    assert outcome(body, event) == plainly
    assert outcome(f"{body} -- # gives lists their length at once", event) == plainly
    assert repr(event) == before


@pytest.mark.parametrize("body", BODIES)
def test_no_body_can_tell_what_was_read_before(body: str) -> None:
    for event in PICKED:
        check(body, event)


@settings(max_examples=60)
@given(EVENTS, st.lists(st.sampled_from(BODIES), min_size=4, max_size=4))
def test_no_body_can_tell_on_any_event(event: dict[str, Any], bodies: list[str]) -> None:
    for body in bodies:
        check(body, event)


def test_an_event_that_nobody_looks_at_is_not_turned() -> None:
    world = LuaWorld(4 * 1024 * 1024)
    event: dict[str, Any] = {
        "near": 1,
        "far": {f"k{n}": "x" * 1000 for n in range(10_000)},
    }  # 10 MB
    assert world.expression("return input.near")(event, NOW) == 1
    assert world.expression("return input.far.k7 == ('x'):rep(1000)")(event, NOW) is True


@pytest.mark.parametrize("count", [ROW_MAX // 3, ROW_MAX, 5 * ROW_MAX])
def test_long_lists_and_wide_objects_come_back(count: int) -> None:
    wide: dict[str, Any] = {f"k{n:06}": [n] for n in range(count)}
    event: dict[str, Any] = {
        "list": [n + 0.5 for n in range(count)],
        "mixed": [{"n": n} if n % 2 else [] for n in range(count)],
        "wide": wide,
    }
    run = WORLD.expression("input.seen = 1 local w = input.wide w.x = 1 return input")
    assert run(event, NOW) == {
        **event,
        "wide": {**wide, "x": 1},
        "seen": 1,
    }


def test_a_result_is_bounded_also_where_it_is_an_event_many_times() -> None:
    event = {"list": list(range(100))}
    body = "local t = {} for n = 1, 2000 do t[n] = input end return t"
    with pytest.raises(CodeError, match="more than 100000 values"):
        WORLD.expression(body)(event, NOW)


def test_what_was_given_counts_as_deep_as_it_stands() -> None:
    deep: dict[str, Any] = {}
    for _ in range(DEPTH_MAX - 2):
        deep = {"a": deep}
    assert WORLD.expression("return {x = input}")(deep, NOW) == {"x": deep}
    with pytest.raises(CodeError, match="levels deep"):
        WORLD.expression("return {x = {x = {x = input}}}")(deep, NOW)


def test_nothing_of_one_event_is_left_for_the_next() -> None:
    body = "local a = input.a if a then a.seen = (a.seen or 0) + 1 return a.seen end return 'none'"
    run = WORLD.expression(body)
    assert [run({"a": {"b": 1}}, NOW), run({}, NOW), run({"a": {"b": 1}}, NOW)] == [1, "none", 1]


def test_a_loop_of_calls_does_not_fill_the_memory() -> None:
    world = LuaWorld(4 * 1024 * 1024)
    body = "for n = 1, 40000 do local x = DECODE_URL_QUERY('https://a.example/?x=1') end return 1"
    assert world.expression(body)({}, NOW) == 1
