"""JSON values to Lua and back.

Lua has one kind of table and one kind of number, so some things are decided here. To Lua: null is
nil, a whole number beyond 2^53 becomes its digits as text (Lua would round it), and an empty list
or object is marked, so that it comes back as what it was. From Lua: a table whose keys are 1, 2, …
is a list, with null where there is nothing, unless it is mostly holes; any other is an object with
its keys as text, in order; an empty one that code made is a list, as in the kits; a whole number
has no decimals; what is no number is null.

Most of an event no code looks at, and to turn all of it takes ten times as long as the code. So an
object goes to Lua as a number (`give`); what is read of it is asked for (`look`, `opened`), and
where it comes back unread nothing of it was ever turned. What code made comes back as one row of
values: crossing over costs as much as reading three of them. `lua_prelude.py` is the other side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from lupa.lua51 import lua_type

from trunkline.playbook.program import CodeError
from trunkline.playbook.scalars import WHOLE_MAX, number_text

DEPTH_MAX = 64  # levels, as many as an event may have
VALUES_MAX = 100_000  # texts, numbers, lists and objects in one result
ROW_MAX = 3000  # values that cross over at once: Lua has room for 8,000
_EXACT_MAX = 2**53

# What Lua is told of what it is given; 0 stands for a value as it is.
_OBJECT, _LIST, _EMPTY_OBJECT, _EMPTY_LIST = 1, 2, 3, 4
# How the parts of a row begin.
_VALUE, _OBJECT_OF, _LIST_OF, _SCALARS_OF, _VIEW = 0, 1, 2, 3, 4  # and 5: a table itself

LuaTable = Any  # lupa has no types
Container = dict[str, Any] | list[Any]
_kind_of: Callable[[Any], Any] = type  # what it is, without what it is to a type checker
_PLAIN: tuple[object, ...] = (str, bool, type(None))


class LuaValues:
    """What one run of code is given, piece by piece, and what it gives."""

    def __init__(self, table_from: Callable[..., LuaTable]) -> None:
        self._table_from = table_from
        self._mark_of: Callable[[LuaTable], str | int] = lambda _: ""
        self._given: dict[int, Container] = {}  # objects and lists, by number
        # The number and kind of those that were asked for, by holder and key.
        self._parts: dict[tuple[int, str | int], tuple[int, int]] = {}
        self._last = 0

    def connect(self, mark_of: Callable[[LuaTable], str | int]) -> None:
        """Take from the prelude what says of an empty table: its mark, or a view's number."""
        self._mark_of = mark_of

    def begin(self) -> None:
        """Begin a run: forget what the one before was given."""
        self._given.clear()
        self._parts.clear()
        self._last = 0

    def give(self, value: Any) -> Any:
        """Return what Lua is given: a scalar, or a number and a kind. Raises `CodeError`."""
        kind = _kind_of(value)
        if kind is str or kind is float or kind is bool or value is None:
            return value
        if kind is dict or kind is list:
            self._last = number = self._last + 1
            if not value:
                return number, (_EMPTY_OBJECT if kind is dict else _EMPTY_LIST)
            self._given[number] = value
            return number, (_OBJECT if kind is dict else _LIST)
        if kind is int:
            return value if -_EXACT_MAX <= value <= _EXACT_MAX else str(value)
        raise CodeError(f"a value of type {type(value).__name__} is no JSON")

    def look(self, number: int, key: str) -> Any:
        """Return what an object has under a key, as `give` does: a part has one number."""
        value = cast("dict[str, Any]", self._given[number]).get(key)
        kind = _kind_of(value)
        if kind is str or kind is float or kind is bool or value is None:
            return value
        return self._part(number, key, value)

    def opened(self, number: int) -> Any:
        """Return all of an object or list: each value as kind, key, value in a row.

        Or a table of that row, and true, where it is long; or a table that is the list itself.
        """
        value = self._given.pop(number)
        # Who opens a list reads most of it: four products are 8 µs as tables, and as views 1.3 for
        # each value that is read.
        if isinstance(value, list) and _is_careless(value, DEPTH_MAX, set()):
            return self._table_from(value, recursive=True)
        row: list[Any] = []
        for key, child in value.items() if isinstance(value, dict) else enumerate(value, 1):
            if child is not None:
                given = self._part(number, key, child)
                row += (given[1], key, given[0]) if _kind_of(given) is tuple else (0, key, given)
        return tuple(row) if len(row) <= ROW_MAX else (self._table_from(row), True)

    def _part(self, number: int, key: str | int, value: Any) -> Any:
        kind = _kind_of(value)
        if kind is not dict and kind is not list:
            return self.give(value)
        given = self._parts.get((number, key))
        if given is None:
            given = self._parts[number, key] = self.give(value)
        return given

    def take(self, value: Any) -> Any:
        """Return the JSON of what Lua gave: a scalar, or the row of a table. Raises `CodeError`."""
        kind = _kind_of(value)
        if kind is str or kind is bool or value is None:
            return value
        reading = _Reading(self._mark_of, self._given)
        return reading.row(value)[0] if kind is tuple else reading.value(value, DEPTH_MAX)

    def take_all(self, row: Sequence[Any]) -> list[Any]:
        """Return the JSON of all values in a row. Raises `CodeError`."""
        return _Reading(self._mark_of, self._given).row(row)


