"""The forwarder's state file: for each destination its position and what it still owes.

Written by the forwarder; what one round of deliveries changed (positions, waiting events, dead
letters, attempts, ledger) is one transaction. `uid` is the destination's, never used twice.

- `grp`: everything below `seen` was taken up by the group; `unfinished` are the offsets below it
  that are not done yet, packed. `position` is the first of those, else `seen`. Where `at_head` is
  1, `seen` is `setting.head` if that is higher: a group with nothing to do moves with the head
  without its row being written. Ask `read_groups`, which has resolved that. `state`: running,
  paused, parked. A parked one says since when, its `cause` (a closed set) and why. `held_ms` is how
  long it stood still so far: its *own time* is the wall clock less that, and horizons run in it.
  `behind_bytes` is about what the log holds for it; `suspects` are the dead letters in a row that
  the fuse counts.
- `waiting`: events taken out of the log's order, each in the lane of its user. `lane` is unique to
  the event where a destination keeps no order. `due_ms` counts for the head of a lane. `first_ms`
  is the first attempt in the destination's own time, 0 where there was none. `payload` is the
  canonical event.
- `fate`: what one request, or one run of decisions, did to a set of offsets. `kind`: attempt,
  filtered, unshaped (the playbook failed), or expired (given up unsent, for space). `offsets` are
  delta-coded varints, `outcomes` one byte an offset where they differ, else one for all.
  `bucket`: offset // 1024, so that a trace finds the rows of one offset. `revision` is that of the
  playbook, 0 for none.
- `dead_letter.partial` is what the playbook had made (JSON) when it failed, `failure` where and on
  which input that was (JSON); both empty where it was the destination that refused.
- `ledger.kind`: delivered, filtered, dead, replayed; `minute` is Unix minutes of acceptance.
- `tally` has the same counts by the name of the event and Unix hours, with at most
  `TALLY_NAMES_MAX` names a destination and day: what comes above them counts under `(other)`.
- `shadow`: what a revision that ran beside the deployed one would have made, counted, with the
  first events of each kind in `shadow_sample`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import apsw
import msgspec
from msgspec import Struct

BUCKET = 1024  # offsets in a bucket of the fate index
TALLY_NAMES_MAX = 1000  # of a destination and day
OTHER_NAMES = "(other)"
SAMPLES_MAX = 20  # of each kind of difference that a shadow made

MIGRATIONS = (
    """
    CREATE TABLE grp (uid INTEGER PRIMARY KEY, app TEXT NOT NULL, id TEXT NOT NULL,
        kind TEXT NOT NULL, since INTEGER NOT NULL, partition INTEGER NOT NULL,
        begin INTEGER NOT NULL, position INTEGER NOT NULL, seen INTEGER NOT NULL,
        at_head INTEGER NOT NULL, unfinished BLOB NOT NULL, state TEXT NOT NULL,
        cause TEXT NOT NULL, state_since_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        held_ms INTEGER NOT NULL, behind_bytes INTEGER NOT NULL, suspects BLOB NOT NULL,
        settings_digest BLOB NOT NULL, removed_ms INTEGER);
    CREATE TABLE waiting (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, lane TEXT NOT NULL,
        offset INTEGER NOT NULL, app TEXT NOT NULL, message_id TEXT NOT NULL,
        received_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, first_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL, reason TEXT NOT NULL, replay INTEGER NOT NULL,
        user TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX waiting_lane ON waiting (uid, lane, id);
    CREATE INDEX waiting_due ON waiting (uid, due_ms);
    CREATE INDEX waiting_offset ON waiting (uid, offset);
    CREATE TABLE dead_letter (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, lane TEXT NOT NULL,
        offset INTEGER NOT NULL, app TEXT NOT NULL, message_id TEXT NOT NULL,
        received_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        detail TEXT NOT NULL, attempts INTEGER NOT NULL,
        user TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL, payload BLOB NOT NULL);
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
    # What was counted before there were names is counted under none of them.
    """
    ALTER TABLE fate ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE dead_letter ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE dead_letter ADD COLUMN partial BLOB NOT NULL DEFAULT x'';
    ALTER TABLE dead_letter ADD COLUMN failure BLOB NOT NULL DEFAULT x'';
    CREATE TABLE tally (uid INTEGER, app TEXT, hour INTEGER, name TEXT, kind TEXT, reason TEXT,
        count INTEGER NOT NULL, PRIMARY KEY (uid, hour, name, kind, reason, app)) WITHOUT ROWID;
    INSERT INTO tally SELECT uid, app, minute/60, '(other)', kind, reason, SUM(count) FROM ledger
        GROUP BY uid, app, minute/60, kind, reason;
    CREATE TABLE shadow (uid INTEGER, revision INTEGER, kind TEXT, count INTEGER NOT NULL,
        PRIMARY KEY (uid, revision, kind)) WITHOUT ROWID;
    CREATE TABLE shadow_sample (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL,
        revision INTEGER NOT NULL, kind TEXT NOT NULL, offset INTEGER NOT NULL,
        message_id TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE INDEX shadow_sample_of ON shadow_sample (uid, revision, kind);
    """,
)

