"""The reference page of a destination kind, written from the kind itself.

What a person reads, what the workspace file is checked against and what the tests run are the same
docstring, the same struct and the same examples.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo

from trunkline.kit.destination import Channel, Destination, Example, Request, Settings

Kind = type[Destination[Any]] | type[Channel[Any]]

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
}
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def describe_kind(kind: Kind) -> str:
    """Return a Markdown page: what the kind is, its settings, its examples with what they give."""
    module = inspect.getmodule(kind)
    text = inspect.cleandoc((module.__doc__ if module else None) or kind.__doc__ or "")
    parts = [f"# {kind.title} (`{kind.kind}`)", text, "## Settings", *_settings(kind.settings_type)]
    parts.append("## Examples")
    for example in kind.examples:
        parts += _example(kind.kind, example)
    return "\n\n".join(parts) + "\n"


def _settings(settings_type: type[Settings]) -> list[str]:
    """Return the table of a kind's own settings, and the one of those that every kind has."""
    shared = {field.name for field in msgspec.structs.fields(Settings)}
    fields = msgspec.structs.fields(settings_type)
    hints = get_type_hints(settings_type, include_extras=True)
    own = [_row(field, hints[field.name]) for field in fields if field.name not in shared]
    rest = [_row(field, hints[field.name]) for field in fields if field.name in shared]
    parts = [_table(own)] if own else ["None of its own."]
    return [*parts, "Every destination also has:", _table(rest)]


def _table(rows: list[str]) -> str:
    return "\n".join(["| setting | values | default | |", "|---|---|---|---|", *rows])


def _row(field: FieldInfo, hint: Any) -> str:
    cells = (f"`{field.name}`", _values(hint), _default(field), _description(hint))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is NODEFAULT:
        factory = field.default_factory
        if factory is NODEFAULT:
            return "required"
        default = factory()
    return "" if default is None else f"`{msgspec.json.encode(default).decode()}`"


def _description(hint: Any) -> str:
    """Return the description nearest to the field: the outermost one."""
    metas = [part for part in _parts(hint) if isinstance(part, Meta)]
    return next((meta.description for meta in metas if meta.description), "")


def _parts(hint: Any) -> list[Any]:
    """Return a type and all that it is made of, the outermost first, the annotations before."""
    if get_origin(hint) is Annotated:
        plain, *extras = get_args(hint)
        return [*extras, *_parts(plain)]
    return [hint, *(part for inner in get_args(hint) for part in _parts(inner))]


def _values(hint: Any) -> str:
    """Say which values a type takes: `whole number, at least 1, at most 1000`."""
    origin = get_origin(hint)
    if origin is Annotated:
        plain, *extras = get_args(hint)
        bounds = [_bounds(extra) for extra in extras if isinstance(extra, Meta)]
        return ", ".join([_values(plain), *(bound for bound in bounds if bound)])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(_values(choice) for choice in get_args(hint))
    if origin is dict:
        return f"name → {_values(get_args(hint)[1])}"
    return _WORDS.get(hint, str(hint))


def _bounds(meta: Meta) -> str:
    said = [f"{word} {getattr(meta, name):,}" for name, word in _BOUNDS if _is_set(meta, name)]
    if (meta.extra_json_schema or {}).get("x-secret"):
        said.append("secret")
    return ", ".join(said)


def _is_set(meta: Meta, name: str) -> bool:
    return getattr(meta, name) is not None


def _example(kind: str, example: Example) -> list[str]:
    settings = msgspec.json.format(msgspec.json.encode(example.settings), indent=2).decode()
    is_one = len(example.events) == 1
    shown = example.events[0] if is_one else example.events
    events = msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()
    parts = [
        f"### {example.title}",
        f"Settings of a destination with `kind: {kind}`:",
        _block("json", settings),
        "The event:" if is_one else "The events:",
        _block("json", events),
    ]
    if example.request is not None:
        parts += ["The request:", _block("http", _request_text(example.request))]
    if example.text is not None:
        parts += ["What is written:", _block("", _text(example.text))]
    return parts


def _request_text(request: Request) -> str:
    head = [f"{request.method} {request.url}", *(f"{n}: {v}" for n, v in request.headers)]
    return "\n".join([*head, "", _text(request.body)]).rstrip("\n")


def _text(data: bytes) -> str:
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        return f"({len(data)} bytes, compressed)"


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
