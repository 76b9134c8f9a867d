"""`mapItems`: a list of new objects made of a list of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from trunkline.playbook.arguments import fields, text_list, text_map
from trunkline.playbook.scalars import getter, items_of, json_text, number_of
from trunkline.playbook.transform import Function, Transform, example

Shape = Callable[[dict[str, Any]], None]
Gets = list[tuple[str, Callable[[Any], Any]]]


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


_KINDS: dict[str, Function] = {"numbers": number_of, "texts": json_text, "lists": _listed}


def prepare_items(argument: Any) -> Function:
    """Return the function of `mapItems`. Raises ValueError for an argument that does not fit."""
    given = fields(argument, ("fields", "groups", *_KINDS, "defaults"), ("fields",))
    gets = _gets_of(given, "fields")
    groups = _groups_of(given)
    shapes = _shapes_of(given, [key for key, _ in gets])

    def item_of(item: Any) -> dict[str, Any]:
        made = {key: value for key, get in gets if (value := get(item)) is not None}
        if made:
            for shape in shapes:
                shape(made)
            for name, inner in groups:
                if found := {key: value for key, get in inner if (value := get(item)) is not None}:
                    made[name] = found
        return made

    def run(value: Any) -> list[Any] | None:
        # One object is a list of one: the product of an event, where another event has several.
        items = items_of([value] if isinstance(value, dict) else value)
        return None if items is None else [made for item in items if (made := item_of(item))]

    return run


def _gets_of(given: dict[str, Any], name: str) -> Gets:
    return [(key, getter(path.split("."))) for key, path in text_map(given, name).items()]


def _groups_of(given: dict[str, Any]) -> list[tuple[str, Gets]]:
    """Return the objects inside of each new one: their keys, and what stands in them."""
    groups: Any = given.get("groups", {})
    if not isinstance(groups, dict) or ("groups" in given and not groups):
        raise ValueError("groups: expected an object of objects of texts, not empty")
    named = cast("dict[str, Any]", groups)
    for name in named:
        if name in given["fields"]:
            raise ValueError(f"groups: {name[:60]!r} is one of the `fields`, too")
    return [(name, _gets_of(named, name)) for name in named]


def _shapes_of(given: dict[str, Any], keys: Sequence[str]) -> list[Shape]:
    """Return what is done to each new object: kinds of values first, then what is missing."""
    found = [
        _change_to(text_list(given, name), change)
        for name, change in _KINDS.items()
        if _names_fields(given, name, keys)
    ]
    return [*found, _fill_with(given["defaults"])] if "defaults" in given else found


def _names_fields(given: dict[str, Any], name: str, keys: Sequence[str]) -> bool:
    if name not in given:
        return False
    for key in text_list(given, name):
        if key not in keys:
            raise ValueError(f"{name}: {key[:60]!r} is none of the `fields`")
    return True


def _change_to(keys: Sequence[str], change: Function) -> Shape:
    def shape(item: dict[str, Any]) -> None:
        for key in keys:
            value = change(item[key]) if key in item else None
            if value is not None:
                item[key] = value
            else:
                item.pop(key, None)

    return shape


def _fill_with(defaults: Any) -> Shape:
    if not isinstance(defaults, dict) or not defaults:
        raise ValueError("defaults: expected an object of texts, numbers and booleans, not empty")
    pairs = [*cast("dict[str, Any]", defaults).items()]
    for key, value in pairs:
        if not isinstance(value, str | int | float):
            raise ValueError(f"defaults: {key[:60]!r} must be text, number or boolean")

    def shape(item: dict[str, Any]) -> None:
        for key, value in pairs:
            item.setdefault(key, value)

    return shape


_PRODUCTS = [{"id": 7, "name": "Uno", "price": 3}, {"id": 8, "price": "18.99"}]

MAP_ITEMS = Transform(
    "mapItems",
    "Make a list of objects out of a list of objects, or of one.",
    "`{fields, groups, numbers, texts, lists, defaults}`: the keys of the new objects, each with "
    "the path in the old ones; the same for objects inside of them; which of the keys become "
    "numbers, texts, or lists of one; what is written where one is missing",
    prepare_items,
    (
        example(
            {"fields": {"item_id": "id", "item_name": "name"}},
            _PRODUCTS,
            [{"item_id": 7, "item_name": "Uno"}, {"item_id": 8}],
        ),
        example(
            {"fields": {"item_id": "id"}, "groups": {"more": {"called": "name"}}},
            _PRODUCTS,
            [{"item_id": 7, "more": {"called": "Uno"}}, {"item_id": 8}],
        ),
        example(
            {
                "fields": {"id": "id", "price": "price"},
                "numbers": ["price"],
                "texts": ["id"],
                "defaults": {"quantity": 1},
            },
            _PRODUCTS,
            [
                {"id": "7", "price": 3, "quantity": 1},
                {"id": "8", "price": 18.99, "quantity": 1},
            ],
        ),
    ),
)
