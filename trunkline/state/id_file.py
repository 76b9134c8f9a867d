"""One file of the index of ids: those received on one UTC day, or a part of a busy day.

Keys are hashes, so they come in no order, and a B-tree of them pays for that: measured, 1,000
random keys into one of a million cost 32 µs each, for each dirties a page of its own; into one of
ten thousand 4 µs. So no id is a row of its own. New ids are *fresh*: one blob for the step they
came in, behind the last one, and in memory one array for each of 8,192 buckets (by the first bits
of the key). Once 65,536 are fresh, each step also *settles* as many as it brings: the next few
buckets become one row each, of 8 ids. The cost stays the same however much is stored, no step
waits for a merge, and a restart reads the fresh blobs back.

To find a settled id is to look through the rows of its bucket, at most 12 KB, next to each other.
That is paid for duplicates and traces; for ids that are new the filter answers (`id_filter.py`).

The file says how far it covers EVENTS (`mark.next`), in the transaction that writes the ids.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from trunkline.state.db import checkpoint, open_reader, open_writer

KEY_BYTES = 16
FRESH_IDS_MAX = 65_536  # 3 MB in memory, and at most twice that in blobs a trace looks through
BUCKETS = 8192
_BLOBS_REMOVED_MAX = 16  # in one step, of the fresh ones that are settled: more than it brings
_PLACE = struct.Struct("<IQIQQ")
_ENTRY_BYTES = KEY_BYTES + _PLACE.size

_MIGRATIONS = (
    """
    CREATE TABLE settled (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
    CREATE TABLE fresh (id INTEGER PRIMARY KEY, entries BLOB NOT NULL);
    CREATE TABLE mark (id INTEGER PRIMARY KEY CHECK (id = 0), first INTEGER NOT NULL,
        next INTEGER NOT NULL, ids INTEGER NOT NULL, lap INTEGER NOT NULL);
    INSERT INTO mark VALUES (0, -1, -1, 0, 0);
    """,
)  # settled.id: bucket << 32 | number of the lap, so that the rows of a bucket are neighbours


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


def given_key(app: str, given: str) -> bytes:
    """Return what an event is found by that its sender called otherwise than its messageId is.

    Never that of a messageId: a trace asks for it, duplicates are not judged by it.
    """
    text = f"{app}\0{given}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES, person=b"given id").digest()


class IdFile:
    """The one writer of a file."""

    def __init__(self, path: Path, name: FileName, vfs: str | None = None) -> None:
        self.path = path
        self.name = name
        self._db = open_writer(path, _MIGRATIONS, vfs=vfs)
        self._db.execute("PRAGMA cache_size=-4096")
        self._db.execute("PRAGMA journal_size_limit=16777216")
        mark = self._db.execute("SELECT first, next, ids, lap FROM mark").fetchone()
        first, next_, ids, lap = cast("tuple[int, int, int, int]", mark)
        self.first = first  # EVENTS offset of the first id that was ever put; -1: none yet
        self.next = next_  # every id of this file with an EVENTS offset below is in it
        self.ids = ids
        self.fresh_ids = 0
        self._fresh = [bytearray() for _ in range(BUCKETS)]
        self._bucket = 0
        self._first_blob, self._last_blob = 1, 0
        self._load_fresh()
        self._lap = lap + 1  # a lap that a restart cut short is not gone on with
        self._lap_blob = 0  # the last blob when this lap over the buckets began
        self._settled_blob = 0  # blobs up to this one are settled
        self._is_dirty = True

    @property
    def is_settled(self) -> bool:
        """Say whether nothing is fresh."""
        return self._first_blob > self._last_blob

    def fresh_keys(self) -> list[bytes]:
        """Return the keys that are not settled yet."""
        return [key for bucket in self._fresh for key in _keys_in(bucket)]

    def settled_keys(self, bucket: int) -> list[bytes]:
        """Return the settled keys of one bucket."""
        return _keys_in(_settled(self._db, bucket))

    def find_many(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, IdEntry]]:
        """Yield what is known of these keys, each at most once: its newest place."""
        for key in keys:
            bucket = _bucket_of(key)
            entry = _find_last(self._fresh[bucket], key)
            if entry is None and self.ids > self.fresh_ids:
                entry = _find_last(_settled(self._db, bucket), key)
            if entry is not None:
                yield key, entry

    def put_many(self, entries: Sequence[tuple[bytes, IdEntry]], next_: int) -> None:
        """Store ids; with them the file covers EVENTS below `next_`.

        An id that is there gets its new place. Survives a crash of the process, not of the machine.
        """
        pack = _PLACE.pack
        packed = [key + pack(*entry) for key, entry in entries]
        first = self.first if self.first >= 0 else entries[0][1].events_offset
        due = self._due(len(packed))
        with self._db:
            self._db.execute(
                "INSERT INTO fresh (id, entries) VALUES (?, ?)",
                (self._last_blob + 1, b"".join(packed)),
            )
            self._settle(due)
            self._db.execute(
                "UPDATE mark SET first=?, next=max(next, ?), ids=ids+?",
                (first, next_, len(packed)),
            )
        self._forget(due)
        fresh = self._fresh
        for entry in packed:
            fresh[entry[0] << 5 | entry[1] >> 3] += entry  # `_bucket_of`, without the call
        self.fresh_ids += len(packed)
        self._last_blob += 1
        self.first, self.next = first, max(self.next, next_)
        self.ids += len(packed)

    def settle_some(self) -> None:
        """Settle a little of a file that gets no new ids any more."""
        end = min(self._bucket + BUCKETS // 64, BUCKETS)
        due = list(range(self._bucket, end)) if self.fresh_ids else []
        with self._db:
            self._settle(due)
        self._forget(due)

    def checkpoint(self) -> bool:
        """Bring everything to the disk; False where a reader was in the way."""
        if self._is_dirty:
            self._is_dirty = not checkpoint(self._db)
        return not self._is_dirty

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _load_fresh(self) -> None:
        rows = self._db.execute("SELECT id, entries FROM fresh ORDER BY id")
        blobs = cast("list[tuple[int, bytes]]", list(rows))
        for _, blob in blobs:
            for at in range(0, len(blob), _ENTRY_BYTES):
                entry = blob[at : at + _ENTRY_BYTES]
                self._fresh[_bucket_of(entry)] += entry
            self.fresh_ids += len(blob) // _ENTRY_BYTES
        if blobs:
            self._first_blob, self._last_blob = blobs[0][0], blobs[-1][0]

    def _due(self, incoming: int) -> list[int]:
        """Return the buckets to settle so that not too many ids stay fresh."""
        over = self.fresh_ids + incoming - FRESH_IDS_MAX
        due: list[int] = []
        for bucket in range(self._bucket, BUCKETS):
            if over <= 0:
                break
            over -= len(self._fresh[bucket]) // _ENTRY_BYTES
            due.append(bucket)
        return due

    def _settle(self, due: Sequence[int]) -> None:
        rows = [
            (bucket << 32 | self._lap, bytes(self._fresh[bucket]))
            for bucket in due
            if self._fresh[bucket]
        ]
        self._db.executemany("INSERT INTO settled (id, entries) VALUES (?, ?)", rows)
        self._db.execute("UPDATE mark SET lap=?", (self._lap,))
        if self._first_blob <= self._settled_blob:
            end = min(self._settled_blob, self._first_blob + _BLOBS_REMOVED_MAX - 1)
            self._db.execute("DELETE FROM fresh WHERE id<=?", (end,))
        self._is_dirty = True

    def _forget(self, due: Sequence[int]) -> None:
        """Do in memory what `_settle` did in the file."""
        removed = min(self._settled_blob + 1, self._first_blob + _BLOBS_REMOVED_MAX)
        self._first_blob = max(self._first_blob, removed)
        for bucket in due:
            if bucket == 0:
                self._lap_blob = self._last_blob
            self.fresh_ids -= len(self._fresh[bucket]) // _ENTRY_BYTES
            self._fresh[bucket] = bytearray()
            self._bucket = (bucket + 1) % BUCKETS
            if self._bucket == 0:
                # All that was fresh when the lap began has been passed since.
                self._settled_blob = self._lap_blob
                self._lap += 1
        if not self.fresh_ids:
            self._settled_blob = self._last_blob


class IdFileReader:
    """A look into a file that another process may be writing."""

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path)

    def find(self, key: bytes) -> IdEntry | None:
        """Return where an id is, its newest place; or None."""
        if self._db is None:
            return None
        with self._db:  # one moment: what is fresh in the one look may be settled in the next
            fresh = self._find_fresh(self._db, key)
            return fresh or _find_last(_settled(self._db, _bucket_of(key)), key)

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()

    def _find_fresh(self, db: apsw.Connection, key: bytes) -> IdEntry | None:
        rows = db.execute(
            "SELECT entries FROM fresh WHERE instr(entries, ?) ORDER BY id DESC", (key,)
        )
        blobs = (cast("bytes", row[0]) for row in rows)
        return next(filter(None, (_find_last(blob, key) for blob in blobs)), None)


def _bucket_of(key: bytes) -> int:
    return key[0] << 5 | key[1] >> 3


def _settled(db: apsw.Connection, bucket: int) -> bytes:
    rows = db.execute(
        "SELECT entries FROM settled WHERE id>=? AND id<? ORDER BY id",
        (bucket << 32, (bucket + 1) << 32),
    )
    return b"".join(cast("list[bytes]", [row[0] for row in rows]))


def _keys_in(blob: bytes | bytearray) -> list[bytes]:
    return [bytes(blob[at : at + KEY_BYTES]) for at in range(0, len(blob), _ENTRY_BYTES)]


def _find_last(blob: bytes | bytearray, key: bytes) -> IdEntry | None:
    at = blob.rfind(key)
    while at >= 0 and at % _ENTRY_BYTES:
        at = blob.rfind(key, 0, at + KEY_BYTES - 1)
    return IdEntry(*_PLACE.unpack_from(blob, at + KEY_BYTES)) if at >= 0 else None
