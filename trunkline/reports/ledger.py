"""The ledger: counts that must balance, and whether they do.

Of acceptance: received = refused(reason) + duplicate + accepted. Of each destination: accepted +
replayed = delivered + filtered(reason) + dead(reason) + pending. Every term is counted; pending is
counted from the log and the waiting table, never subtracted (delivery contract).

The forwarder's file is read first and the log only up to where the pipeline had counted, or the
forwarder had got, whichever is further: what lies between the two is counted from the log itself.
So the report is true of one committed offset although three files are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import apsw
from msgspec import Struct

from trunkline.kit.eventlog import EventLog
from trunkline.model.record import EVENTS
from trunkline.reports.pending import Tail, scan_events
from trunkline.reports.state import GroupState, read_groups, reading
from trunkline.state.home import Home

Counts = dict[str, int]


class Acceptance(Struct, frozen=True):
    """The counts of one app."""

    app: str
    received: int
    refused: Counts
    duplicate: int
    accepted: int
    balanced: bool


class DestinationLedger(Struct, frozen=True):
    """The counts of one destination since it exists."""

    app: str
    destination: str
    accepted: int
    replayed: int
    delivered: int
    filtered: Counts
    dead: Counts
    pending: int
    waiting: int
    balanced: bool


class Ledger(Struct, frozen=True):
    """The whole ledger, at an offset of EVENTS. `waiting` is the part of pending in lanes."""

    balanced: bool
    offset: int
    apps: list[Acceptance]
    destinations: list[DestinationLedger]


class _Groups(Struct, frozen=True):
    groups: list[GroupState]
    counts: dict[tuple[int, str], Counts]
    waiting: dict[int, int]


class _Accepted(Struct, frozen=True):
    end: int
    rows: list[tuple[str, int, str, str, int]]  # app, snapshot, kind, reason, count


def read_ledger(
    home: Home,
    log: EventLog,
    app: str | None = None,
    since_ms: int = 0,
    destination: str | None = None,
) -> Ledger:
    """Count. App, destination and `since_ms` (of acceptance) narrow it; within them it balances."""
    minute = since_ms // 60_000
    owed = _read_groups(home, app, minute)
    counted = _read_acceptance(home, app, minute)
    end = max([counted.end, *(group.done_end for group in owed.groups)])
    tail = Tail(counted.end, owed.groups)
    start = min([counted.end, *(group.position for group in owed.groups)])
    for offset, event in scan_events(log, start, end, app, minute):
        tail.add(offset, event)
    apps = _acceptance_lines(counted, tail.accepted_by_app)
    lines = [
        _destination_line(group, owed, counted, tail)
        for group in owed.groups
        if destination in (None, group.id)
    ]
    balanced = all(line.balanced for line in apps) and all(line.balanced for line in lines)
    return Ledger(balanced, end, apps, lines)


def _read_groups(home: Home, app: str | None, minute: int) -> _Groups:
    with reading(home, "forwarder") as db:
        if db is None:
            return _Groups([], {}, {})
        groups = [group for group in read_groups(db) if app in (None, group.app)]
        counts: dict[tuple[int, str], Counts] = {}
        for uid, kind, reason, count in db.execute(
            "SELECT uid, kind, reason, SUM(count) FROM ledger WHERE minute>=? GROUP BY 1, 2, 3",
            (minute,),
        ):
            if count:
                counts.setdefault((uid, kind), {})[reason] = count
        rows = db.execute(
            "SELECT uid, COUNT(*) FROM waiting WHERE received_ms/60000>=? GROUP BY uid", (minute,)
        )
        return _Groups(groups, counts, {int(uid): int(count) for uid, count in rows})


def _read_acceptance(home: Home, app: str | None, minute: int) -> _Accepted:
    with reading(home, "pipeline") as db:
        if db is None:
            return _Accepted(0, [])
        return _Accepted(_events_position(db), list(_acceptance_rows(db, app, minute)))


def _events_position(db: apsw.Connection) -> int:
    row = db.execute("SELECT next FROM position WHERE topic=?", (EVENTS,)).fetchone()
    return int(row[0]) if row else 0


def _acceptance_rows(
    db: apsw.Connection, app: str | None, minute: int
) -> Iterator[tuple[str, int, str, str, int]]:
    yield from db.execute(
        "SELECT app, snapshot, kind, reason, SUM(count) FROM ledger"
        " WHERE minute>=? AND (?2 IS NULL OR app=?2) GROUP BY 1, 2, 3, 4",
        (minute, app),
    )


def _acceptance_lines(counted: _Accepted, tail: Mapping[str, int]) -> list[Acceptance]:
    sums: dict[str, dict[str, Counts]] = {}
    for app, _, kind, reason, count in counted.rows:
        kinds = sums.setdefault(app, {})
        reasons = kinds.setdefault(kind, {})
        reasons[reason] = reasons.get(reason, 0) + count
    lines: list[Acceptance] = []
    for app in sorted(sums.keys() | tail.keys()):
        kinds = sums.get(app, {})
        received = sum(kinds.get("received", {}).values()) + tail.get(app, 0)
        accepted = sum(kinds.get("accepted", {}).values()) + tail.get(app, 0)
        duplicate = sum(kinds.get("duplicate", {}).values())
        refused = kinds.get("refused", {})
        balanced = received == sum(refused.values()) + duplicate + accepted
        lines.append(Acceptance(app, received, refused, duplicate, accepted, balanced))
    return lines


def _destination_line(
    group: GroupState, owed: _Groups, counted: _Accepted, tail: Tail
) -> DestinationLedger:
    accepted = tail.accepted[group.uid] + sum(
        count
        for app, snapshot, kind, _, count in counted.rows
        if app == group.app and kind == "accepted" and snapshot >= group.since
    )
    waiting = owed.waiting.get(group.uid, 0)
    pending = tail.pending[group.uid] + waiting

    def total(kind: str) -> int:
        return sum(owed.counts.get((group.uid, kind), {}).values())

    gone = total("delivered") + total("filtered") + total("dead")
    return DestinationLedger(
        app=group.app,
        destination=group.id,
        accepted=accepted,
        replayed=total("replayed"),
        delivered=total("delivered"),
        filtered=owed.counts.get((group.uid, "filtered"), {}),
        dead=owed.counts.get((group.uid, "dead"), {}),
        pending=pending,
        waiting=waiting,
        balanced=accepted + total("replayed") == gone + pending,
    )
