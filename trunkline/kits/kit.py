"""A kit: one vendor's metadata, connection and playbook, as one tree of JSON.

A public kit is three files (`metadata.json`, `connection.json`, `playbook.json`), ours is one YAML
file; both are read into the same `Kit`, whose `kit_json` is what the catalog keeps. What stands in
a kit is checked wholly: every mistake at once, each with its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kits.answers import find
from trunkline.kits.connection import Connection, KitError, RequestSpec, read_connection
from trunkline.kits.params import Param, check_used, merge_params
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.nodes import Node, kind_of
from trunkline.playbook.program import PlaybookError, Problem
from trunkline.playbook.spec import Playbook

KIT_FORMAT = 1
NAME_MAX = 80
JSON_BYTES_MAX = 4_194_304
PARTS = ("metadata", "connection", "playbook")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"version:\s*v?(\d[\w.+-]*)", re.IGNORECASE)


class Kit(Struct, frozen=True):
    """A kit that was checked. The trees are what it was read from.

    `connection` is None where the kit has none; `way` and `book` are what was read of the two.
    """

    name: str
    metadata: Mapping[str, Any]
    connection: Mapping[str, Any] | None
    playbook: Mapping[str, Any]
    way: Connection
    book: Playbook

    @property
    def title(self) -> str:
        """Return the vendor's name for people."""
        for key in ("friendlyName", "name"):
            if isinstance(title := self.metadata.get(key), str) and title.strip():
                return title.strip()
        return self.name

    @property
    def version(self) -> str:
        """Return the newest version that the metadata names, or nothing."""
        if isinstance(version := self.metadata.get("version"), str | int | float):
            return str(version)
        notes = self.metadata.get("releaseNotes")
        texts = [str(find(note, "note")) for note in cast("list[Any]", notes or [])]
        found = [match[1] for text in texts if (match := _VERSION.search(text))]
        return found[-1] if found else ""

    @property
    def params(self) -> tuple[Param, ...]:
        """Return the params of connection and playbook together."""
        return merge_params(self.way.params, _book_params(self.book))

    @property
    def cannot_send(self) -> str:
        """Say why nothing can be sent yet; empty where it can."""
        if self.connection is None:
            return "it has no connection, only a playbook"
        return self.way.unsupported

    @property
    def events(self) -> list[str]:
        """Return the names of the events that have a section of their own."""
        return sorted(self.book.event_specific)

    @property
    def request(self) -> RequestSpec | None:
        """Return the request that events make where none of the variants is theirs."""
        return self.way.default


def parse_kit(tree: Any, name: str = "") -> Kit:
    """Return the kit that a tree of JSON says, checked. Raises `KitError` with all that is wrong.

    `name` counts where the tree names none: the public kits are named by their folder.
    """
    problems: list[Problem] = []
    node = Node(tree, "", problems)
    if not isinstance(tree, dict):
        raise KitError((Problem("", f"is {kind_of(tree)}; expected a kit, an object"),))
    _check_format(node)
    fields = node.fields(("format", "name", *PARTS), ("playbook",))
    kit_name = _read_name(fields.get("name"), name, problems)
    metadata = fields["metadata"].named() if "metadata" in fields else {}
    way = read_connection(fields["connection"]) if "connection" in fields else Connection()
    book = _read_playbook(fields.get("playbook"), problems)
    connection = _object_of(fields.get("connection"))
    if connection is not None and not way.unsupported:
        bare = {key: value for key, value in connection.items() if key != "params"}
        names = [param.name for param in merge_params(way.params, _book_params(book))]
        check_used(Node(bare, "connection", problems), names)
    if problems:
        raise KitError(tuple(problems))
    plain = {key: below.value for key, below in metadata.items()}
    return Kit(kit_name, plain, connection, fields["playbook"].value, way, book)


def _object_of(node: Node | None) -> dict[str, Any] | None:
    """Return what a node holds, where that is an object."""
    is_object = node is not None and isinstance(node.value, dict)
    return cast("dict[str, Any]", node.value) if node is not None and is_object else None


def kit_json(kit: Kit) -> bytes:
    """Return a kit as its canonical JSON: the same content gives the same bytes."""
    tree = {
        "format": KIT_FORMAT,
        "name": kit.name,
        "metadata": kit.metadata,
        "connection": kit.connection,
        "playbook": kit.playbook,
    }
    return msgspec.json.encode(tree, order="sorted")


def _check_format(node: Node) -> None:
    """Refuse a format that is newer than this version, before anything of it is judged."""
    told = node.value.get("format", KIT_FORMAT)
    if isinstance(told, int) and not isinstance(told, bool) and told == KIT_FORMAT:
        return
    below = node.below("format", told)
    if isinstance(told, int) and told > KIT_FORMAT:
        below.complain(
            f"is {told}, and this version reads {KIT_FORMAT}; install a newer Trunkline to use it"
        )
    else:
        below.complain(f"is {str(told)[:40]!r}; expected {KIT_FORMAT}")
    raise KitError(tuple(node.problems))


def _read_name(node: Node | None, name: str, problems: list[Problem]) -> str:
    if node is None:
        node = Node(name, "name", problems)
    text = node.text()
    if not text:
        node.complain("is missing; give the kit a short name, as acme-ads")
    elif len(text) > NAME_MAX or not _NAME.fullmatch(text):
        node.complain(
            f"is {text[:NAME_MAX]!r}; expected at most {NAME_MAX} small letters, digits, dots, - "
            "and _, as acme-ads"
        )
    return text


def _read_playbook(node: Node | None, problems: list[Problem]) -> Playbook:
    if node is None:
        return Playbook()
    try:
        return parse_playbook(node.value)
    except PlaybookError as error:
        for one in error.problems:
            path = f"playbook.{one.path}" if one.path else "playbook"
            problems.append(Problem(path, one.message))
    return Playbook()


def _book_params(book: Playbook) -> tuple[Param, ...]:
    return tuple(
        Param(
            one.name,
            one.example_value,
            one.default_value,
            one.description,
            one.is_optional,
            one.is_sensitive,
        )
        for one in book.params
    )
