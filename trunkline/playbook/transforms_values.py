"""The transforms for values of any kind: lists, numbers, texts, objects, ids, true and false."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from trunkline.playbook.arguments import fields, flag, text, text_list, text_map, whole
from trunkline.playbook.ids import ulid_of, uuid_of
from trunkline.playbook.numbers import DIGITS_MAX, absolute, multiply, round_to, sum_values
from trunkline.playbook.objects import (
    drop_keys,
    entries,
    json_of,
    keep_keys,
    pick,
    rename_keys,
    scalars_only,
)
from trunkline.playbook.patterns import full_match
from trunkline.playbook.scalars import TEXT_MAX, bool_of, look_up, number_of, text_of
from trunkline.playbook.transform import Function, Transform, example, plain

_FACTOR_MAX = 1e12
_PATTERN_MAX = 1000  # characters


def _to_list(value: Any) -> list[Any] | None:
    return None if value is None else cast("Any", value if isinstance(value, list) else [value])


def _first(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    return items[0] if items else None


def _count(value: Any) -> int | None:
    if isinstance(value, list):
        return len(cast("list[Any]", value))
    return 1 if isinstance(value, dict) else None


def _prepare_sum(argument: Any) -> Function:
    given = fields(argument, ("extractKey", "timesKey"), ("extractKey",))
    key, times = text(given, "extractKey"), text(given, "timesKey")
    return lambda value: sum_values(value, key, times)


def _prepare_multiply(argument: Any) -> Function:
    given = fields(argument, ("by", "whole"), ("by",))
    # A text that writes a number stands where a param was filled in.
    factor = None if isinstance(given["by"], bool) else number_of(given["by"])
    is_whole = flag(given, "whole")
    if factor is None or abs(factor) > _FACTOR_MAX:
        raise ValueError(f"by: is {repr(given['by'])[:60]}; expected a number up to 10^12")
    exact = Decimal(repr(factor))
    return lambda value: multiply(value, exact, is_whole=is_whole)


def _prepare_round(argument: Any) -> Function:
    digits = whole(fields(argument, ("digits",)), "digits", 0) or 0
    if digits > DIGITS_MAX:
        raise ValueError(f"digits: is {digits}; expected 0 to {DIGITS_MAX}")
    return lambda value: round_to(value, digits)


def _prepare_surround(argument: Any) -> Function:
    given = fields(argument, ("before", "after"))
    before, after = text(given, "before"), text(given, "after")

    def run(value: Any) -> str | None:
        found = text_of(value)
        return (before + found + after)[:TEXT_MAX] if found else None

    return run


def _prepare_ulid(argument: Any) -> Function:
    given = fields(argument, ("idKey", "timeKey"))
    id_path = text(given, "idKey", "messageId").split(".")
    time_path = text(given, "timeKey", "timestamp").split(".")
    return lambda value: ulid_of(look_up(value, id_path), look_up(value, time_path))


def _prepare_keep(argument: Any) -> Function:
    keys = text_list(fields(argument, ("keys",), ("keys",)), "keys")
    return lambda value: keep_keys(value, keys)


def _prepare_drop(argument: Any) -> Function:
    keys = frozenset(text_list(fields(argument, ("keys",), ("keys",)), "keys"))
    return lambda value: drop_keys(value, keys)


def _prepare_rename(argument: Any) -> Function:
    names = text_map(fields(argument, ("keys",), ("keys",)), "keys")
    return lambda value: rename_keys(value, names)


def _prepare_entries(argument: Any) -> Function:
    given = fields(argument, ("nameKey", "valueKey"))
    name_key, value_key = text(given, "nameKey", "name"), text(given, "valueKey", "value")
    if name_key == value_key:
        raise ValueError(f"valueKey: is {value_key[:60]!r}, as is `nameKey`; give each its own")
    return lambda value: entries(value, name_key, value_key)


def _flag_number(value: Any) -> int | None:
    found = bool_of(value)
    return None if found is None else int(found)


def _prepare_when(argument: Any) -> Function:
    given = fields(argument, ("isEqual", "then", "else"), ("isEqual", "then"))
    for key, made in given.items():
        # An object would be the same one in every output, and a later mapping could write to it.
        if isinstance(made, dict | list):
            raise ValueError(f"{key}: is an object or a list; expected text, number or boolean")
    wanted, then, otherwise = text_of(given["isEqual"]), given["then"], given.get("else")
    if wanted is None:
        raise ValueError("isEqual: expected text, number or boolean")
    return lambda value: None if value is None else then if text_of(value) == wanted else otherwise


def _is_present(value: Any) -> bool | None:
    if isinstance(value, str):
        return bool(value.strip())
    return None if value is None else value not in ([], {})


def _prepare_match(argument: Any) -> Function:
    pattern = text(fields(argument, ("pattern",), ("pattern",)), "pattern", "", _PATTERN_MAX)
    try:
        fits = full_match(pattern)
    except ValueError as error:
        raise ValueError(f"pattern: {error}") from None

    def run(value: Any) -> str | None:
        found = text_of(value)
        return found if found and fits(found) else None

    return run


def _prepare_pick(argument: Any) -> Function:
    path = text(fields(argument, ("key",), ("key",)), "key").split(".")
    if not all(path):
        raise ValueError("key: expected names with one dot between two, like `a.b`")
    return lambda value: pick(value, path)


_TRUE = "`true`"
_LINES = [{"price": 9.95, "quantity": 2}, {"price": "10"}]
_OBJECT = {"a": 1, "b": {"c": 2}, "d": ["x", "y"]}
_EVENT = {"messageId": "m-1", "timestamp": "2026-11-20T10:15:30.250Z"}

_LISTS = (
    Transform(
        "toList",
        "Put a value into a list; a list stays.",
        _TRUE,
        plain(_to_list),
        (example(True, "a", ["a"]), example(True, [1, 2], [1, 2])),
    ),
    Transform(
        "first",
        "Keep the first item of a list; what is no list stays.",
        _TRUE,
        plain(_first),
        (example(True, ["a", "b"], "a"), example(True, [], None), example(True, "a", "a")),
    ),
    Transform(
        "count",
        "Count the items of a list, all of them; an object is one.",
        _TRUE,
        plain(_count),
        (example(True, ["a", "b"], 2), example(True, {"id": 7}, 1), example(True, "a", None)),
    ),
    Transform(
        "sumValues",
        "Sum one number of each object of a list, or of one object.",
        "`{extractKey, timesKey}`: the number's key; the key of what it is multiplied with, 1 "
        "where nothing stands there",
        _prepare_sum,
        (
            example({"extractKey": "quantity"}, _LINES, 2),
            example({"extractKey": "price", "timesKey": "quantity"}, _LINES, 29.9),
            example({"extractKey": "tax"}, _LINES, None),
        ),
    ),
)
_NUMBERS = (
    Transform(
        "multiply",
        "Multiply a number, exactly.",
        "`{by, whole}`: the factor; `true` rounds to a whole number, a half away from zero",
        _prepare_multiply,
        (
            example({"by": 1_000_000, "whole": True}, "29.9", 29_900_000),
            example({"by": 0.1}, 29.9, 2.99),
            example({"by": -1}, 3, -3),
        ),
    ),
    Transform(
        "round",
        "Round a number, a half away from zero.",
        "`{digits}`: how many decimals are kept, 0 to 15; 0 makes it a whole number",
        _prepare_round,
        (
            example({"digits": 2}, 1.005, 1.01),
            example({"digits": 0}, "-2.5", -3),
        ),
    ),
    Transform(
        "absolute",
        "Take the sign off a number.",
        _TRUE,
        plain(absolute),
        (example(True, -12.5, 12.5), example(True, "-3", 3)),
    ),
)
_TEXTS = (
    Transform(
        "surround",
        "Put something around a text; an empty text becomes nothing.",
        "`{before, after}`",
        _prepare_surround,
        (
            example({"before": "fb.1."}, "1795169730250.AbC", "fb.1.1795169730250.AbC"),
            example({"before": "<", "after": ">"}, 7, "<7>"),
            example({"before": "id-"}, "", None),
        ),
    ),
    Transform(
        "matchPattern",
        "Keep a text that a pattern of RE2 matches from end to end.",
        "`{pattern}`",
        _prepare_match,
        (
            example({"pattern": "[0-9]{5,20}"}, "1234567890", "1234567890"),
            example({"pattern": "[0-9]{5,20}"}, "id 12345", None),
        ),
    ),
    Transform(
        "toJsonText",
        "Write a value as compact JSON, keys sorted.",
        _TRUE,
        plain(json_of),
        (
            example(True, {"b": 1.5, "a": ["x"]}, '{"a":["x"],"b":1.5}'),
            example(True, "x", '"x"'),
        ),
    ),
    Transform(
        "toUuid",
        "Make a UUID of a text by its SHA-256, the same one every time; a UUID stays.",
        _TRUE,
        plain(uuid_of),
        (
            example(True, "m-1", "a461b472-cb41-49ec-bdee-5c90cf8e4a78"),
            example(
                True,
                "38400000-8cf0-11bd-b23e-10b96e40000d",
                "38400000-8cf0-11bd-b23e-10b96e40000d",
            ),
        ),
    ),
    Transform(
        "toUlid",
        "Make a ULID of an event: its time, and the SHA-256 of its id; a ULID stays.",
        "`{idKey, timeKey}`: paths in the object, by default `messageId` and `timestamp`",
        _prepare_ulid,
        (
            example({}, _EVENT, "01M7W78FPAMHGV8WPB86MYRFFE"),
            example({"idKey": "id", "timeKey": "at"}, {"id": "m-1"}, None),
        ),
    ),
)
_FLAGS = (
    Transform(
        "toFlag",
        "Turn a word or number into true or false: `true t yes y on 1`, `false f no n off 0` and "
        "the empty text.",
        _TRUE,
        plain(bool_of),
        (example(True, "1", True), example(True, 0, False), example(True, "perhaps", None)),
    ),
    Transform(
        "flagToNumber",
        "Do the same with 1 for true and 0 for false.",
        _TRUE,
        plain(_flag_number),
        (example(True, True, 1), example(True, "no", 0)),
    ),
    Transform(
        "isPresent",
        "Say whether something stands there: no empty or blank text, list or object. Of nothing "
        "at all comes nothing: give `defaultBool: false`.",
        _TRUE,
        plain(_is_present),
        (example(True, "x", True), example(True, " ", False), example(True, 0, True)),
    ),
    Transform(
        "when",
        "Replace a value by one thing where it is this, by another where it is not.",
        "`{isEqual, then, else}`: compared as texts; without `else` nothing comes of the others",
        _prepare_when,
        (
            example({"isEqual": "ios", "then": 1, "else": 2}, "android", 2),
            example({"isEqual": True, "then": "LDU"}, "true", "LDU"),
            example({"isEqual": 1, "then": "yes"}, 2, None),
        ),
    ),
)
_OBJECTS = (
    Transform(
        "pick",
        "Keep one value of an object or a list.",
        "`{key}`: its path; a number counts into a list from 0",
        _prepare_pick,
        (example({"key": "b.c"}, _OBJECT, 2), example({"key": "d.1"}, _OBJECT, "y")),
    ),
    Transform(
        "keepKeys",
        "Keep these keys of an object.",
        "`{keys}`: a list",
        _prepare_keep,
        (example({"keys": ["a", "z"]}, _OBJECT, {"a": 1}),),
    ),
    Transform(
        "dropKeys",
        "Leave these keys of an object out.",
        "`{keys}`: a list",
        _prepare_drop,
        (example({"keys": ["b", "d"]}, _OBJECT, {"a": 1}),),
    ),
    Transform(
        "renameKeys",
        "Give keys of an object other names; the others stay.",
        "`{keys}`: from the old name to the new",
        _prepare_rename,
        (
            example(
                {"keys": {"a": "id", "z": "y"}}, _OBJECT, {"b": {"c": 2}, "d": ["x", "y"], "id": 1}
            ),
        ),
    ),
    Transform(
        "scalarsOnly",
        "Leave the objects and lists inside an object out.",
        _TRUE,
        plain(scalars_only),
        (example(True, _OBJECT, {"a": 1}),),
    ),
    Transform(
        "entries",
        "Turn an object into a list of objects, one for each of its keys.",
        "`{nameKey, valueKey}`, by default `name` and `value`",
        _prepare_entries,
        (
            example(
                {}, {"a": 1, "b": "x"}, [{"name": "a", "value": 1}, {"name": "b", "value": "x"}]
            ),
        ),
    ),
)

VALUE_TRANSFORMS = (*_LISTS, *_NUMBERS, *_TEXTS, *_FLAGS, *_OBJECTS)
