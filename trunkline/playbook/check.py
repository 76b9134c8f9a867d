"""From a tree (decoded JSON or YAML) to a `Playbook`, or to everything that is wrong with it.

A text that holds `$$NAME$$` is checked as far as it can be; `compile_playbook` fills the params in
and reads the whole again, then with nothing left open.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from trunkline.playbook.check_filters import read_filter
from trunkline.playbook.check_rules import (
    read_enrichment,
    read_expression,
    read_function,
    read_mapping,
    read_param,
    read_spreading,
)
from trunkline.playbook.measure import measure
from trunkline.playbook.names import event_key
from trunkline.playbook.nodes import Node
from trunkline.playbook.program import PlaybookError, Problem
from trunkline.playbook.reading import Reading
from trunkline.playbook.spec import EMPTY_SECTION, RULES_MAX, SECTION_PARTS, Playbook, Section

_FIELDS = ("version", "params", "global", "eventSpecific", "default", "functions")
_NAME_CHARACTERS_MAX = 200


def parse_playbook(tree: Any) -> Playbook:
    """Return the playbook. Raises `PlaybookError` with all that is wrong with it at once."""
    return read_playbook(tree, is_filled=False)


def read_playbook(tree: Any, *, is_filled: bool) -> Playbook:
    """Return the playbook of a tree whose params are filled in, or not yet."""
    problems = measure(tree)
    if not problems:
        reading = Reading(is_filled)
        playbook = _read(Node(tree, "", problems), reading)
        if reading.rules > RULES_MAX:
            message = f"has {reading.rules} rules; at most {RULES_MAX} are taken; split it"
            problems.append(Problem("", message))
        if not problems:
            return playbook
    raise PlaybookError(tuple(problems))


def playbook_json(playbook: Playbook) -> bytes:
    """Return the canonical JSON: the same playbook gives the same bytes."""
    return msgspec.json.encode(playbook_tree(playbook), order="sorted")


def playbook_tree(playbook: Playbook) -> dict[str, Any]:
    """Return a playbook as it is written: JSON values, in the kits' key names."""
    # Through bytes: `to_builtins` keeps tuples, and who walks a tree looks for lists.
    return msgspec.json.decode(msgspec.json.encode(playbook))


def needs_code(playbook: Playbook) -> bool:
    """Say whether it holds code of an operator, so that it runs whole in a jail."""
    sections = (playbook.every, playbook.default, *playbook.event_specific.values())
    return bool(playbook.functions) or any(map(_has_code, sections))


def _has_code(section: Section) -> bool:
    return bool(section.expressions) or any(
        "expression" in transform for rule in section.mappings for transform in rule.transforms
    )


def event_names(playbook: Playbook) -> tuple[str, ...]:
    """Return the names of the events that have a section of their own, as they are written."""
    return tuple(playbook.event_specific)


def _read(node: Node, reading: Reading) -> Playbook:
    fields = node.fields(_FIELDS)
    return Playbook(
        version=fields["version"].scalar_text() if "version" in fields else "",
        params=tuple(map(read_param, _params(fields.get("params")))),
        every=_read_section(fields.get("global"), reading),
        event_specific=_read_events(fields.get("eventSpecific"), reading),
        default=_read_section(fields.get("default"), reading),
        functions=tuple(read_function(n) for n in reading.entries(fields, "functions")),
    )


def _params(node: Node | None) -> list[Node]:
    nodes = node.entries() if node else []
    seen: set[Any] = set()
    for entry in nodes:
        found: Any = entry.value
        name = cast("dict[str, Any]", found).get("name") if isinstance(found, dict) else None
        if isinstance(name, str) and name in seen:
            entry.complain(f"{name[:100]} stands twice; keep one")
        seen.add(name if isinstance(name, str) else None)
    return nodes


def _read_events(node: Node | None, reading: Reading) -> dict[str, Section]:
    sections: dict[str, Section] = {}
    seen: dict[str, str] = {}
    for name, below in (node.named() if node else {}).items():
        key = event_key(name)
        if not key or len(name) > _NAME_CHARACTERS_MAX:
            below.complain(f"is no name of an event; write 1 to {_NAME_CHARACTERS_MAX} characters")
        elif key in seen:
            below.complain(f"is the same event as {seen[key]!r}; put both into one section")
        seen[key] = name
        sections[name] = _read_section(below, reading)
    return sections


def _read_section(node: Node | None, reading: Reading) -> Section:
    if node is None or node.value is None:
        return EMPTY_SECTION
    fields = node.fields(SECTION_PARTS)
    section = Section(
        filters=tuple(read_filter(n, reading) for n in reading.entries(fields, "filters")),
        enrichments=tuple(
            read_enrichment(n, reading) for n in reading.entries(fields, "enrichments")
        ),
        mappings=tuple(read_mapping(n, reading) for n in reading.entries(fields, "mappings")),
        expressions=tuple(read_expression(n) for n in reading.entries(fields, "expressions")),
        spreadings=tuple(read_spreading(n) for n in reading.entries(fields, "spreadings")),
    )
    # This very one, so that it is left out of the JSON.
    return EMPTY_SECTION if section == EMPTY_SECTION else section
