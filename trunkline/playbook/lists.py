"""What functions do with lists and objects: pluck, join, sum, slice, flatten.

Total, like everything that a playbook is made of: of a list the first 1,000 items count, and what
is no list is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

from trunkline.playbook.scalars import (
    ARRAY_MAX,
    TEXT_MAX,
    WHOLE_MAX,
    fields_of,
    items_of,
    json_text,
    number_of,
    text_of,
    truncated_int,
)

FLATTENED_MAX = 10_000  # fields that an object may be flattened to
_CENT_DIGITS = 9  # sums of prices are rounded to this: 18.99 + 6 is 24.99 and no hair less


def pluck(value: Any, key: Any) -> list[Any] | None:
    """Return what each object of a list holds under a key; those without it are left out."""
    items = items_of(value)
    if items is None or not isinstance(key, str):
        return None
    found = [fields.get(key) for item in items if (fields := fields_of(item)) is not None]
    return [value for value in found if value is not None]


def join(value: Any, separator: Any) -> str | None:
    """Return the texts of a list with a separator between each two; nothing is skipped but null."""
    items = items_of(value)
    if items is None:
        return text_of(value)
    texts = [text for item in items if (text := json_text(item)) is not None]
    return (text_of(separator) or "").join(texts)[:TEXT_MAX]


def split(value: Any, separator: Any, count: Any = None) -> list[str] | None:
    """Return the parts of a text between separators.

    With a count, at most that many parts, and two where the count is 1: the last holds the rest.
    """
    text, between = text_of(value), text_of(separator)
    if text is None:
        return None
    if not between:
        return [text]
    number = truncated_int(count)
    most = ARRAY_MAX if number is None or number < 1 else min(max(number, 2), ARRAY_MAX)
    return text.split(between, most - 1)


def transform_items(value: Any, function: Callable[[Any], Any]) -> list[Any] | None:
    """Return what a function makes of each item; what it makes nothing of is left out."""
    items = items_of(value)
    if items is None:
        return None
    return [made for item in items if (made := function(item)) is not None]


def total(value: Any) -> float | None:
    """Return the sum of the numbers of a list; what is no number is left out."""
    items = items_of(value)
    if items is None:
        return None
    numbers = [number for item in items if (number := number_of(item)) is not None]
    return sum_of(numbers)


def sum_of(numbers: list[float]) -> float | None:
    """Return a sum without the noise of floats; None where it is too large."""
    if all(isinstance(number, int) for number in numbers):
        return bounded(sum(numbers))
    try:
        return bounded(math.fsum(numbers))
    except OverflowError:
        return None


def bounded(number: float) -> float | None:
    """Return a number that JSON can hold, a float without the noise of its last digits."""
    if isinstance(number, int):
        return number if abs(number) < WHOLE_MAX else None
    return round(number, _CENT_DIGITS) if math.isfinite(number) else None


def total_value(value: Any) -> float | None:
    """Return price × quantity of a product, or the sum of it over a list of products.

    A product without a quantity counts once; one without a price does not count. None where there
    is no price at all; 0 for an empty list.
    """
    items = items_of(value)
    if items is None:
        return _line_value(value)
    values = [line for item in items if (line := _line_value(item)) is not None]
    return sum_of(values) if values or not items else None


def _line_value(product: Any) -> float | None:
    fields = fields_of(product) or {}
    price, quantity = number_of(fields.get("price")), number_of(fields.get("quantity"))
    if price is None:
        return None
    return bounded(price * (1 if quantity is None else quantity))


def slice_items(value: Any, first: Any, last: Any = None) -> list[Any] | None:
    """Return the items from a first to a last place, both counted from 1 and both included."""
    items = items_of(value)
    if items is None:
        return None
    begin, end = truncated_int(first), truncated_int(last)
    return items[max(begin or 1, 1) - 1 : None if end is None else max(end, 0)]


def substring(value: Any, start: Any, end: Any = None) -> str | None:
    """Return the characters from `start`, counted from 0, up to and without `end`."""
    text = text_of(value)
    if text is None:
        return None
    begin, stop = truncated_int(start), truncated_int(end)
    return text[max(begin or 0, 0) : None if stop is None else max(stop, 0)]


def flatten(
    value: Any,
    prefix: Any = "",
    separator: Any = "_",
    depth: Any = 0,
    array_start_index: int = 0,
) -> dict[str, Any] | None:
    """Return an object of one level: the keys on the way to each value, joined by a separator.

    `prefix` comes first, where there is one. `depth`: a key is made of at most so many keys of the
    object, and what is deeper stays as it is; 0: no end. Items of lists are numbered from
    `array_start_index`. At most 10,000 fields.
    """
    fields = fields_of(value)
    if fields is None:
        return None
    most = truncated_int(depth) or 0
    between, before = text_of(separator) or "", text_of(prefix) or ""
    flat: dict[str, Any] = {}
    for path, leaf in _leaves(fields, most if most > 0 else ARRAY_MAX, array_start_index):
        flat[between.join([before, *path] if before else path)] = leaf
        if len(flat) == FLATTENED_MAX:
            break
    return flat


def _leaves(
    value: dict[str, Any] | list[Any], depth: int, start: int
) -> Iterator[tuple[list[str], Any]]:
    """Yield each leaf and the keys on the way to it. Empty objects and lists are leaves."""
    if isinstance(value, list):
        pairs = ((str(number), child) for number, child in enumerate(value[:ARRAY_MAX], start))
    else:
        pairs = iter(value.items())
    for key, child in pairs:
        if depth > 1 and isinstance(child, dict | list) and child:
            below = cast("dict[str, Any] | list[Any]", child)
            yield from (([key, *path], leaf) for path, leaf in _leaves(below, depth - 1, start))
        elif child is not None:
            yield [key], child
