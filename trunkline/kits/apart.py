"""Whole numbers that must differ: a vendor that tells events by their moment alone.

Two events of one millisecond would be one there. The later one gets the next number that is free.
Within a request that is so for all that it carries. From one request to the next it is so as far
as is remembered which event took which number: the newest `KEPT_MAX`, until the node starts anew.
An event that goes again gets the number that it had.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from trunkline.kits.paths import getter
from trunkline.kits.request_spec import Apart

KEPT_MAX = 20_000  # events of a destination: about 10 MB
_Owned = tuple[bytes, str]  # whose event it is, and which
_Place = tuple[bytes, int]  # whose number it is, and which


class Taken:
    """Which event has which number, of the newest events."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._had: OrderedDict[_Owned, tuple[int, int]] = OrderedDict()  # → what it wanted and got
        self._free: dict[_Place, int] = {}  # a number that was taken → where to look for the next

    def __len__(self) -> int:
        return len(self._had)

    def number_for(self, owner: bytes, wanted: int, event: str) -> int:
        """Return the number that the event had, or the first from `wanted` on that is free."""
        had = self._had.get((owner, event))
        if had is not None:
            if had[0] == wanted:
                self._had.move_to_end((owner, event))
                return had[1]
            self._free.pop((owner, had[1]), None)
        number = self._take(owner, wanted)
        self._had[owner, event] = (wanted, number)
        self._had.move_to_end((owner, event))
        if len(self._had) > self._kept_max:
            (old_owner, _), (_, old) = self._had.popitem(last=False)
            self._free.pop((old_owner, old), None)
        return number

    def _take(self, owner: bytes, wanted: int) -> int:
        passed = [wanted]
        while (next_ := self._free.get((owner, passed[-1]))) is not None:
            passed.append(next_)
        number = passed[-1]
        for one in passed:  # so that a crowd at one moment is passed in one step next time
            self._free[owner, one] = number + 1
        return number


def keep_apart(
    values: Sequence[dict[str, Any]], events: Sequence[str], apart: Apart, taken: Taken
) -> list[dict[str, Any]]:
    """Return objects whose whole numbers are nobody else's; `events` are what each was made of.

    Those that change are copied; where no whole number stands nothing changes.
    """
    get, owns = getter(apart.key), [getter(path) for path in apart.by]
    steps = apart.key.split(".")
    made: list[dict[str, Any]] = []
    for value, event in zip(values, events, strict=True):
        number = get(value)
        if type(number) is not int:
            made.append(value)
            continue
        owner = msgspec.json.encode([own(value) for own in owns], order="sorted")
        found = taken.number_for(owner, number, event)
        made.append(value if found == number else _with(value, steps, found))
    return made


def set_apart(values: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Return objects of which no two have the same whole number at a dotted path.

    Those that change are copied; where no whole number stands nothing changes.
    """
    get = getter(path)
    steps = path.split(".")
    free: dict[int, int] = {}  # a number that was taken → where to look for the next free one
    made: list[dict[str, Any]] = []
    for value in values:
        number = get(value)
        if type(number) is not int:
            made.append(value)
            continue
        found = _take(free, number)
        made.append(value if found == number else _with(value, steps, found))
    return made


def _take(free: dict[int, int], number: int) -> int:
    found = number
    while found in free:
        found = free[found]
    free[found] = free[number] = found + 1
    return found


def _with(value: dict[str, Any], steps: Sequence[str], number: int) -> dict[str, Any]:
    if len(steps) == 1:
        return {**value, steps[0]: number}
    below = cast("dict[str, Any]", value[steps[0]])
    return {**value, steps[0]: _with(below, steps[1:], number)}
