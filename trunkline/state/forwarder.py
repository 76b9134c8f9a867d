"""The forwarder's state file: for each destination its position and what it still owes.

Written by the forwarder; what one round of deliveries changed (positions, waiting events, dead
letters, attempts, ledger) is one transaction. `uid` is the destination's, never used twice.

- `grp`: `position` is the next offset of EVENTS; `finished` holds the offsets above it that are
  done (delta-coded). `state`: running, paused, parked. A parked one says since when and why.
- `waiting`: events taken out of the log's order, each in the lane of its user. `lane` is unique to
  the event where a destination keeps no order. `due_ms` counts for the head of a lane.
- `fate`: what one request, or one run of decisions, did to a set of offsets. `kind`: attempt or
  filtered. `offsets` are delta-coded varints, `outcomes` one byte an offset where they differ.
  `bucket`: offset // 1024, so that a trace finds the rows of one offset.
- `ledger.kind`: delivered, filtered, dead, replayed; `minute` is Unix minutes of acceptance.
"""

from __future__ import annotations

from collections.abc import Iterable

BUCKET = 1024  # offsets in a bucket of the fate index

MIGRATIONS = (
    """
    CREATE TABLE grp (uid INTEGER PRIMARY KEY, app TEXT NOT NULL, id TEXT NOT NULL,
        kind TEXT NOT NULL, since INTEGER NOT NULL, partition INTEGER NOT NULL,
        begin INTEGER NOT NULL, position INTEGER NOT NULL, finished BLOB NOT NULL,
        state TEXT NOT NULL, state_since_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        settings_digest BLOB NOT NULL, removed_ms INTEGER);
    CREATE TABLE waiting (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, lane TEXT NOT NULL,
        offset INTEGER NOT NULL, app TEXT NOT NULL, message_id TEXT NOT NULL,
        received_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, first_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL, reason TEXT NOT NULL, replay INTEGER NOT NULL,
        payload BLOB NOT NULL);
    CREATE INDEX waiting_lane ON waiting (uid, lane, id);
    CREATE INDEX waiting_due ON waiting (uid, due_ms);
    CREATE INDEX waiting_offset ON waiting (uid, offset);
    CREATE TABLE dead_letter (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, lane TEXT NOT NULL,
        offset INTEGER NOT NULL, app TEXT NOT NULL, message_id TEXT NOT NULL,
        received_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        detail TEXT NOT NULL, attempts INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX dead_letter_message ON dead_letter (uid, offset);
    CREATE TABLE fate (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, kind TEXT NOT NULL,
        at_ms INTEGER NOT NULL, number INTEGER NOT NULL, snapshot INTEGER NOT NULL,
        delivery_id TEXT NOT NULL, status INTEGER, took_ms REAL, reason TEXT NOT NULL,
        answer BLOB NOT NULL, offsets BLOB NOT NULL, outcomes BLOB NOT NULL);
    CREATE TABLE fate_span (uid INTEGER, bucket INTEGER, fate INTEGER,
        PRIMARY KEY (uid, bucket, fate)) WITHOUT ROWID;
    CREATE TABLE ledger (uid INTEGER, app TEXT, minute INTEGER, kind TEXT, reason TEXT,
        count INTEGER NOT NULL, PRIMARY KEY (uid, minute, kind, reason, app)) WITHOUT ROWID;
    CREATE TABLE job (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, position INTEGER NOT NULL,
        until INTEGER NOT NULL, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL);
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)

OUTCOME_BYTES = {
    "delivered": b"D",
    "unverified": b"U",
    "retry": b"R",
    "rejected": b"J",
    "blocked": b"B",
}
OUTCOME_NAMES = {byte[0]: name for name, byte in OUTCOME_BYTES.items()}


def pack_offsets(offsets: Iterable[int]) -> bytes:
    """Pack ascending offsets as varint deltas, the first from 0."""
    out = bytearray()
    last = 0
    for offset in offsets:
        delta = offset - last
        last = offset
        while delta > 0x7F:
            out.append(0x80 | (delta & 0x7F))
            delta >>= 7
        out.append(delta)
    return bytes(out)


def unpack_offsets(data: bytes) -> list[int]:
    """Return the offsets that `pack_offsets` packed."""
    offsets: list[int] = []
    last = shift = delta = 0
    for byte in data:
        delta |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            continue
        last += delta
        offsets.append(last)
        delta = shift = 0
    return offsets
