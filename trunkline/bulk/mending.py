"""A refused event made whole and right before it is sent again.

What is kept of it was redacted: a value that was hidden is not known any more, and is never sent as
the mask that stands in its place. So whoever sends it again gives each of them, or the whole event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.redact import CUT_MARK, MASK_START
from trunkline.model.record import Posting

_PATHS_TOLD = 5
_WRITE_KEY = "writeKey"  # hidden wherever it stood; whoever sends again has a right of their own

_encode = msgspec.json.Encoder().encode


class Change(Struct, frozen=True):
    """What is changed: values by their path (`properties.size`, `items.0.id`), or the whole event.

    `key` names the key it is sent with, where not the one that it came with.
    """

    values: Mapping[str, Any] = {}
    whole: bytes = b""
    key: str = ""

    @property
    def is_any(self) -> bool:
        """Whether the event itself is changed."""
        return bool(self.values or self.whole)


class Mended(Struct, frozen=True):
    """The event as it is sent, and the body of the request around it."""

    event: bytes
    request: bytes


class Unable(Struct, frozen=True):
    """Why it cannot be sent; the sentence says what to do."""

    sentence: str


def mend(shown: bytes, posting: Posting, change: Change) -> Mended | Unable:
    """Return a refused event as it is to be sent again; `shown` is its redacted body."""
    kept = change.whole or posting.whole or shown
    if not change.whole and kept.endswith(CUT_MARK):
        return Unable("its body is larger than what is kept; give it whole with --edit FILE")
    try:
        value: Any = read_json(kept)[0]
    except JsonError as error:
        return Unable(f"its body cannot be read ({error}); give it anew with --edit FILE")
    for path, wanted in change.values.items():
        fault = _put(value, path.split("."), wanted)
        if fault:
            return Unable(f"--set {path}: {fault}")
    value = _without_write_keys(value)
    hidden = [".".join(path) for path in _find_masks(value, ())]
    if hidden:
        told = ", ".join(hidden[:_PATHS_TOLD]) + (", …" if len(hidden) > _PATHS_TOLD else "")
        return Unable(f"these values were hidden when it was kept: {told}; give them with --set")
    return Mended(_encode(value), _encode(_wrap(value, posting)))


def _wrap(value: Any, posting: Posting) -> Any:
    if not posting.within:
        return value
    beside: dict[str, Any] = msgspec.json.decode(posting.beside or b"{}")
    return {**beside, posting.within: [value]}


def _put(value: Any, path: Sequence[str], wanted: Any) -> str:
    """Put a value at a path, making objects on the way; return why that cannot be, or ""."""
    place = value
    for name in path[:-1]:
        below = _enter(place, name)
        if not isinstance(below, (dict, list)):
            return f"{name} is not inside an object or an array"
        place = cast("Any", below)
    last = path[-1]
    if isinstance(place, dict):
        cast("dict[str, Any]", place)[last] = wanted
        return ""
    items = cast("list[Any]", place)
    if not isinstance(place, list) or not last.isdigit() or int(last) >= len(items):
        return f"{last} is no field of an object, and no place in an array"
    items[int(last)] = wanted
    return ""


def _enter(place: Any, name: str) -> Any:
    if isinstance(place, dict):
        return cast("dict[str, Any]", place).setdefault(name, {})
    if isinstance(place, list) and name.isdigit():
        items = cast("list[Any]", place)
        return items[int(name)] if int(name) < len(items) else None
    return None


def _without_write_keys(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        return {
            name: _without_write_keys(item)
            for name, item in pairs.items()
            if not (name == _WRITE_KEY and _is_masked(item))
        }
    if isinstance(value, list):
        return [_without_write_keys(item) for item in cast("list[Any]", value)]
    return value


def _find_masks(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value, and of each name, that a mask stands in."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            if _is_masked(name):
                yield (*path, name)
            yield from _find_masks(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _find_masks(item, (*path, str(index)))
    elif _is_masked(value):
        yield path


def _is_masked(value: Any) -> bool:
    return isinstance(value, str) and MASK_START in value
