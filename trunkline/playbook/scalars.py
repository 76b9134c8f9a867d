"""Turning one JSON value into another kind of it: text, number, true or false.

What every function of a playbook is made of. Total: what cannot be turned is None, nothing raises,
and no text is longer than 64 KB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, cast

import msgspec

from trunkline.playbook.spec import TEXT_MAX

ARRAY_MAX = 1000  # items of an array that a function looks at
WHOLE_MAX = 2**63

_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?"
)
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0", ""})
# What lies less than this below a whole number is it: 24.99 * 100 is 2498.9999999999995.
_NOISE = 1e-9


def text_of(value: Any) -> str | None:
    """Return the text of a text, number or boolean; None for the rest."""
    if value is None:
        return None
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else value[:TEXT_MAX]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    return None


def number_text(number: float) -> str | None:
    """Return a number in plain digits: `5`, `25.5`, never `5.0` or `1e+21`. None for no number."""
    if not math.isfinite(number):
        return None
    if number == int(number):
        return str(int(number)) if abs(number) < 1e300 else None
    return format(Decimal(repr(number)), "f")


def json_text(value: Any) -> str | None:
    """Return the text of a scalar, or the JSON of an object or list, its keys sorted."""
    if not isinstance(value, (dict, list)):
        return text_of(value)
    try:
        return msgspec.json.encode(value, order="sorted").decode()[:TEXT_MAX]
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def number_of(value: Any) -> float | None:
    """Return a number (int or float) of a number, a boolean or the text of a decimal number."""
    if value is None:
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if -WHOLE_MAX < value < WHOLE_MAX else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _parse_number(value.strip()) if isinstance(value, str) and len(value) <= 500 else None


def _parse_number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if "." not in text and "e" not in text.lower() and abs(whole := int(text)) < WHOLE_MAX:
        return whole
    return number if math.isfinite(number) else None


def float_of(value: Any) -> float | None:
    """Return a float."""
    number = number_of(value)
    return None if number is None else float(number)


def bool_of(value: Any) -> bool | None:
    """Return true or false of a boolean, a number (0 is false) or a word: yes, off, t, 0, …."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value != 0
    word = value[:10].strip().lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else None


def truncated_int(value: Any) -> int | None:
    """Return the whole part. What floating point put a hair below a whole number counts as it."""
    number = number_of(value)
    if number is None or isinstance(number, int):
        return number
    return _whole(math.trunc(number + math.copysign(_NOISE, number)))


def rounded_int(value: Any) -> int | None:
    """Return the nearest whole number; a half goes away from zero."""
    number = number_of(value)
    if number is None or isinstance(number, int):
        return number
    whole = math.trunc(number)
    # Not trunc(number + 0.5): that sum is 1 for the last float below a half.
    return _whole(whole if abs(number - whole) < 0.5 else whole + (1 if number > 0 else -1))


def _whole(number: int) -> int | None:
    return number if abs(number) < WHOLE_MAX else None


def truncated_float(value: Any, decimals: Any = 2) -> float | None:
    """Return a float of which all but some decimals (0 to 15) were cut off."""
    number, places = number_of(value), truncated_int(2 if decimals is None else decimals)
    if number is None or places is None or not 0 <= places <= 15:
        return None
    if abs(number) >= 1e15:  # no float this large has decimals
        return float(number)
    exact = Decimal(repr(float(number)))
    return float(exact.quantize(Decimal(1).scaleb(-places), ROUND_DOWN))


def items_of(value: Any) -> list[Any] | None:
    """Return the first 1,000 items of a list; None for anything else."""
    return cast("list[Any]", value)[:ARRAY_MAX] if isinstance(value, list) else None


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return an object as it is; None for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def look_up(value: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path of keys inside objects; None where nothing does."""
    for key in path:
        if type(value) is not dict:  # JSON; an `isinstance` behind a call costs four times as much
            return None
        value = cast("dict[str, Any]", value).get(key)
    return value


def getter(path: Sequence[str]) -> Callable[[Any], Any]:
    """Return what looks up a path of one key or more, in half of the time of `look_up`."""
    get: Callable[[Any], Any] = _first(path[0])
    for key in path[1:]:
        get = _below(get, key)
    return get


def _first(key: str) -> Callable[[Any], Any]:
    def get(value: Any) -> Any:
        return value.get(key) if value.__class__ is dict else None

    return get


def _below(above: Callable[[Any], Any], key: str) -> Callable[[Any], Any]:
    def get(value: Any) -> Any:
        below = above(value)
        return below.get(key) if below.__class__ is dict else None

    return get
