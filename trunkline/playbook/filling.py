"""Filling in params: `$$NAME$$` in any text of a playbook becomes a destination's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from trunkline.playbook.check import playbook_tree, read_playbook
from trunkline.playbook.measure import CHARACTERS_MAX
from trunkline.playbook.nodes import near_miss
from trunkline.playbook.program import PlaybookError, Problem
from trunkline.playbook.reading import MARK
from trunkline.playbook.spec import Param, Playbook


def fill_playbook(playbook: Playbook, given: Mapping[str, str]) -> Playbook:
    """Return the playbook with every param filled in, and checked again.

    `given` may name params that only the connection has. A param without a value takes its default;
    an optional one without a default is empty. Raises `PlaybookError`.
    """
    values, problems = _values_of(playbook.params, given)
    tree = playbook_tree(playbook)
    params = tree.pop("params", None)
    marks = list(_marks(tree, ""))
    known = [*values, *(param.name for param in playbook.params)]
    for path, name in marks:
        if name not in known:
            hint = near_miss(name, known) or "; add it to `params`"
            problems.append(Problem(path, f"$${name}$$ names no param{hint}"))
    size = sum(len(values.get(name, "")) for _, name in marks)
    if size > CHARACTERS_MAX:
        message = f"come to {size:,} characters where they are filled in; shorten the values"
        problems.append(Problem("params", message))
    if problems:
        raise PlaybookError(tuple(problems))
    if not marks:
        return playbook
    filled = _fill(tree, values)
    if params:
        filled["params"] = params
    return read_playbook(filled, is_filled=True)


def _values_of(
    params: tuple[Param, ...], given: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    values: dict[str, str] = dict(given)
    problems: list[Problem] = []
    for param in params:
        if param.name in values:
            continue
        if param.default_value is not None or param.is_optional:
            values[param.name] = param.default_value or ""
        else:
            message = f"has no value; give one: `params: {{{param.name}: …}}` of the destination"
            problems.append(Problem(f"params.{param.name}", message))
    return values, problems


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if "$$" not in value:
            return value
        return MARK.sub(lambda mark: values.get(mark[1], mark[0]), value)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {key: _fill(child, values) for key, child in pairs}
    if isinstance(value, list):
        return [_fill(child, values) for child in cast("list[Any]", value)]
    return value


def _marks(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield where params stand, and their names."""
    if isinstance(value, str):
        yield from ((path, name) for name in MARK.findall(value))
    elif isinstance(value, dict):
        for key, child in cast("dict[str, Any]", value).items():
            yield from _marks(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for n, child in enumerate(cast("list[Any]", value)):
            yield from _marks(child, f"{path}[{n}]")
