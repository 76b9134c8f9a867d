"""`collect`: a list out of values that stand in several places, each changed in its own way.

Vendors want the ids of a person as a list of objects, and what is known of a phone as a list in
which every place has its meaning. Both are made here, so that no code is needed for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from trunkline.playbook.arguments import fields, flag, text, text_list
from trunkline.playbook.scalars import getter
from trunkline.playbook.transform import Function, Transform, example

ITEMS_MAX = 50
Known = Mapping[str, Transform]
_OF_VALUES = ("path", "paths", "transforms")
_OF_ITEMS = (*_OF_VALUES, "fields", "needs", "key", "with", "else", "isNeeded")


def collect_transform(known: Known) -> Transform:
    """Return the transform; `known` are those that its items may use."""
    return Transform(
        "collect",
        "Put values of an object into a list. What comes to nothing is left out, and an empty list "
        "is nothing.",
        "`{items}`. Of an item `{path, transforms}` is the value; `paths` are several, the first "
        "that comes to something. `{fields}` makes an object of values instead, nothing where one "
        "of its `needs` is missing. `key` puts the value into an object, `with` adds constants to "
        "that, `else` stands where there is nothing. Without an item that `isNeeded` there is no "
        "list",
        partial(_prepare, known),
        _EXAMPLES,
    )


def _prepare(known: Known, argument: Any) -> Function:
    given = fields(argument, ("items",), ("items",))
    items = given["items"]
    if not isinstance(items, list) or not items:
        raise ValueError("items: expected a list of objects, not empty")
    listed = cast("list[Any]", items)
    if len(listed) > ITEMS_MAX:
        raise ValueError(f"items: are {len(listed)}; at most {ITEMS_MAX} are collected")
    makers = [_within(f"items[{n}]", _item, known, item) for n, item in enumerate(listed)]
    steps = [(make, flag(item, "isNeeded")) for make, item in zip(makers, listed, strict=True)]

    def run(value: Any) -> list[Any] | None:
        if not isinstance(value, dict):
            return None
        found: list[Any] = []
        for make, is_needed in steps:
            made = make(value)
            if made is not None:
                found.append(made)
            elif is_needed:
                return None
        return found or None

    return run


def _within(place: str, read: Callable[..., Function], *given: Any) -> Function:
    """Read a part, and say of what is wrong with it where it stands."""
    try:
        return read(*given)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _item(known: Known, item: Any) -> Function:
    given = fields(item, _OF_ITEMS)
    maker = _object(known, given) if "fields" in given else _value(known, given)
    constants = _constants(given)
    if key := text(given, "key"):
        maker = _wrapped(maker, key)
    elif constants and "fields" not in given:
        raise ValueError("`with` needs a `key`; say under which the value stands")
    if constants:
        maker = _joined(maker, constants)
    if "else" not in given:
        return maker
    otherwise = _scalar(given, "else")

    def run(value: Any) -> Any:
        made = maker(value)
        return otherwise if made is None else made

    return run


def _value(known: Known, given: dict[str, Any]) -> Function:
    """Return what reads one value: of the first path that comes to something."""
    named = text_list(given, "paths") if "paths" in given else (text(given, "path"),)
    gets = [getter(path.split(".")) for path in named if path]
    chain = [
        _within(f"transforms[{n}]", _link, known, link)
        for n, link in enumerate(given.get("transforms", ()))
    ]

    def run(value: Any) -> Any:
        for get in gets:
            found = get(value)
            for change in chain:
                found = change(found)
            if found is not None:
                return found
        return None

    return run


def _link(known: Known, link: Any) -> Function:
    if not isinstance(link, dict) or len(cast("Any", link)) != 1:
        raise ValueError("expected an object of one transform")
    ((name, argument),) = cast("dict[str, Any]", link).items()
    if name not in known:
        raise ValueError(f"{name[:60]!r} is no transform that may stand here")
    return known[name].prepare(argument)


def _object(known: Known, given: dict[str, Any]) -> Function:
    """Return what makes an object of several values."""
    if extra := [key for key in ("path", "paths", "transforms") if key in given]:
        raise ValueError(f"has `fields` and `{extra[0]}`; keep one")
    parts = cast("dict[str, Any]", given["fields"])
    if not isinstance(given["fields"], dict) or not parts:
        raise ValueError("fields: expected an object of values, not empty")
    pairs = [
        (key, _within(f"fields.{key}", _value, known, fields(part, _OF_VALUES)))
        for key, part in parts.items()
    ]
    needed = frozenset(text_list(given, "needs") if "needs" in given else ())

    def run(value: Any) -> Any:
        made = {key: one for key, make in pairs if (one := make(value)) is not None}
        return made if made and needed <= made.keys() else None

    return run


def _wrapped(maker: Function, key: str) -> Function:
    def run(value: Any) -> Any:
        made = maker(value)
        return None if made is None else {key: made}

    return run


def _joined(maker: Function, constants: Mapping[str, Any]) -> Function:
    def run(value: Any) -> Any:
        made = maker(value)
        return None if made is None else {**constants, **made}

    return run


def _constants(given: dict[str, Any]) -> dict[str, Any]:
    found = given.get("with", {})
    if not isinstance(found, dict):
        raise ValueError("with: expected an object of texts, numbers and booleans")
    constants = cast("dict[str, Any]", found)
    return {key: _scalar(constants, key) for key in constants}


def _scalar(given: Mapping[str, Any], key: str) -> Any:
    if not isinstance(given[key], str | int | float):
        raise ValueError(f"{key[:60]}: expected text, number or boolean")
    return given[key]


_PERSON = {"email": "u@example.com", "ip": "203.0.113.7", "os": "iOS"}
_ITEMS: Sequence[dict[str, Any]] = (
    {"path": "email", "transforms": [{"toHash": "md5"}], "key": "value", "with": {"type": "EMAIL"}},
    {"path": "phone", "key": "value", "with": {"type": "PHONE"}},
    {"fields": {"ip": {"path": "ip"}, "ua": {"path": "agent"}}, "needs": ["ip"]},
)
_EXAMPLES = (
    example(
        {"items": [*_ITEMS]},
        _PERSON,
        [{"type": "EMAIL", "value": "9357eac503877e7ede6f74eab9fac899"}, {"ip": "203.0.113.7"}],
    ),
    example(
        {
            "items": [
                {
                    "path": "os",
                    "transforms": [{"mapEnum": {"values": {"iOS": "i2"}}}],
                    "isNeeded": True,
                },
                {"path": "model", "else": ""},
                {"else": ""},
            ]
        },
        _PERSON,
        ["i2", "", ""],
    ),
)
