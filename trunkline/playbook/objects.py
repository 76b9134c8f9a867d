"""Choosing and renaming the keys of objects; picking one value out of them. All is total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from trunkline.playbook.scalars import ARRAY_MAX, TEXT_MAX, fields_of, look_up

Fields = dict[str, Any]


def keep_keys(value: Any, keys: Sequence[str]) -> Fields | None:
    """Return an object with these of its keys alone, in this order; None where it has none."""
    fields = fields_of(value) or {}
    return {key: found for key in keys if (found := fields.get(key)) is not None} or None


def drop_keys(value: Any, keys: frozenset[str]) -> Fields | None:
    """Return an object without these keys; None where nothing is left."""
    fields = fields_of(value) or {}
    return {key: child for key, child in fields.items() if key not in keys} or None


def rename_keys(value: Any, names: Mapping[str, str]) -> Fields | None:
    """Return an object with other names for some keys. A renamed one wins over one of that name."""
    fields = fields_of(value)
    if fields is None:
        return None
    renamed = {to: fields[key] for key, to in names.items() if fields.get(key) is not None}
    kept = {key: child for key, child in fields.items() if key not in names}
    return {**kept, **renamed}


def scalars_only(value: Any) -> Fields | None:
    """Return an object without the values that are objects or lists; None where none is left."""
    fields = fields_of(value) or {}
    kept = {
        key: child
        for key, child in fields.items()
        if child is not None and not isinstance(child, dict | list)
    }
    return kept or None


def entries(value: Any, name_key: str, value_key: str) -> list[Fields] | None:
    """Return an object as a list of at most 1,000 objects, one for each key that has a value."""
    fields = fields_of(value)
    if fields is None:
        return None
    held = ((name, child) for name, child in fields.items() if child is not None)
    pairs = [pair for pair, _ in zip(held, range(ARRAY_MAX), strict=False)]
    return [{name_key: name, value_key: child} for name, child in pairs]


def pick(value: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path; a number counts into a list from 0."""
    for key in path:
        if isinstance(value, list):
            value = _item(cast("list[Any]", value), key)
        else:
            value = look_up(value, (key,))
    return value


def _item(items: list[Any], key: str) -> Any:
    is_place = len(key) < 7 and key.isascii() and key.isdigit()
    return items[int(key)] if is_place and int(key) < len(items) else None


def json_of(value: Any) -> str | None:
    """Return a value as compact JSON, keys sorted; None for more than 64 KB of it."""
    if value is None:
        return None
    try:
        made = msgspec.json.encode(value, order="sorted").decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return made if len(made) <= TEXT_MAX else None
