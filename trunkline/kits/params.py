"""The params of a kit: what an operator fills in where a text says `$$NAME$$`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from trunkline.playbook.nodes import Node, near_miss

PARAMS_MAX = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_MARK = re.compile(r"\$\$([A-Za-z0-9_]+)\$\$")
_FIELDS = ("name", "exampleValue", "defaultValue", "description", "isOptional", "isSensitive")


class Param(Struct, frozen=True):
    """One param. Without a default it must be given, unless it is optional: then it is empty."""

    name: str
    example: str = ""
    default: str | None = None
    description: str = ""
    is_optional: bool = False
    is_sensitive: bool = False

    @property
    def is_required(self) -> bool:
        """Say whether a destination must give it a value."""
        return self.default is None and not self.is_optional


def read_params(node: Node) -> tuple[Param, ...]:
    """Read the list of params, telling what is wrong with it."""
    found: dict[str, Param] = {}
    for entry in node.entries()[:PARAMS_MAX]:
        param = _read_param(entry)
        if param.name in found:
            entry.complain(f"{param.name} stands twice; keep one")
        found[param.name] = param
    return tuple(found.values())


def _read_param(node: Node) -> Param:
    fields = node.fields(_FIELDS, ("name",))
    name = fields["name"].text() if "name" in fields else ""
    if name and not _NAME.fullmatch(name):
        node.complain(f"{name[:100]!r} is no name; expected letters, digits and _, as API_KEY")
    texts = {key: fields[key].scalar_text() for key in _FIELDS[1:4] if key in fields}
    flags = {key: fields[key].flag() for key in _FIELDS[4:] if key in fields}
    return Param(
        name,
        texts.get("exampleValue", ""),
        texts.get("defaultValue"),
        texts.get("description", ""),
        flags.get("isOptional", False),
        flags.get("isSensitive", False),
    )


def merge_params(*lists: Sequence[Param]) -> tuple[Param, ...]:
    """Return the params of several lists, each name once, the first that names it."""
    merged: dict[str, Param] = {}
    for param in (param for params in lists for param in params):
        merged.setdefault(param.name, param)
    return tuple(merged.values())


def param_values(params: Sequence[Param], given: Mapping[str, str]) -> dict[str, str]:
    """Return the value of every param: what was given, else its default; others are left out.

    A value that was given for a name that no param has counts as well: the playbook beside the
    connection may declare it.
    """
    values = {p.name: p.default or "" for p in params if not p.is_required}
    return {**values, **given}


def fill_params(text: str, values: Mapping[str, str]) -> str:
    """Return a text with each `$$NAME$$` filled in; a name without a value stays as it is."""
    if "$$" not in text:
        return text
    return _MARK.sub(lambda mark: values.get(mark[1], mark[0]), text)


def used_params(tree: Any) -> dict[str, str]:
    """Return each param that the texts of a tree use, and the path where it stands first."""
    found: dict[str, str] = {}
    for path, text in _texts(tree, ""):
        for name in _MARK.findall(text):
            found.setdefault(name, path)
    return found


def _texts(tree: Any, path: str) -> Iterator[tuple[str, str]]:
    stack: list[tuple[str, Any]] = [(path, tree)]
    while stack:
        at, value = stack.pop()
        if isinstance(value, str):
            yield at, value
        elif isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            found = [(f"{at}.{key}" if at else key, child) for key, child in pairs]
            stack.extend(reversed(found))
        elif isinstance(value, list | tuple):
            values = cast("list[Any]", value)
            stack.extend((f"{at}[{n}]", values[n]) for n in reversed(range(len(values))))


def check_used(node: Node, names: Sequence[str]) -> None:
    """Tell of every `$$NAME$$` below a node that no param has as its name."""
    for name, path in used_params(node.value).items():
        if name not in names:
            hint = near_miss(name, names) or "; add it to `params`"
            node.below(path, None).complain(f"$${name}$$ names no param{hint}")
