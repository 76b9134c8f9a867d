"""What is done to the events of one route, in order: the form between a playbook and its source.

A route is the section `global` and, after it, an event's own section or `default`. The filters of
both come first: they see only the event, so nothing is made of an event that is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from msgspec import Struct

from trunkline.playbook.code import CodeShelf, Run
from trunkline.playbook.conditions import OPERATORS, Predicate
from trunkline.playbook.names import event_key
from trunkline.playbook.paths import path_parts
from trunkline.playbook.quick import Link, quicken
from trunkline.playbook.spec import (
    DEFAULT_KEYS,
    STATIC_KEYS,
    Enrichment,
    FieldMapping,
    Filter,
    Section,
    Spreading,
    Tree,
)
from trunkline.playbook.transforms import TRANSFORMS

Keys = tuple[str, ...]


class Ask(Struct, frozen=True):
    """One question about the value at a path; no predicate: is something there?"""

    parts: Keys
    holds: Predicate | None


class Group(Struct, frozen=True):
    """Conditions that must all hold, or of which one must."""

    is_all: bool
    members: tuple[Test, ...]


class Names(Struct, frozen=True):
    """The event's name is one of these, folded."""

    keys: frozenset[str]


Test = Ask | Group | Names


class Drop(Struct, frozen=True):
    """A filter: the event is dropped where the test comes to `when`."""

    path: str
    test: Test
    when: bool


class Transform(Struct, frozen=True):
    """One link of a chain: a function of the value, or of the event and the moment."""

    run: Callable[..., Any]
    is_code: bool = False


class Constant(Struct, frozen=True):
    """A value that is always the same, or of the moment."""

    kind: Literal["value", "seconds", "milliseconds", "uuid"]
    value: Any


class Field(Struct, frozen=True):
    """A value of the event, through a chain; `default` (None: none) where nothing comes of it."""

    parts: Keys
    chain: tuple[Transform, ...]
    default: Any


class Spread(Struct, frozen=True):
    """An object of the event as joined keys."""

    parts: Keys
    prefix: str
    separator: str
    depth: int


class Make(Struct, frozen=True):
    """A part that writes: where it stands, where it writes (no keys: all over the output), what."""

    path: str
    keys: Keys
    what: Constant | Field | Spread | Run


def plan_filters(path: str, section: Section) -> Iterator[Drop]:
    """Yield the filters of a section."""
    for n, each in enumerate(section.filters):
        yield _plan_filter(f"{path}.filters[{n}]", each)


def _plan_filter(path: str, each: Filter) -> Drop:
    if each.by_event_names:
        names = frozenset(event_key(name) for name in each.by_event_names.events) - {""}
        return Drop(path, Names(names), each.by_event_names.action == "deny")
    assert each.by_conditions, "check.py lets no filter through that is neither"
    return Drop(path, _plan_test(each.by_conditions.when), each.by_conditions.action == "deny")


def _plan_test(tree: Tree) -> Test:
    ((name, argument),) = tree.items()
    if name not in OPERATORS:
        return Group(name == "matchesAll", tuple(map(_plan_test, argument["conditions"])))
    parts = path_parts(argument["inputPath"])
    return Ask(parts, None if name == "inputPathExists" else OPERATORS[name].prepare(argument))


def plan_parts(path: str, section: Section, shelf: CodeShelf) -> Iterator[Make]:
    """Yield everything in a section that writes, in the order in which it runs."""
    for n, enrichment in enumerate(section.enrichments):
        yield _plan_enrichment(f"{path}.enrichments[{n}]", enrichment)
    for n, mapping in enumerate(section.mappings):
        yield _plan_mapping(f"{path}.mappings[{n}]", mapping, shelf)
    for n, each in enumerate(section.expressions):
        place = f"{path}.expressions[{n}]"
        yield Make(place, (), shelf.expression(place, each.lang, each.body))
    for n, spreading in enumerate(section.spreadings):
        yield _plan_spreading(f"{path}.spreadings[{n}]", spreading)


def _plan_enrichment(path: str, each: Enrichment) -> Make:
    keys = tuple(each.output_key.split("."))
    if each.timestamp:
        kind = "seconds" if each.timestamp == "seconds" else "milliseconds"
        return Make(path, keys, Constant(kind, None))
    if each.uuid:
        return Make(path, keys, Constant("uuid", each.output_key))
    return Make(path, keys, Constant("value", _only(each, STATIC_KEYS)))


def _only(each: Struct, names: tuple[str, ...]) -> Any:
    """Return the one of some fields, by their names in JSON, that is given; else None."""
    pairs = zip(each.__struct_encode_fields__, each.__struct_fields__, strict=True)
    values = (getattr(each, field) for name, field in pairs if name in names)
    return next((value for value in values if value is not None), None)


def _plan_mapping(path: str, each: FieldMapping, shelf: CodeShelf) -> Make:
    keys = tuple(each.output_key.split(".")) if each.output_key else ()
    chain = _plan_chain(path, each.transforms, shelf)
    return Make(path, keys, Field(path_parts(each.input_key), chain, _only(each, DEFAULT_KEYS)))


def _plan_chain(path: str, trees: Sequence[Tree], shelf: CodeShelf) -> tuple[Transform, ...]:
    chain: list[Transform] = []
    links: list[Link] = []  # until the next expression
    for n, tree in enumerate(trees):
        ((name, argument),) = tree.items()
        if name != "expression":
            links.append((name, argument, TRANSFORMS[name].prepare(argument)))
            continue
        place = f"{path}.transforms[{n}]"
        chain += map(Transform, quicken(links))
        links = []
        run = shelf.expression(place, argument["lang"], argument["body"])
        chain.append(Transform(run, is_code=True))
    return (*chain, *map(Transform, quicken(links)))


def _plan_spreading(path: str, each: Spreading) -> Make:
    how = each.flatten
    return Make(path, (), Spread(path_parts(each.input_key), how.prefix, how.separator, how.depth))
