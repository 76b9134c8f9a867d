"""A kit: one vendor's metadata, connection and playbook, as one tree of JSON.

A kit may also hold the vendor's contract, a connection test and fixtures, which are ours.

A public kit is three files (`metadata.json`, `connection.json`, `playbook.json`), ours is one YAML
file; both are read into the same `Kit`, whose `kit_json` is what the catalog keeps. What stands in
a kit is checked wholly: every mistake at once, each with its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kits.answers import find
from trunkline.kits.connection import (
    CONTRACT,
    Connection,
    KitError,
    read_connection,
)
from trunkline.kits.contract import ContractRule, read_contract
from trunkline.kits.fixture_spec import KitFixture, read_fixtures
from trunkline.kits.params import Param, check_used, merge_params
from trunkline.kits.request_spec import RequestSpec
from trunkline.kits.test_spec import ConnectionTestSpec, read_test
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.nodes import Node, kind_of, near_miss
from trunkline.playbook.program import PlaybookError, Problem
from trunkline.playbook.spec import Playbook

KIT_FORMAT = 1
NAME_MAX = 80
JSON_BYTES_MAX = 4_194_304
PARTS = ("metadata", "connection", "playbook")
OWN_PARTS = (CONTRACT, "test", "fixtures")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_VERSION = re.compile(r"version:\s*v?(\d[\w.+-]*)", re.IGNORECASE)


class Kit(Struct, frozen=True):
    """A kit that was checked. The trees are what it was read from.

    `connection` is None where the kit has none; `way` and `book` are what was read of the two.
    `own` holds the trees of `contract`, `test` and `fixtures` as far as they were given.
    """

    name: str
    metadata: Mapping[str, Any]
    connection: Mapping[str, Any] | None
    playbook: Mapping[str, Any]
    way: Connection
    book: Playbook
    own: Mapping[str, Any] = {}
    contract: tuple[ContractRule, ...] = ()
    test: ConnectionTestSpec | None = None
    fixtures: tuple[KitFixture, ...] = ()

    @property
    def settings_connection(self) -> dict[str, Any] | None:
        """Return the connection as a destination's settings hold it: the contract in it."""
        return settings_connection({"connection": self.connection, **self.own})

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
    fields = node.fields(("format", "name", *PARTS, *OWN_PARTS), ("playbook",))
    kit_name = _read_name(fields.get("name"), name, problems)
    metadata = fields["metadata"].named() if "metadata" in fields else {}
    way = read_connection(fields["connection"]) if "connection" in fields else Connection()
    book = _read_playbook(fields.get("playbook"), problems)
    connection = _object_of(fields.get("connection"))
    names = [param.name for param in merge_params(way.params, _book_params(book))]
    if connection is not None and not way.unsupported:
        bare = {key: value for key, value in connection.items() if key != "params"}
        check_used(Node(bare, "connection", problems), names)
    if connection is not None and CONTRACT in connection:
        message = "stands in the connection; write it beside, at the top of the kit"
        node.below(f"connection.{CONTRACT}", None).complain(message)
    contract = read_contract(fields[CONTRACT]) if CONTRACT in fields else ()
    _check_for_params(node, contract, names)
    fixtures = read_fixtures(fields["fixtures"], contract) if "fixtures" in fields else ()
    test = read_test(fields["test"], fixtures) if "test" in fields else None
    if CONTRACT in fields and not way.unsupported:
        check_used(fields[CONTRACT], names)
    if test is not None:
        check_used(fields["test"], names)
        _check_given(fields["test"].below("params", None), test.params, names)
    for number, fixture in enumerate(fixtures):
        _check_given(node.below(f"fixtures[{number}].params", None), fixture.params, names)
    if problems:
        raise KitError(tuple(problems))
    plain = {key: below.value for key, below in metadata.items()}
    own = {key: fields[key].value for key in OWN_PARTS if key in fields}
    return Kit(
        kit_name,
        plain,
        connection,
        fields["playbook"].value,
        way,
        book,
        own,
        contract,
        test,
        fixtures,
    )


def settings_connection(kit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a kit's connection with its contract in it, as settings of a destination hold it.

    `kit` is the tree that `kit_json` writes. A kit without a contract gives its connection alone.
    """
    connection: dict[str, Any] | None = kit.get("connection")
    if connection is None or not kit.get(CONTRACT):
        return connection
    return {**connection, CONTRACT: kit[CONTRACT]}


def _check_for_params(node: Node, rules: Sequence[ContractRule], names: list[str]) -> None:
    for number, rule in enumerate(rules):
        _check_given(node.below(f"{CONTRACT}[{number}].forParams", None), rule.for_params, names)


def _check_given(node: Node, given: Iterable[str], names: list[str]) -> None:
    """Tell of values for params that the kit does not have."""
    for name in given:
        if name not in names:
            hint = near_miss(name, names) or "; add it to `params`"
            node.below(name, None).complain(f"names no param{hint}")


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
        **kit.own,
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
