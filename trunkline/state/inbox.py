"""What people ask of the forwarder from outside its process: pause, resume, probe, replay, drop.

A command appends a request here and rings; the worker carries each out once, in the transaction
that also saves how far it read (`setting.inbox` of the forwarder's file). Where no node runs the
command takes the home's lock and carries it out itself.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.state.db import SYNC_FULL, open_reader, open_writer

MIGRATIONS = ("CREATE TABLE request (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);",)


class SetState(Struct, frozen=True, tag="set_state"):
    """Pause, resume, or probe now. `state`: paused, running, probe."""

    uid: int
    state: str
    at_ms: int


class ReplayLetters(Struct, frozen=True, tag="replay_letters"):
    """Deliver these dead letters again."""

    ids: tuple[int, ...]
    at_ms: int


class DropLetters(Struct, frozen=True, tag="drop_letters"):
    """Give these dead letters up for good."""

    ids: tuple[int, ...]
    at_ms: int


class ReplayRange(Struct, frozen=True, tag="replay_range"):
    """Deliver again to a destination what was accepted in [from_ms, to_ms)."""

    uid: int
    from_ms: int
    to_ms: int
    at_ms: int


InboxRequest = SetState | ReplayLetters | DropLetters | ReplayRange
_DECODER = msgspec.json.Decoder(InboxRequest)


def append_request(path: Path, request: InboxRequest) -> int:
    """Store a request durably and return its id."""
    db = open_writer(path, MIGRATIONS, SYNC_FULL)
    try:
        with db:
            db.execute("INSERT INTO request (body) VALUES (?)", (msgspec.json.encode(request),))
        return int(db.last_insert_rowid())
    finally:
        db.close()


def requests_after(path: Path, last_id: int) -> list[tuple[int, InboxRequest]]:
    """Return the requests behind an id, in order."""
    db = open_reader(path)
    if db is None:
        return []
    try:
        rows = db.execute("SELECT id, body FROM request WHERE id>? ORDER BY id", (last_id,))
        return [(int(row[0]), _DECODER.decode(row[1])) for row in rows]
    finally:
        db.close()
