"""Transforms for the names of things: texts and keys as narrow vendors take them."""

from __future__ import annotations

import re
from typing import Any, cast

from trunkline.playbook.arguments import fields, text
from trunkline.playbook.scalars import ARRAY_MAX, text_of
from trunkline.playbook.transform import Function, Transform, example

_SEPARATOR_MAX = 10
_SLUGGED_MAX = 500  # characters of a text that count
_OTHERS = re.compile(r"[^a-z0-9]+")


def _prepare_slug(argument: Any) -> Function:
    given = fields(argument, ("separator",))
    separator = text(given, "separator", "_", _SEPARATOR_MAX)

    def slug(value: Any) -> str | None:
        found = text_of(value)
        if found is None:
            return None
        parts = _OTHERS.split(found[:_SLUGGED_MAX].lower())
        return separator.join(part for part in parts if part) or None

    def run(value: Any) -> Any:
        if not isinstance(value, dict):
            return slug(value)
        pairs = [*cast("dict[str, Any]", value).items()][:ARRAY_MAX]
        return {key: one for name, one in pairs if (key := slug(name)) is not None}

    return run


def _prepare_wrap(argument: Any) -> Function:
    key = text(fields(argument, ("key",), ("key",)), "key")
    if not key:
        raise ValueError("key: is empty; expected the key under which each value stands")

    def run(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        pairs = [*cast("dict[str, Any]", value).items()][:ARRAY_MAX]
        return {name: {key: one} for name, one in pairs if one is not None}

    return run


KEY_TRANSFORMS = (
    Transform(
        "toSlug",
        "Write a text, or the keys of an object, with the letters a to z and digits alone, in "
        "lower case; what stands between them becomes a separator.",
        "`{separator}`, by default `_`",
        _prepare_slug,
        (
            example({}, "Level Up!", "level_up"),
            example({"separator": "-"}, "  A  b/C ", "a-b-c"),
            example({}, "خرید", None),
            example({}, {"Plan Name": "gold", "é": 1}, {"plan_name": "gold"}),
        ),
    ),
    Transform(
        "wrapValues",
        "Put each value of an object into an object of its own.",
        "`{key}`: under which it stands there",
        _prepare_wrap,
        (example({"key": "value"}, {"plan": "gold"}, {"plan": {"value": "gold"}}),),
    ),
)
