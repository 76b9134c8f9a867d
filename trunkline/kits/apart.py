"""Whole numbers of a request that must differ: a vendor that tells events by their moment alone.

Two events of one millisecond would be one there. The later one gets the next number that is free.
It holds within a request: what comes with another one is not known any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from trunkline.kits.paths import getter


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
