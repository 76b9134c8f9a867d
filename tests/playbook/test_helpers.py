"""The functions that code may call: one meaning in Python and Lua, and none can fail."""

from __future__ import annotations

import inspect
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from trunkline.playbook.functions import FUNCTIONS, Helper, HelperExample
from trunkline.playbook.lua_world import LuaWorld
from trunkline.playbook.program import Moment

EXAMPLES = [
    pytest.param(helper, example, id=f"{helper.name}-{number}")
    for helper in FUNCTIONS.values()
    for number, example in enumerate(helper.examples)
]
NOW = Moment(0, "")
WORLD = LuaWorld()
LUA = {
    name: WORLD.expression(f"return {name}(unpack(input, 1, 5))")
    for name in FUNCTIONS
    if name != "MAP"
}


def call(name: str, *arguments: Any) -> Any:
    return FUNCTIONS[name].call(*arguments)


@pytest.mark.parametrize(("helper", "example"), EXAMPLES)
def test_an_example_gives_what_it_says(helper: Helper, example: HelperExample) -> None:
    made = helper.call(*example.arguments)
    assert made == example.output
    assert type(made) is type(example.output)


@pytest.mark.parametrize(("helper", "example"), EXAMPLES)
def test_an_example_gives_the_same_in_lua(helper: Helper, example: HelperExample) -> None:
    if helper.name == "MAP":
        body = "return MAP(input[1], function(item) return item * 2 end)"
        made = WORLD.expression(body)(list(example.arguments[:1]), NOW)
    else:
        made = LUA[helper.name](list(example.arguments), NOW)
    assert made == example.output


