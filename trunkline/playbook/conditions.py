"""What `byConditions` can ask of one value of an event.

Each operator checks its argument once and returns a predicate of the value at `inputPath`; None
stands for a value that is not there, and for null. Predicates are total.

To the operators on text nothing there is the empty text: the kits ask "not equal to ''" for "is
there". Numbers, booleans, objects and lists are no text: they equal none and match none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import re2  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct

from trunkline.playbook.quick_patterns import quick_search
from trunkline.playbook.scalars import number_of

Argument = dict[str, Any]
Predicate = Callable[[Any], bool]
FieldKind = str  # of text, flag, number, texts

_PATTERN_BYTES_MAX = 1 << 20  # what RE2 may use for one pattern


class Operator(Struct, frozen=True):
    """A comparison: what it is true of, what it holds beside `inputPath`, and its predicate.

    `prepare` raises `ValueError`, a sentence, for an argument whose fault only shows then. Of the
    fields only `ignoreCase` may be left out.
    """

    description: str
    fields: Mapping[str, FieldKind]
    prepare: Callable[[Argument], Predicate]


def text_at(value: Any) -> str | None:
    """Return the text that a value is to the operators on text; None for what is none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else None


def number_at(value: Any) -> float | None:
    """Return the number that a value is, or that a text writes; true and false are none."""
    return None if isinstance(value, bool) else number_of(value)


def _folding(argument: Argument) -> Callable[[str], str]:
    return str.casefold if argument.get("ignoreCase") else str


def _prepare_equal(argument: Argument) -> Predicate:
    fold = _folding(argument)
    wanted = fold(argument["value"])

    def is_equal(value: Any) -> bool:
        text = text_at(value)
        return text is not None and fold(text) == wanted

    return is_equal


def _prepare_not_equal(argument: Argument) -> Predicate:
    is_equal = _prepare_equal(argument)
    return lambda value: not is_equal(value)


def _prepare_in(argument: Argument) -> Predicate:
    fold = _folding(argument)
    wanted = frozenset(map(fold, argument["values"]))

    def is_in(value: Any) -> bool:
        text = text_at(value)
        return text is not None and fold(text) in wanted

    return is_in


def _prepare_starts(argument: Argument) -> Predicate:
    fold = _folding(argument)
    wanted = fold(argument["value"])

    def does_start(value: Any) -> bool:
        text = text_at(value)
        return text is not None and fold(text).startswith(wanted)

    return does_start


def compile_pattern(pattern: str, *, is_folding: bool = False) -> Any:
    """Return a pattern of RE2, with `search` and `fullmatch`. Raises ValueError, a sentence.

    Both raise UnicodeEncodeError for a text with half of a surrogate pair.
    """
    library: Any = re2  # it brings no types along
    options = library.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES_MAX
    options.case_sensitive = not is_folding
    try:
        return library.compile(pattern, options)
    except library.error as error:
        said: Any = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is no regular expression that RE2 takes: {text}") from None


def _prepare_matches(argument: Argument) -> Predicate:
    pattern, is_folding = argument["value"], bool(argument.get("ignoreCase"))
    search = compile_pattern(pattern, is_folding=is_folding).search
    quick = None if is_folding else quick_search(pattern)

    def does_match(value: Any) -> bool:
        text = text_at(value)
        if quick is not None and text is not None and text.isascii():
            return quick(text)
        try:
            return text is not None and search(text) is not None
        except UnicodeEncodeError:  # half of a surrogate pair
            return False

    return does_match


def _prepare_boolean(argument: Argument) -> Predicate:
    wanted: bool = argument["value"]
    return lambda value: value is wanted


def _comparing(compare: Callable[[float, float], bool]) -> Callable[[Argument], Predicate]:
    def prepare(argument: Argument) -> Predicate:
        wanted: float = argument["value"]

        def holds(value: Any) -> bool:
            number = number_at(value)
            return number is not None and compare(number, wanted)

        return holds

    return prepare


def _asking(predicate: Predicate) -> Callable[[Argument], Predicate]:
    return lambda _argument: predicate


_TEXT = {"value": "text", "ignoreCase": "flag"}
_NUMBER = {"value": "number"}

OPERATORS: Mapping[str, Operator] = {
    "inputPathExists": Operator(
        "something stands there", {}, _asking(lambda value: value is not None)
    ),
    "inputPathIsObject": Operator(
        "an object stands there", {}, _asking(lambda value: isinstance(value, dict))
    ),
    "inputPathIsString": Operator(
        "text stands there", {}, _asking(lambda value: isinstance(value, str))
    ),
    "stringEqual": Operator("it is this text", _TEXT, _prepare_equal),
    "stringNotEqual": Operator("it is not this text", _TEXT, _prepare_not_equal),
    "stringIn": Operator(
        "it is one of these texts", {"values": "texts", "ignoreCase": "flag"}, _prepare_in
    ),
    "stringStartsWith": Operator("it begins with this text", _TEXT, _prepare_starts),
    "stringMatches": Operator("this RE2 pattern is found in it", _TEXT, _prepare_matches),
    "booleanEqual": Operator("it is true, or false", {"value": "flag"}, _prepare_boolean),
    "numberEqual": Operator("it is this number", _NUMBER, _comparing(operator.eq)),
    "numberGreater": Operator("it is greater", _NUMBER, _comparing(operator.gt)),
    "numberGreaterOrEqual": Operator("it is not less", _NUMBER, _comparing(operator.ge)),
    "numberLess": Operator("it is less", _NUMBER, _comparing(operator.lt)),
    "numberLessOrEqual": Operator("it is not greater", _NUMBER, _comparing(operator.le)),
}
GROUPS = ("matchesAll", "matchesAny")
