"""Fixtures of a kit: events, and the requests that they must make, or why they make none."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.times import parse_time_ms
from trunkline.kits.contract import ContractRule, unknown_rule
from trunkline.playbook.nodes import Node

FIXTURES_MAX = 200
EVENTS_MAX = 1000
_SAYS = ("requests", "dropped", "rejected", "filtered")
_FIELDS = ("name", "params", "now", "events", "notes", *_SAYS)


class ExpectedRequest(Struct, frozen=True):
    """A request as a fixture has it.

    Of the headers those that it names are compared; method and URL where they are given.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: Any = None


class KitFixture(Struct, frozen=True):
    """One case. `now_ms` is the attempt's time; 0: one second after the last event.

    `dropped` and `rejected` name the rule that some event breaks; `is_filtered`: the playbook drops
    every one.
    """

    name: str
    params: dict[str, str]
    now_ms: int
    events: tuple[dict[str, Any], ...]
    requests: tuple[ExpectedRequest, ...] = ()
    dropped: str = ""
    rejected: str = ""
    is_filtered: bool = False
    notes: tuple[str, ...] = ()


def read_fixtures(node: Node, rules: tuple[ContractRule, ...]) -> tuple[KitFixture, ...]:
    """Read a kit's fixtures, telling what is wrong with them."""
    entries = node.entries()
    if len(entries) > FIXTURES_MAX:
        node.complain(f"has {len(entries)} fixtures; at most {FIXTURES_MAX} are read")
    found = [_read_fixture(entry, rules) for entry in entries[:FIXTURES_MAX]]
    names = [fixture.name for fixture in found]
    for number, entry in enumerate(entries[:FIXTURES_MAX]):
        if names[number] in names[:number]:
            told = f"{names[number]!r} stands twice; give each fixture a name of its own"
            entry.complain(told)
    return tuple(found)


def _read_fixture(node: Node, rules: tuple[ContractRule, ...]) -> KitFixture:
    fields = node.fields(_FIELDS, ("name", "events"))
    if isinstance(node.value, dict) and not fields.keys() & {*_SAYS}:
        node.complain("says not what must come of it; give `requests`, or `dropped`, `rejected`")
    names = {key: fields[key].text() for key in ("dropped", "rejected") if key in fields}
    for key, name in names.items():
        if not name.startswith("endpoint_needs_") and (fault := unknown_rule(name, rules)):
            fields[key].complain(fault)
    requests = fields["requests"].entries() if "requests" in fields else []
    return KitFixture(
        fields["name"].text() if "name" in fields else "",
        read_texts(fields["params"]) if "params" in fields else {},
        _read_time(fields["now"]) if "now" in fields else 0,
        _read_events(fields["events"]) if "events" in fields else (),
        tuple(_read_request(request) for request in requests),
        names.get("dropped", ""),
        names.get("rejected", ""),
        fields["filtered"].flag() if "filtered" in fields else False,
        tuple(one.text() for one in fields["notes"].entries()) if "notes" in fields else (),
    )


def read_texts(node: Node) -> dict[str, str]:
    """Read an object of texts; numbers and booleans count as what they look like."""
    return {name: below.scalar_text() for name, below in node.named().items()}


def _read_time(node: Node) -> int:
    found = parse_time_ms(node.value)
    if found is None:
        node.complain(f"is {str(node.value)[:40]!r}; expected a time, as 2026-11-20T10:16:00Z")
    return found or 0


def _read_events(node: Node) -> tuple[dict[str, Any], ...]:
    entries = node.entries()
    if not 0 < len(entries) <= EVENTS_MAX:
        node.complain(f"has {len(entries)} events; expected 1 to {EVENTS_MAX}")
    for entry in entries[:EVENTS_MAX]:
        found = entry.named()
        for key in ("messageId", "type"):
            if isinstance(entry.value, dict) and not isinstance(found.get(key, entry).value, str):
                entry.complain(f"{key} is missing or no text; every event has one")
    taken = entries[:EVENTS_MAX]
    return tuple(cast("dict[str, Any]", n.value) for n in taken if isinstance(n.value, dict))


def _read_request(node: Node) -> ExpectedRequest:
    fields = node.fields(("method", "url", "headers", "body"))
    body = fields["body"].value if "body" in fields else None
    return ExpectedRequest(
        fields["method"].text() if "method" in fields else "",
        fields["url"].text() if "url" in fields else "",
        read_texts(fields["headers"]) if "headers" in fields else {},
        # Values of a YAML file may be shared by aliases: a copy of one's own.
        msgspec.json.decode(msgspec.json.encode(body)),
    )
