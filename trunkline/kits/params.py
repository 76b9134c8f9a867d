"""The params of a kit: what an operator fills in where a text says `$$NAME$$`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from msgspec import Struct

from trunkline.kits.currencies import CURRENCIES, is_currencies
from trunkline.kits.patterns import full_match
from trunkline.playbook.nodes import Node, near_miss, one_of

PARAMS_MAX = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_MARK = re.compile(r"\$\$([A-Za-z0-9_]+)\$\$")
_TEXTS = ("exampleValue", "defaultValue", "description", "expected")
_FLAGS = ("isOptional", "isSensitive")
_FIELDS = ("name", *_TEXTS, *_FLAGS, "pattern", "choices", "goodUntil")
CHOICES_SHOWN = 30
_SHOWN = 80  # characters of a value that a sentence repeats


class Param(Struct, frozen=True):
    """One param. Without a default it must be given, unless it is optional: then it is empty.

    A value must be one of `choices` where there are some, and match `pattern` (RE2) in full;
    `expected` says in words what that is. `choices: ISO 4217` in a kit is every currency.
    `good_until` has the last day (YYYY-MM-DD) of values that the vendor ends.
    """

    name: str
    example: str = ""
    default: str | None = None
    description: str = ""
    is_optional: bool = False
    is_sensitive: bool = False
    expected: str = ""
    pattern: str = ""
    choices: tuple[str, ...] = ()
    good_until: Mapping[str, str] = {}

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
    texts = {key: fields[key].scalar_text() for key in _TEXTS if key in fields}
    flags = {key: fields[key].flag() for key in _FLAGS if key in fields}
    param = Param(
        name,
        texts.get("exampleValue", ""),
        texts.get("defaultValue"),
        texts.get("description", ""),
        flags.get("isOptional", False),
        flags.get("isSensitive", False),
        texts.get("expected", ""),
        _read_pattern(fields["pattern"]) if "pattern" in fields else "",
        _read_choices(fields["choices"]) if "choices" in fields else (),
        _read_days(fields["goodUntil"]) if "goodUntil" in fields else {},
    )
    for key, value in (("exampleValue", param.example), ("defaultValue", param.default)):
        if value and (fault := _fault(param, value)):
            fields[key].complain(fault)
    return param


def _read_choices(node: Node) -> tuple[str, ...]:
    if not isinstance(node.value, list):
        return CURRENCIES if is_currencies(node) else ()
    return tuple(one.scalar_text() for one in node.entries())


def _read_pattern(node: Node) -> str:
    pattern = node.text()
    try:
        full_match(pattern)
    except ValueError as error:
        node.complain(str(error))
        return ""
    return pattern


def _read_days(node: Node) -> dict[str, str]:
    days = {value: below.text() for value, below in node.named().items()}
    for value, day in days.items():
        try:
            date.fromisoformat(day)
        except ValueError:
            node.below(value, day).complain(f"is {day[:40]!r}; expected a day, as 2027-03-01")
    return days


def param_problems(params: Sequence[Param], given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is wrong with values that were given, as (name, sentence) by param.

    No sentence shows a value of a sensitive param. Whether all were given is not asked here, and
    an empty value counts as not given.
    """
    pairs = [(param, given.get(param.name, "")) for param in params]
    found = [(param.name, _fault(param, value)) for param, value in pairs if value]
    return [(name, fault) for name, fault in found if fault]


def param_endings(
    params: Sequence[Param], given: Mapping[str, str], today: str
) -> list[tuple[str, str]]:
    """Return (name, sentence) for each value in use that the vendor ends, or ended.

    `today` is YYYY-MM-DD. A param that was not given counts with its default.
    """
    found: list[tuple[str, str]] = []
    for param in params:
        day = param.good_until.get(given.get(param.name) or param.default or "")
        if day:
            verb = "ended" if day < today else "ends"
            found.append((param.name, f"the vendor {verb} this value on {day}; choose a newer one"))
    return found


def _fault(param: Param, value: str) -> str:
    """Say what is wrong with a value; nothing where it is as it should be."""
    told = "has another value" if param.is_sensitive else f"is {value[:_SHOWN]!r}"
    if param.choices and value not in param.choices:
        return f"{told}; expected {choices_text(param) or one_of(param.choices)}"
    if param.pattern and not full_match(param.pattern)(value):
        wanted = param.expected or f"a text that matches {param.pattern}"
        return f"{told}; expected {wanted}"
    return ""


def choices_text(param: Param) -> str:
    """Return in words what the choices are, where they are too many to be listed; else nothing."""
    return "" if len(param.choices) <= CHOICES_SHOWN else param.expected or "one of its choices"


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


def fill_tree(tree: Any, values: Mapping[str, str]) -> Any:
    """Return a tree of JSON with each `$$NAME$$` of its texts filled in."""
    if isinstance(tree, str):
        return fill_params(tree, values)
    if isinstance(tree, dict):
        pairs = cast("dict[str, Any]", tree).items()
        return {key: fill_tree(value, values) for key, value in pairs}
    if isinstance(tree, list | tuple):
        return [fill_tree(value, values) for value in cast("list[Any]", tree)]
    return tree


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
            at = f"{node.path}{path}" if path.startswith("[") else node.below(path, None).path
            Node(None, at, node.problems).complain(f"$${name}$$ names no param{hint}")