def _is_careless(value: Container, depth: int, seen: set[int]) -> bool:
    """Say whether lupa can turn a value as it is.

    It must hold nothing empty, no null and no whole number beyond 2^53, be not too deep, and no
    part of it may stand in two places: lupa would make an empty table of the second.
    """
    if not value or depth == 0 or id(value) in seen:
        return False
    seen.add(id(value))
    for child in value.values() if isinstance(value, dict) else value:
        kind = _kind_of(child)
        if kind is dict or kind is list:
            if not _is_careless(child, depth - 1, seen):
                return False
        elif child is None or (kind is int and not -_EXACT_MAX <= child <= _EXACT_MAX):
            return False
    return True


class _Reading:
    """Reads one result and counts what is in it."""

    def __init__(
        self, mark_of: Callable[[LuaTable], str | int], given: Mapping[int, Container]
    ) -> None:
        self._mark_of = mark_of
        self._given = given
        self._left = VALUES_MAX

    def row(self, row: Sequence[Any]) -> list[Any]:
        """Return the JSON of all values in a row."""
        rest = iter(row)
        return [self._told(how, rest, DEPTH_MAX) for how in rest]

    def _told(self, how: int, rest: Iterator[Any], depth: int) -> Any:
        """Return the value that stands next in a row, and begins like that."""
        count = next(rest)
        if how == _OBJECT_OF:
            pairs = islice(rest, 2 * count)
            made: dict[str, Any] = dict(zip(pairs, pairs, strict=True))
            for _ in range(next(rest)):
                key = next(rest)
                made[key] = self._told(next(rest), rest, depth - 1)
            return {key: made[key] for key in sorted(made)}
        if how == _LIST_OF:
            return [self._told(next(rest), rest, depth - 1) for _ in range(count)]
        if how == _SCALARS_OF:
            return list(islice(rest, count))
        if how == _VIEW:
            return self._view(count, depth)
        return self.value(count, depth)  # a value, or a table itself

    def _view(self, number: int, depth: int) -> Any:
        value = self._given.get(number)
        if value is None:  # it could not be opened, and the code caught that
            raise CodeError("what it was given does not fit into its memory")
        return self._settled(value, depth)

    def _settled(self, value: Container, depth: int) -> Any:
        """Return what would come back of a value that was given, opened and returned."""
        self._left -= 1 + len(value)
        if self._left < 0:
            raise _too_many()
        if depth == 0:
            raise _too_deep()
        if isinstance(value, list):
            return self._settled_list(value, depth)
        made: dict[str, Any] = {}
        for key in sorted(value):
            child = value[key]
            kind = _kind_of(child)
            if kind is not str and kind is not bool:
                child = self._settled_child(child, kind, depth)
            if child is not None:
                made[key] = child
        return made

    def _settled_child(self, child: Any, kind: Any, depth: int) -> Any:
        if kind is dict or kind is list:
            return self._settled(child, depth - 1)
        if kind is float:
            return int(child) if child.is_integer() and abs(child) < WHOLE_MAX else _number(child)
        if kind is int and not -_EXACT_MAX <= child <= _EXACT_MAX:
            return str(child)
        return child

    def _settled_list(self, value: list[Any], depth: int) -> Any:
        items = [self._settled_child(child, _kind_of(child), depth) for child in value]
        if None not in value:
            return items
        pairs = [(n, items[n - 1]) for n, child in enumerate(value, 1) if child is not None]
        last = _last_place(pairs)
        if last or not pairs:
            return items[:last]
        return dict(sorted((str(n), item) for n, item in pairs if item is not None))

    def value(self, value: Any, depth: int) -> Any:
        """Return the JSON of a scalar or a table. Raises `CodeError`."""
        self._left -= 1
        if self._left < 0:
            raise _too_many()
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
            raise _too_deep()
        pairs = list(table.items())
        if not pairs:
            mark = self._mark_of(table)
            if mark != "opened":
                return self._empty(mark, depth)
            pairs = list(table.items())
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

    def _empty(self, mark: str | int, depth: int) -> Any:
        if isinstance(mark, str):
            return {} if mark == "object" else []
        return self._view(mark, depth)


def _too_many() -> CodeError:
    return CodeError(f"what it returned has more than {VALUES_MAX} values; return less")


def _too_deep() -> CodeError:
    return CodeError(
        f"what it returned is more than {DEPTH_MAX} levels deep, or holds itself; return a table "
        "of its own"
    )


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