@pytest.mark.parametrize("helper", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_null_and_nothing_give_null(helper: Helper) -> None:
    assert helper.call() is None
    assert helper.call(None) is None
    rest = (None,) * (len(inspect.signature(helper.call).parameters) - 1)
    assert helper.call(None, *rest) is None


def test_the_contract_has_these_functions() -> None:
    contract = """TO_SHA256_HASH TO_MD5_HASH LOWER UPPER TRIM REPLACE SPLIT JOIN SUBSTRING TO_STRING
        TO_FLOAT TO_BOOL TO_TRUNCATED_INT TO_ROUNDED_INT TO_TRUNCATED_FLOAT MAP SUM PLUCK
        TABLE_SLICE FLATTEN TOTAL_VALUE TO_DATE_TIME SECONDS_SINCE_EPOCH_FROM_RFC3999
        MILLISECONDS_SINCE_EPOCH_FROM_RFC3999 DECODE_URL_QUERY QUERY_ESCAPE PATH_ESCAPE ESCAPE
        BASE64_ENCODE TO_ISO_COUNTRY"""
    assert set(FUNCTIONS) == set(contract.split())


@given(st.sampled_from(list(FUNCTIONS.values())), st.lists(JSON, max_size=3))
def test_no_arguments_make_a_function_raise(helper: Helper, arguments: list[Any]) -> None:
    room = inspect.signature(helper.call).parameters
    made = helper.call(*arguments[: len(room)])
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


def as_lua_has_it(value: Any) -> Any:
    """Return what is left of a JSON value in Lua: no nulls in objects, none at the end of lists."""
    if isinstance(value, dict):
        return {k: as_lua_has_it(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        while value and value[-1] is None:
            value = value[:-1]
        return [as_lua_has_it(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    return value


def is_solid(value: Any) -> bool:
    """Say whether Lua can hold a value as JSON has it: few holes, objects whose keys are no 1."""
    if isinstance(value, dict):
        return bool(value) and all(is_solid(child) for child in value.values())
    if isinstance(value, list):
        return bool(value) and None not in value and all(is_solid(child) for child in value)
    if isinstance(value, float):
        return not value.is_integer()
    return value is not None


@pytest.mark.slow
@given(st.sampled_from(sorted(LUA)), st.lists(JSON.filter(is_solid), min_size=1, max_size=3))
def test_a_function_means_the_same_in_lua(name: str, arguments: list[Any]) -> None:
    helper = FUNCTIONS[name]
    given_ = [as_lua_has_it(argument) for argument in arguments]
    kinds = inspect.signature(helper.call).parameters.values()
    room = 99 if any(k.kind is k.VAR_POSITIONAL for k in kinds) else len(kinds)
    assert LUA[name](given_, NOW) == as_lua_has_it(helper.call(*given_[:room]))


@pytest.mark.slow
@given(JSON.filter(is_solid))
def test_map_means_the_same_in_lua(items: Any) -> None:
    def pick(item: Any) -> Any:
        return item.get("id") if isinstance(item, dict) else None if item == 12 else item

    body = """return MAP(input, function(item)
        if type(item) == "table" and #item == 0 then return item.id end
        if item == 12 then return nil end
        return item
    end)"""
    assert WORLD.expression(body)(items, NOW) == as_lua_has_it(call("MAP", items, pick))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("https://a.example/x?y=1", "?", 1), ["https://a.example/x", "y=1"]),
        (("https://a.example/x", "//", 2), ["https:", "a.example/x"]),
        (("GCL.1612345678.EAIa.IQ", ".", 3), ["GCL", "1612345678", "EAIa.IQ"]),
        (("GA1.2.1033501218.1368477899", ".", 4), ["GA1", "2", "1033501218", "1368477899"]),
        (("en", "-", 2), ["en"]),
        (("", "-"), [""]),
        (("abc", ""), ["abc"]),
        ((12.5, "."), ["12", "5"]),
    ],
)
def test_split_does_what_the_kits_ask_of_it(arguments: tuple[Any, ...], parts: list[str]) -> None:
    assert call("SPLIT", *arguments) == parts


@pytest.mark.parametrize(
    ("number", "truncated", "rounded"),
    [
        (24.99 * 100, 2499, 2499),
        (18.5, 18, 19),
        (-18.5, -18, -19),
        (0.49999999999999994, 0, 0),
        ("1e3", 1000, 1000),
        (" 7.9 ", 7, 8),
        (True, 1, 1),
        (2**62, 2**62, 2**62),
        (1e300, None, None),
        ("0x10", None, None),
        (math.inf, None, None),
    ],
)
def test_numbers_become_whole(number: Any, truncated: int | None, rounded: int | None) -> None:
    assert call("TO_TRUNCATED_INT", number) == truncated
    assert call("TO_ROUNDED_INT", number) == rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"),
        (25.5, "25.5"),
        (1e21, "1000000000000000000000"),
        (1.5e-7, "0.00000015"),
        (True, "true"),
        ({"b": [1, None], "a": "é"}, '{"a":"é","b":[1,null]}'),
        ([], "[]"),
    ],
)
def test_a_value_becomes_text(value: Any, text: str) -> None:
    assert call("TO_STRING", value) == text


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("US", "US"), ("usa", "US"), (" United  States ", "US"), ("U.S.", "US"), ("Iran", "IR"),
        ("ایران", "IR"), ("Türkiye", "TR"), ("turkey", "TR"), ("Côte d'Ivoire", "CI"),
        ("cote divoire", "CI"), ("South Korea", "KR"), ("uk", "GB"), ("Deutschland", "DE"),
        ("Viet Nam", "VN"), ("Bolivia, Plurinational State of", "BO"), ("", None), ("ZZ", None),
        (840, None),
    ],
)  # fmt: skip
def test_a_country_has_many_names(name: Any, code: str | None) -> None:
    assert call("TO_ISO_COUNTRY", name) == code


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("https://a.example/?x=1&x=2&y=", {"x": "1", "y": ""}),
        ("?x=%D8%A7", {"x": "ا"}),
        ("x=1&y=%ff", {"x": "1", "y": "\ufffd"}),
        ("https://a.example/a=b", {}),
        ("https://a.example/#?x=1", {}),
        ("", {}),
    ],
)
def test_the_query_of_a_url_is_decoded(url: str, fields: dict[str, str]) -> None:
    assert call("DECODE_URL_QUERY", url) == fields


def test_a_query_has_a_limit() -> None:
    url = "?" + "&".join(f"k{n}={n}" for n in range(5000))
    assert len(call("DECODE_URL_QUERY", url)) == 1000


def test_products_without_prices_have_no_value() -> None:
    assert call("TOTAL_VALUE", [{"quantity": 2}]) is None
    assert call("TOTAL_VALUE", []) == 0
    assert call("TOTAL_VALUE", [{"price": 18.99}, {"price": "3", "quantity": 2}, None]) == 24.99
    assert call("TOTAL_VALUE", {"price": 1e308, "quantity": 1e308}) is None


def test_flatten_numbers_lists_and_keeps_what_is_deeper() -> None:
    value = {"a": [{"b": 1}, {"b": {"c": 2}}], "e": {}, "n": None}
    assert call("FLATTEN", value, "", "_", 3, {"array_start_index": 1}) == {
        "a_1_b": 1,
        "a_2_b": {"c": 2},
        "e": {},
    }
    assert call("FLATTEN", value, "p", ".") == {"p.a.0.b": 1, "p.a.1.b.c": 2, "p.e": {}}


def test_replacing_cannot_blow_a_text_up() -> None:
    assert len(call("REPLACE", "a" * 65_536, "a", "b" * 65_536)) == 65_536
