"""Arithmetic on amounts: exact in decimals, for 29.9 times 1,000,000 is 29900000 and no hair less.

Total: what is no number, and what grows too large for JSON, is None. A half rounds away from zero.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from trunkline.playbook.lists import bounded, sum_of
from trunkline.playbook.scalars import WHOLE_MAX, fields_of, items_of, number_of

DIGITS_MAX = 15
_LARGEST = 1e18  # what is larger has no decimals, and no place in the body of a vendor


def decimal_of(value: Any) -> Decimal | None:
    """Return a number as the decimal that it is written as."""
    number = number_of(value)
    return None if number is None or abs(number) >= _LARGEST else Decimal(repr(number))


def number_from(exact: Decimal, *, is_whole: bool) -> float | None:
    """Return a decimal as a float, or rounded to an int."""
    if not is_whole:
        return bounded(float(exact))
    whole = int(exact.to_integral_value(ROUND_HALF_UP))
    return whole if abs(whole) < WHOLE_MAX else None


def multiply(value: Any, by: Decimal, *, is_whole: bool) -> float | None:
    """Return the product. It is an int where `is_whole`, or where both factors are whole."""
    exact = decimal_of(value)
    if exact is None:
        return None
    product = exact * by
    is_int = isinstance(number_of(value), int) and by == by.to_integral_value()
    return number_from(product, is_whole=is_whole or is_int)


def round_to(value: Any, digits: int) -> float | None:
    """Return a number rounded to this many decimals (0 to 15); an int where it has none to lose."""
    exact = decimal_of(value)
    if exact is None or isinstance(number_of(value), int) or not digits:
        return None if exact is None else number_from(exact, is_whole=True)
    return float(round(exact, 0) if abs(exact) >= 10**12 else _quantise(exact, digits))


def _quantise(exact: Decimal, digits: int) -> Decimal:
    return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def absolute(value: Any) -> float | None:
    """Return a number without its sign."""
    number = number_of(value)
    return None if number is None else abs(number)


def sum_values(value: Any, key: str, times_key: str = "") -> float | None:
    """Return the sum of what the objects of a list hold under a key, or of one object.

    With `times_key`, each is multiplied with what stands there, or counts once where no number
    does. None where there is nothing to sum.
    """
    items = items_of([value] if isinstance(value, dict) else value)
    lines = [_line(item, key, times_key) for item in items or ()]
    numbers = [line for line in lines if line is not None]
    return sum_of(numbers) if numbers else None


def _line(item: Any, key: str, times_key: str) -> float | None:
    fields = fields_of(item) or {}
    number = number_of(fields.get(key))
    times = number_of(fields.get(times_key)) if times_key else None
    return number if number is None or times is None else bounded(number * times)