OUTCOME_BYTES = {
    "delivered": b"D",
    "unverified": b"U",
    "retry": b"R",
    "rejected": b"J",
    "blocked": b"B",
    "expired": b"X",
}
OUTCOME_NAMES = {byte[0]: name for name, byte in OUTCOME_BYTES.items()}


def pack_offsets(offsets: Iterable[int]) -> bytes:
    """Pack ascending offsets as varint deltas, the first from 0."""
    ordered = list(offsets)
    if ordered and ordered[0] >= 0:
        deltas = [b - a for a, b in pairwise(ordered)]
        if not deltas or max(deltas) < 0x80:  # the usual case, six times as fast
            return _pack_slowly(ordered[:1]) + bytes(deltas)
    return _pack_slowly(ordered)


def _pack_slowly(offsets: Sequence[int]) -> bytes:
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


class GroupRow(Struct, frozen=True, array_like=True):
    """A destination's consumer group as saved, with `seen` and `position` resolved."""

    uid: int
    app: str
    id: str
    kind: str
    since: int
    begin: int
    seen: int
    is_at_head: bool
    unfinished: tuple[int, ...]
    state: str
    cause: str
    state_since_ms: int
    reason: str
    held_ms: int
    behind_bytes: int
    suspects: tuple[int, ...]
    settings_digest: bytes

    @property
    def position(self) -> int:
        """The next offset that is not done."""
        return self.unfinished[0] if self.unfinished else self.seen

    def is_done(self, offset: int) -> bool:
        """Say whether the group is done with an offset of the log (its event may still wait)."""
        return offset < self.seen and offset not in self.unfinished


def read_setting(db: apsw.Connection, name: str) -> str | None:
    """Return a setting of the file: head, snapshot, ahead, newest, saved_ms, inbox, next_id."""
    row = db.execute("SELECT value FROM setting WHERE name=?", (name,)).fetchone()
    return str(row[0]) if row else None


def read_groups(db: apsw.Connection) -> list[GroupRow]:
    """Return the groups of destinations that exist. Call it within a read transaction."""
    head = int(read_setting(db, "head") or 0)
    rows = db.execute(
        "SELECT uid, app, id, kind, since, begin, seen, at_head, unfinished, state, cause,"
        " state_since_ms, reason, held_ms, behind_bytes, suspects, settings_digest"
        " FROM grp WHERE removed_ms IS NULL ORDER BY app, id"
    )
    return [_group_row(list(row), head) for row in rows]


def _group_row(values: list[object], head: int) -> GroupRow:
    row = msgspec.convert(
        [*values[:7], bool(values[7]), (), *values[9:15], (), values[16]], GroupRow
    )
    return msgspec.structs.replace(
        row,
        seen=max(row.seen, head) if row.is_at_head else row.seen,
        unfinished=tuple(unpack_offsets(_blob(values[8]))),
        suspects=tuple(unpack_offsets(_blob(values[15]))),
    )


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
