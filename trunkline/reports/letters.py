"""Lists for people: dead letters, and the state of destinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from trunkline.kit.destination import Mapped
from trunkline.kit.eventlog import EventLog
from trunkline.kit.times import format_ms
from trunkline.model.record import EVENTS
from trunkline.model.snapshot import Snapshot
from trunkline.reports.failures import FailureLine, failure_line
from trunkline.reports.pending import Tail, scan_events
from trunkline.reports.state import GroupState, read_groups, reading
from trunkline.state.forwarder import BUCKET, unpack_offsets
from trunkline.state.home import Home


class DeadLetter(Struct, frozen=True, rename="camel"):
    """A delivery that was given up, kept with its reason. `revision` shaped it; 0: none did."""

    id: int
    message_id: str
    app: str
    destination: str
    at: str
    received_at: str
    reason: str
    detail: str
    attempts: int
    revision: int = 0


class LetterContent(Struct, frozen=True):
    """What lies in a dead letter: the event, and where the playbook failed for it, if it did.

    `uid` is the destination's, `at_ms` when the last request was made, or else the letter.
    """

    letter: DeadLetter
    uid: int
    at_ms: int
    event: Mapped
    failure: FailureLine | None


class DestinationState(Struct, frozen=True, rename="camel"):
    """A destination as it is now. `lag` is the events it has not finished, in log or lanes."""

    app: str
    id: str
    kind: str
    state: str
    since: str
    reason: str
    lag: int
    waiting: int
    dead_letters: int


class LetterFilter(Struct, frozen=True):
    """Which dead letters. None means any; `id` is a letter's own."""

    app: str | None = None
    destination: str | None = None
    reason: str | None = None
    message_id: str | None = None
    since_ms: int = 0
    limit: int = 1000
    id: int | None = None


_LETTERS = (
    "SELECT d.id, d.message_id, d.app, g.id, d.at_ms, d.received_ms, d.reason, d.detail,"
    " d.attempts, d.revision, d.uid, d.offset, d.user, d.type, d.name, d.payload, d.partial,"
    " d.failure FROM dead_letter d JOIN grp g ON g.uid=d.uid"
    " WHERE (:app IS NULL OR d.app=:app) AND (:destination IS NULL OR g.id=:destination)"
    " AND (:reason IS NULL OR d.reason=:reason) AND (:id IS NULL OR d.id=:id)"
    " AND (:message_id IS NULL OR d.message_id=:message_id)"
    " AND d.at_ms>=:since_ms ORDER BY d.id LIMIT :limit"
)


def list_letters(home: Home, which: LetterFilter) -> list[DeadLetter]:
    """Return dead letters, oldest first."""
    with reading(home, "forwarder") as db:
        return [] if db is None else [_letter(row) for row in _rows(db, which)]


def read_letters(home: Home, which: LetterFilter) -> list[LetterContent]:
    """Return dead letters with what lies in them, oldest first."""
    with reading(home, "forwarder") as db:
        return [] if db is None else [_content(db, row) for row in _rows(db, which)]


def _rows(db: apsw.Connection, which: LetterFilter) -> list[Sequence[Any]]:
    return list(db.execute(_LETTERS, msgspec.structs.asdict(which)))


def _letter(row: Sequence[Any]) -> DeadLetter:
    id_, message_id, app, destination, at_ms, received_ms, *rest = row[:10]
    return DeadLetter(
        id_, message_id, app, destination, format_ms(at_ms), format_ms(received_ms), *rest
    )


def _content(db: apsw.Connection, row: Sequence[Any]) -> LetterContent:
    _, message_id, app, _, at_ms, *_ = row
    uid, offset, user, type_, name, payload, partial, failure = row[10:]
    last_ms = _last_attempt_ms(db, uid, offset)
    return LetterContent(
        _letter(row),
        uid,
        at_ms if last_ms is None else last_ms,
        Mapped(message_id, app, user, type_, name, bytes(payload)),
        failure_line(bytes(partial), bytes(failure)),
    )


def _last_attempt_ms(db: apsw.Connection, uid: int, offset: int) -> int | None:
    """Return when the last request that carried an event was made."""
    rows = db.execute(
        "SELECT at_ms, offsets FROM fate_span JOIN fate ON fate.id=fate_span.fate"
        " WHERE fate_span.uid=? AND bucket=? AND kind='attempt' ORDER BY fate.id DESC",
        (uid, offset // BUCKET),
    )
    return next((int(at_ms) for at_ms, packed in rows if offset in unpack_offsets(packed)), None)


def list_destinations(home: Home, log: EventLog, snapshot: Snapshot) -> list[DestinationState]:
    """Return every configured destination with what it does now."""
    with reading(home, "forwarder") as db:
        groups = {group.uid: group for group in read_groups(db)} if db else {}
        waiting = dict(db.execute("SELECT uid, COUNT(*) FROM waiting GROUP BY 1")) if db else {}
        dead = dict(db.execute("SELECT uid, COUNT(*) FROM dead_letter GROUP BY 1")) if db else {}
    pending = _count_pending(log, list(groups.values()))
    states: list[DestinationState] = []
    for app in snapshot.apps:
        for destination in app.destinations:
            group = groups.get(destination.uid)
            state, since, reason, behind = "new", "", "the forwarder has not seen it yet", 0
            if group is not None:
                state, reason = group.state, group.reason
                since = format_ms(group.state_since_ms)
                behind = pending[group.uid]
            if not destination.enabled:
                state, reason = "disabled", "enabled: false in the catalog"
            waits = int(waiting.get(destination.uid, 0))
            states.append(
                DestinationState(
                    app.id, destination.id, destination.kind, state, since, reason,
                    behind + waits, waits, int(dead.get(destination.uid, 0)),
                )
            )  # fmt: skip
    return states


def _count_pending(log: EventLog, groups: list[GroupState]) -> Counter[int]:
    end = log.ends(EVENTS).get(0, 0)
    tail = Tail(end, groups)
    for offset, event in scan_events(log, min((g.position for g in groups), default=end), end):
        tail.add(offset, event)
    return tail.pending
