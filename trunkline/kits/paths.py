"""Places in what a playbook made: dotted paths, a number for a position in a list, `*` for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from trunkline.playbook.paths import index_of

EVERY = "*"


class Site(NamedTuple):
    """One place: what holds it, under which key or position, and what stands there."""

    holder: Any
    key: Any
    value: Any
    path: str


Get = Callable[[Any], Any]


def getter(path: str) -> Get:
    """Return what finds the value at a path without `*`; None where nothing stands there."""
    get = _get_one(path.split(".")[0])
    for part in path.split(".")[1:]:
        get = _get_below(get, part)
    return get


def getter_below(parts: Sequence[str]) -> Get:
    """Return the same for a value that may be no object."""
    get: Get = _itself
    for part in parts:
        get = _get_below(get, part)
    return get


def _itself(value: Any) -> Any:
    return value


def _get_one(part: str) -> Get:
    return lambda tree: tree.get(part)


def _get_below(get: Get, part: str) -> Get:
    def get_below(tree: Any) -> Any:
        value = get(tree)
        if type(value) is dict:  # JSON that was just decoded; an `isinstance` costs twice as much
            return cast("dict[str, Any]", value).get(part)
        return None if value is None else _item(value, part)

    return get_below


def _item(value: Any, part: str) -> Any:
    index = index_of(part) if isinstance(value, list) else None
    if index is None:
        return None
    items = cast("list[Any]", value)
    return items[index] if index < len(items) else None


def members(holder: Any) -> Iterable[Any]:
    """Return what an object or a list holds; nothing of anything else."""
    if isinstance(holder, dict):
        return cast("dict[str, Any]", holder).values()
    return cast("list[Any]", holder) if isinstance(holder, list) else ()


def sites(tree: Any, path: str) -> Iterator[Site]:
    """Yield every place that a path leads to where a value other than null stands."""
    steps = path.split(".")
    open_sites: list[tuple[Any, str]] = [(tree, "")]
    for step in steps[:-1]:
        open_sites = [
            (site.value, site.path)
            for holder, at in open_sites
            for site in _below(holder, at, step)
        ]
    for holder, at in open_sites:
        yield from _below(holder, at, steps[-1])


def keys_of(site: Site) -> Iterator[Site]:
    """Yield the place of every key of an object, also where null stands; nothing of a list."""
    if isinstance(site.value, dict):
        for key, value in cast("dict[str, Any]", site.value).items():
            yield Site(site.value, key, value, f"{site.path}.{key}")


def _below(holder: Any, at: str, step: str) -> Iterator[Site]:
    for key, value in _members(holder, step):
        if value is not None:
            yield Site(holder, key, value, f"{at}.{key}" if at else str(key))


def _members(holder: Any, step: str) -> list[tuple[Any, Any]]:
    if isinstance(holder, dict):
        named = cast("dict[str, Any]", holder)
        return [*named.items()] if step == EVERY else [(step, named.get(step))]
    if isinstance(holder, list):
        items = cast("list[Any]", holder)
        if step == EVERY:
            return [*enumerate(items)]
        index = index_of(step)
        return [(index, items[index])] if index is not None and index < len(items) else []
    return []
