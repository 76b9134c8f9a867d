"""One file of the index of ids: those received on one UTC day, or a part of a busy day.

Keys are hashes, so they come in no order, and a B-tree pays for that: measured, 1,000 random keys
into one of a million cost 32 µs each, because each dirties a page of its own; into one of ten
thousand 4 µs. So new ids are first *fresh*: a blob of the step they came in, written behind the
last one, and a dictionary in memory. Once 131,072 are fresh each step also settles as many as it
brings, those of the next first byte: neighbours in the B-tree, which share pages. The cost then
stays the same however much is stored, no step has to wait for a merge, and a restart reads the
fresh blobs back.

The file says how far it covers EVENTS (`mark.next`), in the transaction that writes the ids.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from trunkline.state.db import open_reader, open_writer

KEY_BYTES = 16
FRESH_IDS_MAX = 131_072  # about 25 MB of memory, and 6 MB of blobs that a trace looks through
_BUCKETS = 256
_BLOBS_REMOVED_MAX = 8  # settled blobs removed in one step: more than a step brings
_LOOKUP_MAX = 500
_PLACE = struct.Struct("<IQIQQ")
_ENTRY_BYTES = KEY_BYTES + _PLACE.size

_MIGRATIONS = (
    """
    CREATE TABLE settled (key BLOB PRIMARY KEY, place BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE fresh (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
    CREATE TABLE mark (id INTEGER PRIMARY KEY CHECK (id = 0), first INTEGER NOT NULL,
        next INTEGER NOT NULL, ids INTEGER NOT NULL);
    INSERT INTO mark VALUES (0, -1, -1, 0);
    """,
)


class IdEntry(NamedTuple):
    """Where an id is: its record in ACCEPTED (origin) and in EVENTS, and when it was received."""

    origin_partition: int
    origin_offset: int
    events_partition: int
    events_offset: int
    received_ms: int


class FileName(NamedTuple):
    """A UTC day (since 1970) and the part of it; names sort by age."""

    day: int
    part: int


def id_key(app: str, message_id: str) -> bytes:
    """Return the 16 bytes an id is found by: BLAKE2b of app, NUL and messageId."""
    text = f"{app}\0{message_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


class IdFile:
    """The one writer of a file."""

    def __init__(self, path: Path, name: FileName, vfs: str | None = None) -> None:
        self.path = path
        self.name = name
        self._db = open_writer(path, _MIGRATIONS, vfs=vfs)
        self._db.execute("PRAGMA cache_size=-4096")
        self._db.execute("PRAGMA journal_size_limit=16777216")
        first, next_, ids = self._db.execute("SELECT first, next, ids FROM mark").fetchone() or ()
        self.first: int = first  # EVENTS offset of the first id that was ever put; -1: none yet
        self.next: int = next_  # every id of this file with an EVENTS offset below is in it
        self.ids: int = ids
        self._fresh: list[dict[bytes, bytes]] = [{} for _ in range(_BUCKETS)]
        self._bucket = 0
        self._last_blob = self._load_fresh()
        self._lap_blob = self._last_blob  # the last blob when this lap over the buckets began
        self._settled_blob = 0  # blobs up to this one are settled
        self.is_dirty = True

    @property
    def fresh_ids(self) -> int:
        """How many ids are not settled yet."""
        return sum(map(len, self._fresh))

    def fresh_keys(self) -> Iterator[bytes]:
        """Yield the keys that are not settled yet."""
        for bucket in self._fresh:
            yield from bucket

    def settled_keys(self, after: bytes, keys_max: int) -> list[bytes]:
        """Return settled keys in order, behind one."""
        rows = self._db.execute(
            "SELECT key FROM settled WHERE key>? ORDER BY key LIMIT ?", (after, keys_max)
        )
        return [row[0] for row in rows]

    def find_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, IdEntry]]:
        """Yield what is known of these keys, each at most once."""
        asked: list[bytes] = []
        for key in keys:
            place = self._fresh[key[0]].get(key)
            if place is None:
                asked.append(key)
            else:
                yield key, IdEntry(*_PLACE.unpack(place))
        asked.sort()
        for start in range(0, len(asked), _LOOKUP_MAX):
            chunk = asked[start : start + _LOOKUP_MAX]
            marks = ",".join("?" * len(chunk))
            sql = f"SELECT key, place FROM settled WHERE key IN ({marks})"
            for key, place in self._db.execute(sql, chunk):
                yield key, IdEntry(*_PLACE.unpack(place))

    def put_many(self, entries: Sequence[tuple[bytes, IdEntry]], next_: int) -> None:
        """Store ids; with them the file covers EVENTS below `next_`.

        An id that is there gets its new place. Survives a crash of the process, not of the machine.
        """
        places = [(key, _PLACE.pack(*entry)) for key, entry in entries]
        first = self.first if self.first >= 0 else entries[0][1].events_offset
        due = self._due(len(places))
        with self._db:
            self._db.execute(
                "INSERT INTO fresh (id, entries) VALUES (?, ?)",
                (self._last_blob + 1, b"".join([key + place for key, place in places])),
            )
            self._settle(due)
            self._db.execute(
                "UPDATE mark SET first=?, next=max(next, ?), ids=ids+?", (first, next_, len(places))
            )
        self._forget(due)
        for key, place in places:
            self._fresh[key[0]][key] = place
        self._last_blob += 1
        self.first, self.next = first, max(self.next, next_)
        self.ids += len(places)

    def settle_some(self) -> None:
        """Settle one bucket of a file that gets no new ids any more."""
        due = [self._bucket]
        with self._db:
            self._settle(due)
        self._forget(due)

    def checkpoint(self) -> bool:
        """Bring everything to the disk; False where a reader was in the way."""
        if self.is_dirty:
            _, frames, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone() or ()
            self.is_dirty = frames != moved
        return not self.is_dirty

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _load_fresh(self) -> int:
        last = 0
        for id_, blob in self._db.execute("SELECT id, entries FROM fresh ORDER BY id"):
            last = id_
            for start in range(0, len(blob), _ENTRY_BYTES):
                key = blob[start : start + KEY_BYTES]
                self._fresh[key[0]][key] = blob[start + KEY_BYTES : start + _ENTRY_BYTES]
        return last

    def _due(self, incoming: int) -> list[int]:
        """Return the buckets to settle so that not too many stay fresh."""
        over = self.fresh_ids + incoming - FRESH_IDS_MAX
        due: list[int] = []
        bucket = self._bucket
        while over > 0 and len(due) < _BUCKETS:
            over -= len(self._fresh[bucket])
            due.append(bucket)
            bucket = (bucket + 1) % _BUCKETS
        return due

    def _settle(self, due: Sequence[int]) -> None:
        rows = [row for bucket in due for row in sorted(self._fresh[bucket].items())]
        self._db.executemany("INSERT OR REPLACE INTO settled (key, place) VALUES (?, ?)", rows)
        self._db.execute(
            "DELETE FROM fresh WHERE id IN (SELECT id FROM fresh WHERE id<=? ORDER BY id LIMIT ?)",
            (self._settled_blob, _BLOBS_REMOVED_MAX),
        )
        self.is_dirty = True

    def _forget(self, due: Sequence[int]) -> None:
        for bucket in due:
            self._fresh[bucket].clear()
            self._bucket = (bucket + 1) % _BUCKETS
            if self._bucket == 0:
                # All that was fresh when the lap began has been passed since.
                self._settled_blob = self._lap_blob
                self._lap_blob = self._last_blob


class IdFileReader:
    """A look into a file that another process may be writing."""

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path)

    def find(self, key: bytes) -> IdEntry | None:
        """Return where an id is, or None."""
        if self._db is None:
            return None
        with self._db:  # one moment: what is fresh in the one look may be settled in the next
            return self._find_fresh(self._db, key) or self._find_settled(self._db, key)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()

    def _find_fresh(self, db: apsw.Connection, key: bytes) -> IdEntry | None:
        rows = db.execute(
            "SELECT entries FROM fresh WHERE instr(entries, ?) ORDER BY id DESC", (key,)
        )
        for (blob,) in rows:
            at = blob.rfind(key)
            while at >= 0:
                if at % _ENTRY_BYTES == 0:
                    return IdEntry(*_PLACE.unpack_from(blob, at + KEY_BYTES))
                at = blob.rfind(key, 0, at + KEY_BYTES - 1)
        return None

    def _find_settled(self, db: apsw.Connection, key: bytes) -> IdEntry | None:
        row = db.execute("SELECT place FROM settled WHERE key=?", (key,)).fetchone()
        return IdEntry(*_PLACE.unpack(row[0])) if row else None
