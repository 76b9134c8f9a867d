"""`keepValues`: the values of an object that are of some kinds, as they are or as texts.

Vendors with typed maps (texts to texts, texts to numbers) are sent properties by it.
"""

from __future__ import annotations

from typing import Any

from trunkline.playbook.arguments import choice, fields, text_list
from trunkline.playbook.scalars import ARRAY_MAX, fields_of, number_of, text_of
from trunkline.playbook.transform import Function, Transform, example

KINDS = ("text", "number", "boolean")


def _prepare(argument: Any) -> Function:
    given = fields(argument, ("kinds", "as"))
    kinds = frozenset(_kinds(given))
    is_text = "as" in given and choice(given["as"], ("text",)) == "text"

    def run(value: Any) -> dict[str, Any] | None:
        held = list((fields_of(value) or {}).items())[:ARRAY_MAX]
        kept = {
            key: text_of(child) if is_text else child
            for key, child in held
            if _kind_of(child) in kinds and _is_finite(child)
        }
        return kept or None

    return run


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else ""


def _is_finite(value: Any) -> bool:
    return isinstance(value, str) or number_of(value) is not None


def _kinds(given: dict[str, Any]) -> tuple[str, ...]:
    kinds = tuple(text_list(given, "kinds")) if "kinds" in given else KINDS
    for kind in kinds:
        try:
            choice(kind, KINDS)
        except ValueError as error:
            raise ValueError(f"kinds: {error}") from None
    return kinds


_PROPERTIES: dict[str, Any] = {"plan": "gold", "items": 2, "total": 29.9, "gift": False, "at": {}}

KIND_TRANSFORMS = (
    Transform(
        "keepValues",
        "Keep the values of an object that are of these kinds; objects and lists never.",
        "`{kinds, as}`: of `text`, `number`, `boolean`, by default all three; `as: text` writes "
        "each as text",
        _prepare,
        (
            example({"kinds": ["number"]}, _PROPERTIES, {"items": 2, "total": 29.9}),
            example(
                {"as": "text"},
                _PROPERTIES,
                {"plan": "gold", "items": "2", "total": "29.9", "gift": "false"},
            ),
            example({"kinds": ["text"]}, {"items": 2}, None),
        ),
    ),
)
