"""Events that JavaScript sees through views: what it reads is handed in, what it changed comes out.

QuickJS takes 25 µs to parse an event of 1.5 KB and write it again, most of which no function looks
at. So the event stays here. `look` and `text` answer what a view asks (`javascript_frame.py`), and
`changed` makes the event anew of what was told on return: objects that nobody changed are shared
with the event that was given.

What comes out is what QuickJS would have written. Numbers differ there: it has no `1.0` and no
integer past 2^53. An event that holds such goes through it whole, which few do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from trunkline.jail.javascript_frame import MISSING, PARSE, UNCHANGED, VIEW

_SAFE = 2**53
_ABSENT: Any = object()
_kind: Callable[[Any], Any] = type  # and nothing is known of the value by it
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Given(Struct):
    """The objects of one event that have views, and where each stands in another."""

    objects: list[dict[str, Any]]
    places: list[tuple[int, str]]


class Views:
    """The events that a world has views of: that of the call that runs, and those it kept."""

    def __init__(self) -> None:
        self._given: dict[float, _Given] = {}
        self._call = 0.0
        self._is_whole = False
        self.wholes = 0  # of the events before, one after the other, that were asked for whole

    @property
    def held(self) -> int:
        """Return how many events are held."""
        return len(self._given)

    def begin(self, event: dict[str, Any]) -> float:
        """Give views of an event; return the number of the call."""
        self._call += 1.0
        self._is_whole = False
        self._given[self._call] = _Given([event], [(0, "")])
        return self._call

    def forget(self) -> None:
        """Drop the event of the call before: no view of it is left."""
        self.wholes = self.wholes + 1 if self._is_whole else 0
        self._given.pop(self._call - 1.0, None)

    def look(self, call: float, index: float, key: str) -> Any:
        """Return a value that has no parts, or how to come by it."""
        given = self._given[call]
        value = given.objects[int(index)].get(key, _ABSENT)
        kind = _kind(value)
        if kind is str:  # the binding ends strings at a NUL, and takes no half of a surrogate pair
            return value if value > " " and value.isascii() and "\0" not in value else PARSE
        if kind is dict:
            given.objects.append(value)
            given.places.append((int(index), key))
            return VIEW
        if value is None or kind is bool:
            return value
        if kind is float or kind is int:  # an int would lose all but 32 bits
            return float(value) if -_SAFE <= value <= _SAFE else PARSE
        return MISSING if value is _ABSENT else PARSE

    def text(self, call: float, index: float, key: str | None) -> str:
        """Return a value as JSON; without a key the whole object."""
        value = self._given[call].objects[int(index)]
        self._is_whole |= key is None and index == 0
        return _encode(value if key is None else value[key]).decode()

    def changed(self, told: str) -> dict[str, Any]:
        """Return what became of a view, by what all views of the call tell."""
        given = self._given[self._call]
        if told == UNCHANGED:
            return given.objects[0]
        said: list[Any] = _decode(told)
        index: int = said[1]
        if len(said) == 3 and index == 0:
            return _changed_in_one(given, said[2])
        by_view: dict[int, list[Any]] = {tale[0]: tale for tale in said[2:]}
        made: dict[int, dict[str, Any]] = {}
        for n in range(max(by_view, default=-1), -1, -1):  # inner objects before outer ones
            if n not in by_view and n not in made:
                continue
            made[n] = whole = _changed(given.objects[n], made.get(n), by_view.get(n))
            parent, key = given.places[n]
            if n:
                made.setdefault(parent, {})[key] = whole
        return made.get(index, given.objects[index])


def _changed_in_one(given: _Given, tale: list[Any]) -> dict[str, Any]:
    """Make an event anew of which one object alone was changed."""
    n: int = tale[0]
    whole = _changed(given.objects[n], None, tale)
    while n:
        n, key = given.places[n]
        whole = {**given.objects[n], key: whole}
    return whole


def _changed(
    given: dict[str, Any], inner: dict[str, Any] | None, tale: list[Any] | None
) -> dict[str, Any]:
    """Make an object anew: of the changed objects in it, and of what its view tells."""
    whole: dict[str, Any] = {**given, **inner} if inner else given
    if tale is None:
        return whole
    values: dict[str, Any] = tale[1]
    if len(tale) == 2:
        return {**whole, **values}
    steps: list[str | list[str]] | None = tale[2]
    return values if steps is None else _replayed(dict(whole), steps, values)


def _replayed(
    whole: dict[str, Any], steps: list[str | list[str]], values: dict[str, Any]
) -> dict[str, Any]:
    """Assign and delete in the order of the code, which is the order of keys."""
    for step in steps:
        if isinstance(step, str):
            whole.setdefault(step, None)
        else:
            whole.pop(step[0], None)
    for step in steps:
        if isinstance(step, str):
            if step in values:
                whole[step] = values[step]
            else:  # undefined, or a function
                whole.pop(step, None)
    return whole


def is_odd(value: Any) -> bool:
    """Say whether JavaScript would write an object or a list otherwise, or it is no JSON.

    It writes `1.0` as `1`, `-0.0` as `0`, and has no integers past 2^53.
    """
    below = [value]
    for outer in below:
        for child in outer.values() if _kind(outer) is dict else outer:
            kind = _kind(child)
            if kind is str:
                continue
            if kind is dict or kind is list:
                below.append(child)
            elif _is_odd_number(child, kind):
                return True
    return False


def _is_odd_number(value: Any, kind: Any) -> bool:
    if kind is float:
        return not value % 1 > 0  # also where it is infinite or no number
    if kind is int:
        return not -_SAFE <= value <= _SAFE
    return value is not None and kind is not bool
