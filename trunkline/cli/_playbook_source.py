"""Which playbook, with which params, over which events: what `test` and `diff` are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.catalog.playbook_text import PlaybookFileError, canonical_tree, load_file
from trunkline.cli._frame import CommandError
from trunkline.cli._kit_files import read_kit
from trunkline.kit.destination import Mapped, map_event
from trunkline.kit.eventlog import EventLog
from trunkline.kit.shaping import Work
from trunkline.kits.kit import PARTS
from trunkline.model.record import EVENTS, StoredEvent
from trunkline.model.snapshot import Destination, Snapshot
from trunkline.playbook.program import PlaybookError
from trunkline.reports.pending import scan_events
from trunkline.reports.rendering import FindPlaybook
from trunkline.state.ids import IdReader

EVENTS_MAX = 50_000


class Source(Struct, frozen=True):
    """A playbook to run: how it is called in messages, and what a shaper loads."""

    told: str
    work: Work


def parse_params(given: Sequence[str]) -> dict[str, str]:
    """Return `NAME=VALUE` options as a mapping. Raises `CommandError`."""
    params: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise CommandError(f"--param {each!r}: expected NAME=VALUE")
        params[name] = value
    return params


def from_file(path: Path, name: str, params: dict[str, str]) -> Source:
    """Return the playbook of a file: a playbook, or a kit that has one. Raises `CommandError`."""
    try:
        tree = canonical_tree(_tree_of(path))
    except PlaybookError as error:
        told = [str(problem) for problem in error.problems]
        count = "1 problem" if len(told) == 1 else f"{len(told)} problems"
        raise CommandError(f"{path}: {count}", told) from error
    return Source(str(path), Work(name, msgspec.json.encode(tree), params))


def _tree_of(path: Path) -> Any:
    if path.is_dir():
        return msgspec.to_builtins(read_kit(path).playbook)
    try:
        tree: Any = load_file(path)
    except PlaybookFileError as error:
        raise CommandError(str(error)) from error
    if isinstance(tree, dict) and not set(PARTS).isdisjoint(cast("dict[str, Any]", tree)):
        return msgspec.to_builtins(read_kit(path).playbook)
    return cast(Any, tree)


def from_revision(
    find: FindPlaybook, destination: Destination, number: int, params: dict[str, str]
) -> Source:
    """Return a revision of a destination. Raises `CommandError`."""
    playbook = find(destination, number)
    name = f"{destination.app}/{destination.id}"
    if playbook is None:
        raise CommandError(
            f"{name} has no revision {number}; `trunkline playbook list --destination {name}` "
            "names those there are"
        )
    return Source(f"revision {number}", Work(name, playbook, params))


def read_event(path: Path) -> Mapped:
    """Return the canonical event of a JSON or YAML file. Raises `CommandError`."""
    try:
        tree = load_file(path)
    except PlaybookFileError as error:
        raise CommandError(str(error)) from error
    return event_of(tree, str(path))


def event_of(tree: Any, where: str) -> Mapped:
    """Return a canonical event as destinations are given it. Raises `CommandError`."""
    if not isinstance(tree, dict):
        raise CommandError(f"{where}: expected one canonical event, a mapping")
    event: dict[str, Any] = {"messageId": where, "type": "track", "app": "", **tree}
    wrong = [key for key in ("messageId", "type", "app") if not isinstance(event[key], str)]
    if wrong:
        raise CommandError(f"{where}: {', '.join(wrong)} must be text")
    return map_event(event)


def find_by_id(log: EventLog, ids: IdReader, snapshot: Snapshot, message_id: str) -> Mapped:
    """Return an event that was accepted. Raises `CommandError`."""
    for app in snapshot.apps:
        entry = ids.find(app.id, message_id)
        if entry is None:
            continue
        fetched = log.fetch(EVENTS, entry.events_partition, entry.events_offset)
        if fetched is not None:
            return mapped_of(msgspec.msgpack.decode(fetched.record.value, type=StoredEvent))
    raise CommandError(
        f"no event with messageId {message_id!r} is kept here; `trunkline trace` tells more"
    )


def last_events(log: EventLog, app: str | None, count: int) -> list[Mapped]:
    """Return the last `count` events of an app, or of all, the oldest first."""
    if not 1 <= count <= EVENTS_MAX:
        raise CommandError(f"--last {count}: expected 1 to {EVENTS_MAX}")
    begin, end = log.begins(EVENTS).get(0, 0), log.ends(EVENTS).get(0, 0)
    start, taken = end, list[Mapped]()
    while start > begin and len(taken) < count:
        # Back in steps: how far back an app's last events lie is not known before.
        stop, start = start, max(begin, start - max(2 * count, 2000))
        found = [mapped_of(stored) for _, stored in scan_events(log, start, stop, app)]
        taken = found + taken
    return taken[-count:]


def mapped_of(stored: StoredEvent) -> Mapped:
    """Return a stored event as destinations are given it."""
    return Mapped(
        stored.message_id, stored.app, stored.user, stored.type, stored.name, stored.event
    )
