"""Checking the argument of a transform: what is wrong, and what was expected, in a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, cast

from trunkline.playbook.spec import TEXT_MAX

_SHOWN = 60  # characters of what somebody wrote that an error repeats


def choice(argument: Any, known: Sequence[str]) -> str:
    """Return a word that is one of those known. Raises ValueError."""
    if isinstance(argument, str) and argument in known:
        return argument
    raise ValueError(
        f"is {repr(argument)[:_SHOWN]}; expected {_one_of(known)}{_near(argument, known)}"
    )


def fields(argument: Any, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return an object that holds only known keys, and the required ones. Raises ValueError."""
    if not isinstance(argument, dict):
        raise ValueError(f"is {repr(argument)[:_SHOWN]}; expected an object with {_one_of(known)}")
    given = cast("dict[str, Any]", argument)
    for key in given:
        if key not in known:
            raise ValueError(f"has no {key[:_SHOWN]!r}; it has {_one_of(known)}{_near(key, known)}")
    for key in required:
        if key not in given:
            raise ValueError(f"lacks `{key}`; it cannot do without")
    return given


def text(given: dict[str, Any], key: str, default: str = "", length_max: int = TEXT_MAX) -> str:
    """Return the text under a key. Raises ValueError."""
    value = given.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key}: is {repr(value)[:_SHOWN]}; expected text")
    if len(value) > length_max:
        raise ValueError(f"{key}: has {len(value)} characters; at most {length_max} are taken")
    return value


def whole(given: dict[str, Any], key: str, default: int | None) -> int | None:
    """Return the whole number from 0 on under a key. Raises ValueError."""
    value = given.get(key, default)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{key}: is {repr(value)[:_SHOWN]}; expected a whole number from 0 on")


def flag(given: dict[str, Any], key: str) -> bool:
    """Return true or false under a key, false where it is absent. Raises ValueError."""
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key}: is {repr(value)[:_SHOWN]}; expected true or false")
    return value


def text_map(given: dict[str, Any], key: str) -> dict[str, str]:
    """Return the object of texts under a key, not empty. Raises ValueError."""
    value = given.get(key)
    entries = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if not entries or not all(isinstance(entry, str) and entry for entry in entries.values()):
        raise ValueError(f"{key}: expected an object of texts, not empty")
    return {name: text(entries, name) for name in entries}


def text_list(given: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return the list of texts under a key, not empty, none twice. Raises ValueError."""
    value = given.get(key)
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    if not entries or not all(isinstance(entry, str) and entry for entry in entries):
        raise ValueError(f"{key}: expected a list of texts, not empty")
    return tuple(dict.fromkeys(cast("list[str]", entries)))


def _one_of(known: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in known)


def _near(given: Any, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, 1, 0.6) if isinstance(given, str) else []
    return f"; did you mean `{close[0]}`?" if close else ""
