"""The Lua world: what a body sees, what it gives back, and what it cannot reach."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from tests.support.semantic_events import FULL, named
from trunkline.playbook.lua_world import LuaLoader, LuaWorld
from trunkline.playbook.program import CodeError, Moment

NOW = Moment(1_795_169_730_250, "app/destination\0message-1")
WORLD = LuaWorld()


def run(body: str, value: Any = None, moment: Moment = NOW) -> Any:
    return WORLD.expression(body)(value, moment)


def failure(body: str, value: Any = None) -> tuple[int, str]:
    with pytest.raises(CodeError) as raised:
        run(body, value)
    return raised.value.line, str(raised.value)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if isinstance(value, list) else value


@pytest.mark.parametrize("event", FULL, ids=lambda event: event.get("event", event["type"]))
def test_an_event_comes_back_as_it_went_in(event: dict[str, Any]) -> None:
    before = copy.deepcopy(event)
    assert run("return input", event) == without_nulls(event)
    assert event == before


def test_empty_lists_and_objects_stay_what_they_were() -> None:
    value = {"list": [], "object": {}, "deep": [{"list": [], "object": {}}]}
    assert run("return input", value) == value
    assert run("input.list[1] = 'a' return input.list", value) == ["a"]
    assert run("input.object.a = 1 return input.object", value) == {"a": 1}
    assert run("return {}") == []


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("return 5.0", 5),
        ("return 2.5", 2.5),
        ("return 0/0", None),
        ("return 1/0", None),
        ("return {1, 0/0, 3}", [1, None, 3]),
        ("return {1, nil, 3}", [1, None, 3]),
        ("return {[1] = 'a', [9] = 'b'}", {"1": "a", "9": "b"}),
        ("return {'a', x = 'b'}", {"1": "a", "x": "b"}),
        ("return {[1.5] = 'a'}", {"1.5": "a"}),
        ("return {[1] = {}, ['1'] = 'b', [2.5] = 'c'}", {"1": "b", "2.5": "c"}),
        ("return tostring({}) .. tostring(print) .. tostring(5)", None),
        ("return tostring({}) .. tostring(pairs) .. tostring(5)", "tablefunction5"),
        ("return tostring(setmetatable({}, {__tostring = function() return 'x' end}))", "x"),
        ("return {x = nil, y = 0/0}", {}),
        ("return {x = 0/0, y = 1}", {"y": 1}),
        ("return 'a', 'b'", "a"),
        ("return", None),
        ("", None),
        ("(function() x = 1 end)() return x", 1),
        ("return input -- and no more", None),
    ],
)
def test_a_result_is_json(body: str, result: Any) -> None:
    assert run(body) == result


def test_a_part_that_stands_twice_comes_back_twice() -> None:
    part = {"id": 1}
    assert run("input.a.id = 2 return input", {"a": part, "b": part, "c": [part, part]}) == {
        "a": {"id": 2},
        "b": {"id": 1},
        "c": [{"id": 1}, {"id": 1}],
    }


def test_large_whole_numbers_become_text() -> None:
    value = {"id": 2**60 + 1, "exact": 2**53, "list": [-(2**60)]}
    assert run("return input", value) == {
        "id": str(2**60 + 1),
        "exact": 2**53,
        "list": [str(-(2**60))],
    }


def test_fields_come_in_the_order_of_their_names() -> None:
    body = "local t = {} for _, k in ipairs(input) do t[k] = 1 end return t"
    names = [f"k{n}" for n in range(50)]
    assert list(run(body, names[::-1])) == sorted(names)


NIL = [
    "input.a.b.c", "input.a.b:match('x')", "input.a:gsub('a', 'b')", "input.a .. 'x'", "'x' .. nil",
    "input.a + 1", "1 - input.a", "input.a * input.b", "2 ^ input.a", "-input.a", "5 % input.a",
    "#input.a", "string.match(input.a, 'x')", "string.format('%s-%.2f', 'x', input.a)",
    "string.sub(nil, 1)", "('x'):rep(nil)", "math.floor(input.a)", "math.max(1, nil)",
    "tostring(input.a)", "tonumber(input.a)", "next(input.a)", "table.concat(input.a, ',')",
    "LOWER(TRIM(input.a))", "SUM(MAP(input.a, function(p) return p.x end))", "null", "os.name",
]  # fmt: skip


@pytest.mark.parametrize("expression", NIL)
def test_nil_passes_through(expression: str) -> None:
    assert run(f"return {expression}", {"z": 1}) is None


def test_nil_can_be_walked_through() -> None:
    walks = ("pairs(nil)", "ipairs(input.a.b)", "input.a:gmatch('x')", "string.gmatch(nil, 'x')")
    for walk in walks:
        assert run(f"local n = 0 for k in {walk} do n = n + 1 end return n") == 0


def test_nothing_can_be_written_into_nil_but_nil() -> None:
    assert run("input.a.b = nil return 1", {}) == 1
    assert failure("\ninput.a.b = 1", {}) == (
        2,
        "there is nothing to write `b` into: it is nil",
    )


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("local a = 1\nlocal b = = 2", 2, "unexpected symbol near '='"),
        ("if true then", 1, "'end' expected near '<eof>'"),
        ("return TO_SHA256(input)", 1, "did you mean `TO_SHA256_HASH`?"),
        ("-- print(1)\nlocal s = 'f(x)' .. [[g(x)]]\n\nprint(s)", 4, "no function `print`"),
        ("\n\nerror('no order')", 3, "no order"),
        ("error({})", 0, "no text"),
        ("local t = {}\nt.go('x')", 2, "`go` is no function, but nil"),
        ("local n = input.price > 5\nreturn n", 1, "write `(x or 0)` for what may be absent"),
        ("local x = 1 +\n{}", 2, "attempt to perform arithmetic on a table value"),
        (
            "local s = string.rep({}, 2)\nreturn s",
            1,
            "bad argument #1 (string expected, got table)",
        ),
        ("local function f() return 1 + f() end\nlocal x = f()", 1, "stack overflow"),
        ("return function() end", 0, "it returned a function"),
        ("return {[true] = 1}", 0, "a boolean as a key"),
        ("local t = {} t.t = t return t", 0, "levels deep, or holds itself"),
        ("local t = {} for n = 1, 100001 do t[n] = 1 end return t", 0, "more than 100000 values"),
        ("local s = ('x'):rep(2e8) return s", 0, "more than 64 MB of memory"),
        ("local x = math.random(5, 1)", 1, "nothing between 5 and 1"),
    ],
)
def test_an_error_names_the_line_of_the_body(body: str, line: int, message: str) -> None:
    found, text = failure(body, {"a": 1})
    assert (found, message in text) == (line, True), (found, text)
    assert "body:" not in text and "prelude" not in text and "traceback" not in text


def test_a_name_that_the_body_makes_may_be_called() -> None:
    body = """local function one() return 1 end
    two = function() return 2 end
    local t = { three = function() return 3 end }
    local apply = function(f) return f() end
    return one() + two() + t.three() + apply(one)"""
    assert run(body) == 7


def test_the_world_goes_on_after_its_memory_ran_out() -> None:
    for _ in range(3):
        assert "64 MB" in failure("local t = {} while true do t[#t + 1] = ('x'):rep(#t) end")[1]
        assert run("return 1") == 1


LEAKS = [
    "seen = (seen or 0) + 1 return seen",
    "function f() return 1 end local was = g g = f return was == nil and 1",
    "string.seen = 1", "table.seen = 1", "math.pi = 3", "os.time = nil",
    "table.insert(string, 1)", "setmetatable(string, {})", "setmetatable('', {})",
    "('x').y = 1", "rawset(string, 'x', 1)", "getmetatable('').__index = {}",
    "local m = getmetatable(nil) m.__index = 1", "TRIM = LOWER return 1",
    "setfenv(1, {})", "getfenv().x = 1", "input.list.seen = (input.list.seen or 0) + 1 "
    "return input.list.seen",
]  # fmt: skip


@pytest.mark.parametrize("body", LEAKS)
def test_what_a_body_writes_is_gone_before_the_next_call(body: str) -> None:
    seen: list[Any] = []
    for _ in range(2):
        try:
            seen.append(run(body, {"list": []}))
        except CodeError as error:
            seen.append(str(error))
    assert seen[0] == seen[1] != 2
    assert (
        run("return string.seen or table.seen or string.x or math.pi > 3.1 and TRIM(' A ')") == "A"
    )


@pytest.mark.parametrize(
    "name",
    [
        "io",
        "debug",
        "package",
        "require",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "module",
        "python",
        "coroutine",
        "rawset",
        "setfenv",
        "getfenv",
        "newproxy",
        "collectgarbage",
        "gcinfo",
        "print",
        "_G",
        "os.execute",
        "os.getenv",
        "os.exit",
        "os.remove",
        "string.dump",
        "table.foreach",
    ],
)
def test_there_is_no_way_out(name: str) -> None:
    assert run(f"return type({name})") == "nil"


def test_functions_are_functions_and_no_objects_of_python() -> None:
    body = """
    local kinds = {}
    for _, value in ipairs({TRIM, MAP, os.time, math.random, string.match}) do
      kinds[type(value)] = true
    end
    return kinds"""
    assert run(body) == {"function": True}
    assert "a function value" in failure("return TRIM.__globals__")[1]


def test_an_error_caught_by_a_body_is_text() -> None:
    body = "local ok, e = pcall(TO_STRING, function() end) return type(e)"
    assert run(body) == "string"


def test_bytecode_is_not_loaded() -> None:
    assert failure("\x1bLua\x51")[0] == 1


def test_texts_cut_inside_a_character_are_mended() -> None:
    body = "local cut = input:sub(1, 5) return {cut = cut, [cut] = 1, hash = TO_MD5_HASH(cut)}"
    made = run(body, "سلام")
    assert made["cut"] == "سل\ufffd"
    assert made["سل\ufffd"] == 1
    assert len(made["hash"]) == 32


@given(st.binary(max_size=12))
def test_any_bytes_become_text(data: bytes) -> None:
    codes = ", ".join(str(byte) for byte in data)
    made = run(f"return string.char({codes})" if codes else "return ''")
    try:
        assert made == data.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in made


@given(JSON)
def test_any_value_goes_in_and_comes_out(value: Any) -> None:
    run("return input", value)


def test_dice_and_clock_belong_to_the_moment() -> None:
    rolls = WORLD.expression("return {math.random(1, 1e9), math.random(1e9), math.random()}")
    first = rolls(None, NOW)
    assert rolls(None, NOW) == first
    assert rolls(None, Moment(NOW.now_ms, "another")) != first
    assert WORLD.expression("return math.random(1, 1e9) -- other")(None, NOW) != first[0]
    assert run("return os.time()") == 1_795_169_730


def test_dice_are_fair_enough() -> None:
    counts = [0] * 6
    for n in range(3000):
        counts[run("return math.random(6)", None, Moment(0, f"seed {n}")) - 1] += 1
    assert min(counts) > 400, counts


def test_a_body_reads_what_it_is_said_to_read() -> None:
    code = WORLD.expression(
        "request.url = request.url .. #batch request.body = { data = batch } return request",
        ("request", "batch"),
    )
    made = code({"url": "https://a.example/", "headers": {}}, [{"id": 1}, {"id": 2}], NOW)
    assert made == {
        "url": "https://a.example/2",
        "headers": {},
        "body": {"data": [{"id": 1}, {"id": 2}]},
    }


def test_the_loader_loads_lua_and_nothing_else() -> None:
    loader = LuaLoader()
    code = loader.expression("lua", "return LOWER(input.event)")
    assert code(named("Order Completed"), NOW) == "order completed"
    with pytest.raises(CodeError, match="written in lua, not in 'python'"):
        loader.expression("python", "1")
    with pytest.raises(CodeError, match="written in python or javascript"):
        loader.function("lua", "return 1")
