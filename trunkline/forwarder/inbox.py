"""Carrying out what people ask of destinations, once: pause, resume, probe, replay, drop.

Each request is done on the state file, in the transaction that also saves how far the inbox was
read. A running forwarder does that on its writer and then takes the *effects* over into memory;
where none runs, `apply_inbox` does the same on the file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apsw
from msgspec import Struct

from trunkline.forwarder.tally import Names, save_tally, tally_name
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


class Letter(Struct, frozen=True):
    """What is asked of a dead letter here. `size` is the payload's, in bytes."""

    id: int
    uid: int
    app: str
    received_ms: int
    reason: str
    size: int
    lane: str
    type: str
    name: str


def _letters(db: apsw.Connection, ids: Sequence[int]) -> list[Letter]:
    """Return the letters whose destination exists."""
    marks = ",".join("?" * len(ids))
    rows = db.execute(
        "SELECT d.id, d.uid, d.app, received_ms, d.reason, LENGTH(payload), lane, type, name"
        " FROM dead_letter d JOIN grp g ON g.uid=d.uid AND g.removed_ms IS NULL"
        f" WHERE d.id IN ({marks}) ORDER BY d.id",
        tuple(ids),
    )
    return [Letter(*row) for row in rows]


def replay_lane(lane: str, number: int) -> str:
    """Return the lane of an event that is delivered again.

    Replayed events keep the order of their user among themselves. They are not put before or
    behind the user's new events: what came after them was delivered long ago.
    """
    return f"r:{lane}" if lane[:2] in ("u:", "a:", "d:", "r:") else f"r:o:{number}"


def _replay(db: apsw.Connection, ids: Sequence[int], at_ms: int) -> list[Effect]:
    """Letters become rows of the waiting table, under the same ids."""
    effects: list[Effect] = []
    letters = _letters(db, ids)
    for letter in letters:
        lane = replay_lane(letter.lane.removeprefix("r:"), letter.id)
        db.execute(
            "INSERT INTO waiting (id, uid, lane, offset, app, message_id, received_ms, attempts,"
            " first_ms, due_ms, reason, replay, user, type, name, payload)"
            " SELECT id, uid, ?, offset, app, message_id, received_ms, 0, 0, ?, 'replayed', 1,"
            " user, type, name, payload FROM dead_letter WHERE id=?",
            (lane, at_ms, letter.id),
        )
        count(db, letter, "replayed", "", 1)
        effects.append(Waits(letter.uid, lane, letter.size))
    _delete(db, letters)
    return [*effects, LettersGone(frozenset(letter.id for letter in letters))]


def _drop(db: apsw.Connection, ids: Sequence[int]) -> list[Effect]:
    letters = _letters(db, ids)
    for letter in letters:
        count(db, letter, "dead", letter.reason, -1)
        count(db, letter, "dead", "dropped", 1)
    _delete(db, letters)
    return [LettersGone(frozenset(letter.id for letter in letters))]


def _delete(db: apsw.Connection, letters: Sequence[Letter]) -> None:
    db.executemany("DELETE FROM dead_letter WHERE id=?", [(letter.id,) for letter in letters])


def _replay_range(db: apsw.Connection, request: ReplayRange) -> list[Effect]:
    """Leave a job; the forwarder finds where the span begins and does it in chunks (jobs.py)."""
    db.execute(
        "INSERT INTO job (uid, position, until, from_ms, to_ms) SELECT uid, -1, -1, ?, ? FROM grp"
        " WHERE uid=? AND removed_ms IS NULL",
        (request.from_ms, request.to_ms, request.uid),
    )
    return []


def count(db: apsw.Connection, letter: Letter, kind: str, reason: str, number: int) -> None:
    """Count in the ledger, and by the event's name."""
    minute = letter.received_ms // 60_000
    db.execute(
        "INSERT INTO ledger (uid, app, minute, kind, reason, count) VALUES (?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET count=count+excluded.count",
        (letter.uid, letter.app, minute, kind, reason, number),
    )
    name = tally_name(letter.type, letter.name)
    save_tally(db, Names(), {(letter.uid, letter.app, minute // 60, name, kind, reason): number})
