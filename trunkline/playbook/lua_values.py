"""JSON values to Lua and back.

Lua has one kind of table and one kind of number, so some things are decided here. To Lua: null is
nil, a whole number beyond 2^53 becomes its digits as text (Lua would round it), and an empty list
or object is marked, so that it comes back as what it was. From Lua: a table whose keys are 1, 2, …
is a list, with null where there is nothing, unless it is mostly holes; any other is an object with
its keys as text, in order; an empty one that code made is a list, as in the kits; a whole number
has no decimals; what is no number is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from lupa.lua51 import lua_type

from trunkline.playbook.program import CodeError
from trunkline.playbook.scalars import WHOLE_MAX, number_text

DEPTH_MAX = 64  # levels, as many as an event may have
VALUES_MAX = 100_000  # texts, numbers, lists and objects in one result
_EXACT_MAX = 2**53

Container = dict[str, Any] | list[Any]
LuaTable = Any  # lupa has no types
_kind_of: Callable[[Any], object] = type  # what it is, without what it is to a type checker
_PLAIN: tuple[object, ...] = (str, bool, type(None))
_SCALARS: tuple[object, ...] = (*_PLAIN, int, float)


class LuaValues:
    """Turns values for one Lua runtime, with functions of its prelude."""

    def __init__(self, runtime: Any, prelude: Mapping[str, Callable[..., Any]]) -> None:
        self._table_from: Callable[..., LuaTable] = runtime.table_from
        self._empty_list = prelude["empty_list"]
        self._empty_object = prelude["empty_object"]
        self._mark_of = prelude["mark_of"]

    def to_lua(self, value: Any) -> Any:
        """Return what Lua is given for a JSON value. Raises `CodeError` where it is too deep."""
        if not isinstance(value, dict | list):
            return self._scalar(value)
        plain = cast("Container", value)
        # Measured on an event of 1.7 KB: 13 µs in lupa, 5 to see that nothing needs care; a copy
        # with care costs 10 more.
        if not _is_careless(plain, DEPTH_MAX, set()):
            plain = self._careful(plain, DEPTH_MAX)
        return self._table_from(plain, recursive=True) if isinstance(plain, dict | list) else plain

    def _scalar(self, value: Any) -> Any:
        kind = _kind_of(value)
        if kind is int and not -_EXACT_MAX <= value <= _EXACT_MAX:
            return str(value)
        if kind in _SCALARS:
            return value
        raise CodeError(f"a value of type {type(value).__name__} is no JSON")

    def _careful(self, value: Container, depth: int) -> Any:
        """Return a copy in which everything empty is a marked table, and nothing stands twice."""
        if depth == 0:
            raise CodeError(f"what it was given is more than {DEPTH_MAX} levels deep")
        if not value:
            return self._empty_object() if isinstance(value, dict) else self._empty_list()
        if isinstance(value, dict):
            return {key: self._below(child, depth) for key, child in value.items()}
        return [self._below(child, depth) for child in value]

    def _below(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict | list):
            return self._careful(cast("Container", value), depth - 1)
        return self._scalar(value)

    def from_lua(self, value: Any) -> Any:
        """Return the JSON of what Lua gave. Raises `CodeError`; UnicodeDecodeError for bad text."""
        kind = _kind_of(value)
        if kind is str or kind is bool or value is None:
            return value
        return _Reading(self._mark_of).value(value, DEPTH_MAX)


def _is_careless(value: Container, depth: int, seen: set[int]) -> bool:
    """Say whether lupa can turn a value as it is.

    It must hold nothing empty and no whole number beyond 2^53, be not too deep, and no part of it
    may stand in two places: lupa would make an empty table of the second.
    """
    if not value or depth == 0 or id(value) in seen:
        return False
    seen.add(id(value))
    for child in value.values() if isinstance(value, dict) else value:
        kind = _kind_of(child)
        if kind is dict or kind is list:
            if not _is_careless(child, depth - 1, seen):
                return False
        elif kind is int and not -_EXACT_MAX <= child <= _EXACT_MAX:
            return False
    return True


class _Reading:
    """Reads one result and counts what is in it."""

    def __init__(self, mark_of: Callable[[LuaTable], str]) -> None:
        self._mark_of = mark_of
        self._left = VALUES_MAX

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise CodeError(f"what it returned has more than {VALUES_MAX} values; return less")
        kind = _kind_of(value)
        if kind in _PLAIN:
            return value
        if kind is int or kind is float:
            return _number(value)
        what = lua_type(value)
        if what == "table":
            return self._table(value, depth)
        raise CodeError(
            f"it returned a {what or type(value).__name__}; expected text, numbers and tables"
        )

    def _table(self, table: LuaTable, depth: int) -> Any:
        if depth == 0:
            raise CodeError(
                f"what it returned is more than {DEPTH_MAX} levels deep, or holds itself; "
                "return a table of its own"
            )
        pairs = list(table.items())
        if not pairs:
            return {} if self._mark_of(table) == "object" else []
        last = _last_place(pairs)
        if last:
            items: list[Any] = [None] * last
            for place, child in pairs:
                items[place - 1] = self.value(child, depth - 1)
            return items
        fields = sorted(((_key(k), type(k) is str, v) for k, v in pairs), key=_by_name)
        return {
            key: made
            for key, _, child in fields
            if (made := self.value(child, depth - 1)) is not None
        }


def _by_name(field: tuple[str, bool, Any]) -> tuple[str, bool]:
    # Of the keys 1 and "1" the text comes last, and so wins.
    return field[:2]


def _last_place(pairs: list[tuple[Any, Any]]) -> int:
    """Return how long the list is that a table stands for; 0: it is an object."""
    last = 0
    for key, _ in pairs:
        if type(key) is not int or key < 1:
            return 0
        last = max(last, key)
    return last if last <= 2 * len(pairs) else 0


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    text = None if isinstance(key, bool) or not isinstance(key, int | float) else number_text(key)
    if text is None:
        raise CodeError(f"what it returned has a {lua_type(key) or 'boolean'} as a key; use text")
    return text


def _number(number: float) -> float | None:
    if not math.isfinite(number):
        return None
    if isinstance(number, int):
        # The runtime wraps what is just beyond its own whole numbers.
        return number if -WHOLE_MAX < number < WHOLE_MAX else float(number)
    return number
