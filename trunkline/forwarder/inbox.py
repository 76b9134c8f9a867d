"""Carrying out what people ask of destinations, once: pause, resume, probe, replay, drop.

Each request is done on the state file, in the transaction that also saves how far the inbox was
read. A running forwarder does that on its writer and then takes the *effects* over into memory;
where none runs, `apply_inbox` does the same on the file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apsw
from msgspec import Struct

from trunkline.state.db import open_writer
from trunkline.state.forwarder import MIGRATIONS, read_setting
from trunkline.state.home import Home
from trunkline.state.inbox import (
    DropLetters,
    InboxRequest,
    ReplayLetters,
    ReplayRange,
    SetState,
    requests_after,
)

LETTERS_AT_ONCE = 500


class StateSet(Struct, frozen=True):
    """A destination was asked to be paused, running, or to probe."""

    uid: int
    state: str


class LettersGone(Struct, frozen=True):
    """Dead letters are none any more."""

    ids: frozenset[int]


class Waits(Struct, frozen=True):
    """A row was put into the waiting table."""

    uid: int
    lane: str
    size: int


Effect = StateSet | LettersGone | Waits


def apply_inbox(home: Home) -> int:
    """Carry out what was asked while no node runs, and return how many requests that were.

    The caller holds the home's lock: two writers of the file would undo each other.
    """
    db = open_writer(home.forwarder_file, MIGRATIONS)
    try:
        requests = requests_after(home.inbox_file, inbox_position(db))
        for number, request in requests:
            with db:
                carry_out(db, number, request)
        return len(requests)
    finally:
        db.close()


def inbox_position(db: apsw.Connection) -> int:
    """Return the id of the last request that was carried out."""
    return int(read_setting(db, "inbox") or 0)


def carry_out(db: apsw.Connection, number: int, request: InboxRequest) -> list[Effect]:
    """Do one request and save that it is done. Within a transaction."""
    if number <= inbox_position(db):
        return []
    db.execute(
        "INSERT INTO setting (name, value) VALUES ('inbox', ?)"
        " ON CONFLICT DO UPDATE SET value=excluded.value",
        (str(number),),
    )
    if isinstance(request, SetState):
        return _set_state(db, request)
    if isinstance(request, ReplayLetters):
        return _each(request.ids, lambda ids: _replay(db, ids, request.at_ms))
    if isinstance(request, DropLetters):
        return _each(request.ids, lambda ids: _drop(db, ids))
    return _replay_range(db, request)


def _each(ids: Sequence[int], work: Callable[[Sequence[int]], list[Effect]]) -> list[Effect]:
    """Do it for a bounded number of letters at a time."""
    effects: list[Effect] = []
    for first in range(0, len(ids), LETTERS_AT_ONCE):
        effects.extend(work(ids[first : first + LETTERS_AT_ONCE]))
    return effects


def _set_state(db: apsw.Connection, request: SetState) -> list[Effect]:
    if request.state == "paused":
        db.execute(
            "UPDATE grp SET state='paused', cause='', reason='paused by a person',"
            " state_since_ms=CASE state WHEN 'running' THEN ? ELSE state_since_ms END WHERE uid=?",
            (request.at_ms, request.uid),
        )
    elif request.state == "running":
        db.execute(
            "UPDATE grp SET held_ms=held_ms+MAX(0, ?1-state_since_ms), state='running', cause='',"
            " reason='', state_since_ms=?1 WHERE uid=?2 AND state<>'running'",
            (request.at_ms, request.uid),
        )
    return [StateSet(request.uid, request.state)]


def _letters(db: apsw.Connection, ids: Sequence[int]) -> list[tuple[int, int, str, int, str, int]]:
    """Return (id, uid, app, received_ms, reason, body's size) of letters whose group exists."""
    marks = ",".join("?" * len(ids))
    return [
        (int(row[0]), int(row[1]), str(row[2]), int(row[3]), str(row[4]), int(row[5]))
        for row in db.execute(
            "SELECT d.id, d.uid, d.app, received_ms, d.reason, LENGTH(payload) FROM dead_letter d"
            f" JOIN grp g ON g.uid=d.uid AND g.removed_ms IS NULL WHERE d.id IN ({marks})"
            " ORDER BY d.id",
            tuple(ids),
        )
    ]


def replay_lane(lane: str, number: int) -> str:
    """Return the lane of an event that is delivered again.

    Replayed events keep the order of their user among themselves. They are not put before or
    behind the user's new events: what came after them was delivered long ago.
    """
    return f"r:{lane}" if lane[:2] in ("u:", "a:", "r:") else f"r:o:{number}"


def _replay(db: apsw.Connection, ids: Sequence[int], at_ms: int) -> list[Effect]:
    """Letters become rows of the waiting table, under the same ids."""
    effects: list[Effect] = []
    letters = _letters(db, ids)
    for number, uid, app, received_ms, _, size in letters:
        (lane,) = db.execute("SELECT lane FROM dead_letter WHERE id=?", (number,)).fetchone() or (
            "",
        )
        lane = replay_lane(str(lane).removeprefix("r:"), number)
        db.execute(
            "INSERT INTO waiting (id, uid, lane, offset, app, message_id, received_ms, attempts,"
            " first_ms, due_ms, reason, replay, user, type, name, payload)"
            " SELECT id, uid, ?, offset, app, message_id, received_ms, 0, 0, ?, 'replayed', 1,"
            " user, type, name, payload FROM dead_letter WHERE id=?",
            (lane, at_ms, number),
        )
        count(db, uid, app, received_ms, "replayed", "", 1)
        effects.append(Waits(uid, lane, size))
    _delete(db, [letter[0] for letter in letters])
    return [*effects, LettersGone(frozenset(letter[0] for letter in letters))]


def _drop(db: apsw.Connection, ids: Sequence[int]) -> list[Effect]:
    letters = _letters(db, ids)
    for _, uid, app, received_ms, reason, _ in letters:
        count(db, uid, app, received_ms, "dead", reason, -1)
        count(db, uid, app, received_ms, "dead", "dropped", 1)
    _delete(db, [letter[0] for letter in letters])
    return [LettersGone(frozenset(letter[0] for letter in letters))]


def _delete(db: apsw.Connection, ids: Sequence[int]) -> None:
    db.executemany("DELETE FROM dead_letter WHERE id=?", [(number,) for number in ids])


def _replay_range(db: apsw.Connection, request: ReplayRange) -> list[Effect]:
    """Leave a job; the forwarder finds where the span begins and does it in chunks (jobs.py)."""
    db.execute(
        "INSERT INTO job (uid, position, until, from_ms, to_ms) SELECT uid, -1, -1, ?, ? FROM grp"
        " WHERE uid=? AND removed_ms IS NULL",
        (request.from_ms, request.to_ms, request.uid),
    )
    return []


def count(
    db: apsw.Connection, uid: int, app: str, received_ms: int, kind: str, reason: str, number: int
) -> None:
    """Count in the ledger."""
    db.execute(
        "INSERT INTO ledger (uid, app, minute, kind, reason, count) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET count=count+excluded.count",
        (uid, app, received_ms // 60_000, kind, reason, number),
    )
