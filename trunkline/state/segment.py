"""A segment: one SQLite file of blocks of records, the unit that the event log keeps and removes.

`<topic>/<partition>/<base offset, 20 digits>.db`. Anyone can open it with SQLite:

- `block`: `base` is the offset of its first record, `count` how many there are. `first` is the
  smallest stamp in it; `last` the largest stamp in the partition up to here, so that it never
  falls and can be searched. `data` is a MessagePack array of records, each `[key, value, stamp]`.
- `mark`: `created_ms` (Unix milliseconds), and `probe`, which is written to see that it works.
- `application_id` says that the file is ours, `user_version` its format.

Records go in as blocks because a row costs more than a record: measured on 2 cores, with 700 B
records, `synchronous=FULL` and a page of 16 KiB, a commit took 0.36 ms for 1 record, 0.52 ms for
100, 2.3 ms for 1,000 (424,000 records a second). Pages of 4 KiB took 0.32, 0.69 and 2.9 ms
(332,000); 32 KiB 0.36, 0.61 and 2.1 ms, and write twice as much for a single record. mmap gained
nothing: what is read was just written.

A file is written by one process, read by many. It is *closed* when a later segment exists: then it
never changes, and is read without locks once nothing is left in its write-ahead log.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import urllib.parse
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from trunkline.kit.eventlog import Fetched, LogFailure, Record
from trunkline.kit.folders import sync_folder
from trunkline.state.db import use_wal
from trunkline.telemetry import eventlog as telemetry

APPLICATION_ID = 0x54524B4C  # "TRKL"
FORMAT = 1
PAGE_BYTES = 16_384
BLOCK_BYTES_MAX = 1_048_576
BLOCK_RECORDS_MAX = 2_000
BUSY_MS = 5_000
SIDE_FILES = ("-wal", "-shm", "-journal")
NO_STAMP = -(1 << 63)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS block (base INTEGER PRIMARY KEY, count INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])
_STAMP = operator.itemgetter(2)
decode_block = _DECODER.decode
encode_block = _ENCODER.encode


class Block(NamedTuple):
    """A row of `block`."""

    base: int
    length: int
    first: int
    last: int
    data: bytes


class Segment(NamedTuple):
    """A segment by its name."""

    base: int
    path: Path


class WriteFailed(Exception):
    """A transaction failed. `is_certain`: nothing of it is stored; else it may be found whole."""

    def __init__(self, cause: BaseException, is_certain: bool, is_full: bool) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.is_certain = is_certain
        self.is_full = is_full


def segment_path(folder: Path, base: int) -> Path:
    """Return where the segment that begins with an offset lies."""
    return folder / f"{base:020d}.db"


def list_segments(folder: Path) -> list[Segment]:
    """Return the segments of a partition, oldest first."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 (on the path of every read that finds nothing)
    except FileNotFoundError:
        return []
    return sorted(
        Segment(int(name[:20]), folder / name)
        for name in names
        if len(name) == 23 and name.endswith(".db") and name[:20].isdigit()
    )


def remove_segment(path: Path) -> int:
    """Unlink a segment with its side files and return the bytes that were freed."""
    freed = 0
    # The database first: side files without one are swept, one without its log would be torn.
    for name in (path, *(path.with_name(path.name + side) for side in SIDE_FILES)):
        with contextlib.suppress(FileNotFoundError):
            freed += name.stat().st_size
            name.unlink()
    return freed


def encode_blocks(records: Sequence[Record], base: int, last: int) -> list[Block]:
    """Pack records into blocks within the limits. `last` is the largest stamp before them."""
    blocks: list[Block] = []
    for start in range(0, len(records), BLOCK_RECORDS_MAX):
        chunk = records[start : start + BLOCK_RECORDS_MAX]
        for block in _pack(chunk, base + start, last):
            blocks.append(block)
            last = block.last
    return blocks


def _pack(records: Sequence[Record], base: int, last: int) -> Iterator[Block]:
    data = _ENCODER.encode(records)
    if len(data) > BLOCK_BYTES_MAX and len(records) > 1:
        middle = len(records) // 2
        for half, start in ((records[:middle], base), (records[middle:], base + middle)):
            for block in _pack(half, start, last):
                yield block
                last = block.last
        return
    stamps = list(map(_STAMP, records))
    yield Block(base, len(records), min(stamps), max(last, *stamps), data)


class SegmentWriter:
    """The one writer of a segment. `end` is the next offset, `last` the largest stamp."""

    def __init__(self, path: Path, sync: str, vfs: str | None, now_ms: int) -> None:
        """Open a segment, making it where it is new. Raises `WriteFailed` or `LogFailure`."""
        self.path = path
        self.base = int(path.name[:20])
        self.wal_bytes = 0
        if not path.exists():
            # A log that outlived its database must not be taken for this one's.
            for side in SIDE_FILES:
                path.with_name(path.name + side).unlink(missing_ok=True)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        try:
            self._db = connect(path, flags, sync, vfs)
        except apsw.Error as error:
            raise _opening_failed(path, error, None) from error
        try:
            self._prepare(now_ms)
        except apsw.Error as error:
            failure = _opening_failed(path, error, self._db)
            close_quietly(path, self._db)
            raise failure from error
        except LogFailure:
            close_quietly(path, self._db)
            raise

    def write(self, blocks: Sequence[Block]) -> None:
        """Store blocks in one transaction. Raises `WriteFailed`."""
        self._commit("INSERT INTO block VALUES (?, ?, ?, ?, ?)", blocks)
        self.end = blocks[-1].base + blocks[-1].length
        self.last = blocks[-1].last
        self.bytes += sum(len(block.data) + 64 for block in blocks)

    def probe(self, now_ms: int) -> None:
        """Write durably and leave no record. Raises `WriteFailed`."""
        self._commit("INSERT OR REPLACE INTO mark VALUES ('probe', ?)", [(now_ms,)])

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the database as far as readers allow."""
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def close(self) -> None:
        """Let go. Where nobody reads, the rest of the log goes into the database now."""
        close_quietly(self.path, self._db)

    def _prepare(self, now_ms: int) -> None:
        db = self._db
        version = _version(db, self.path)
        use_wal(db)
        if version == 0:
            db.execute("BEGIN IMMEDIATE")
            db.execute(_SCHEMA)
            db.execute("INSERT OR IGNORE INTO mark VALUES ('created_ms', ?)", (now_ms,))
            db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}")
            db.execute("COMMIT")
        else:
            # What a crash left in the log may be visible and not yet on disk. Nothing that is
            # appended now may come behind a record that a power loss could still take.
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        created_ms = db.execute("SELECT value FROM mark WHERE name='created_ms'").get
        if not isinstance(created_ms, int):
            raise apsw.CorruptError("it does not say when it was made")
        self.created_ms = created_ms
        self.end, self.last = _end_of(db, self.base)
        self.bytes = int(db.pragma("page_count")) * PAGE_BYTES
        db.set_wal_hook(self._note_wal)

    def _note_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_bytes = pages * PAGE_BYTES
        return apsw.SQLITE_OK

    def _commit(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        db = self._db
        is_committing = False
        try:
            db.execute("BEGIN IMMEDIATE")
            for row in rows:
                db.execute(statement, row)  # pyright: ignore[reportArgumentType]
            is_committing = True
            db.execute("COMMIT")
        except apsw.Error as error:
            is_full = _is_full(error, db)
            # A full disk ends a transaction before its last frame; any other failure of a commit
            # may have come after it.
            is_certain = not is_committing or isinstance(error, apsw.FullError)
            raise WriteFailed(error, is_certain and self._undo(), is_full) from error

    def _undo(self) -> bool:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except apsw.Error:
            return False  # told as uncertain, which makes the caller go to a new file
        return True


class SegmentReader:
    """A segment to look at. Not for two threads at a time."""

    def __init__(self, path: Path, db: apsw.Connection, sync: str, file: int) -> None:
        self.path = path
        self.base = int(path.name[:20])
        self._db = db
        self._sync = sync
        self._file = file

    def was_replaced(self) -> bool:
        """Say whether another file has taken its place, or none (`state/rewriting.py`)."""
        return _file_of(self.path) != self._file

    def read(
        self, partition: int, offset: int, records_max: int, bytes_max: int
    ) -> tuple[list[Fetched], bool]:
        """Return records from an offset on, in whole blocks, and whether a limit ended it."""
        taken: list[Fetched] = []
        total = 0
        with explained(self.path), contextlib.closing(self.blocks(offset)) as blocks:
            for base, data in blocks:
                records = _DECODER.decode(data)
                skip = max(0, offset - base)
                taken.extend(
                    [
                        Fetched(partition, at, record)
                        for at, record in enumerate(records[skip:], base + skip)
                    ]
                )
                total += len(data)
                if len(taken) >= records_max or total >= bytes_max:
                    return taken, True
        return taken, False

    def blocks(self, offset: int) -> Generator[tuple[int, bytes]]:
        """Yield the blocks behind an offset, from the one on that holds it: base and data."""
        with contextlib.closing(self._db.cursor()) as cursor:
            cursor.execute(
                "SELECT base, data FROM block WHERE base >= "
                "coalesce((SELECT max(base) FROM block WHERE base <= ?1), ?1) "
                "AND base + count > ?1 ORDER BY base",
                (offset,),
            )
            yield from cursor

    def fetch(self, partition: int, offset: int) -> Fetched | None:
        """Return one record, or None where it is not here."""
        with explained(self.path):
            row = self._block_at(offset)
            if row is None or offset >= row[0] + row[1]:
                return None
            data = self._db.execute("SELECT data FROM block WHERE base=?", (row[0],)).get
            return Fetched(partition, offset, _DECODER.decode(data)[offset - row[0]])

    def end(self) -> tuple[int, int]:
        """Return the offset behind the last record, and the largest stamp (`NO_STAMP`: empty)."""
        with explained(self.path):
            return _end_of(self._db, self.base)

    def offset_at(self, stamp: int) -> int:
        """Return the first offset with this stamp or a later one, or the end."""
        low, (end, _) = self.base, self.end()
        high, found = end, end
        with explained(self.path):
            while low < high:
                row = self._block_at((low + high) // 2)
                if row is None:
                    break
                base, count, last = row
                if last >= stamp:
                    high = found = base
                else:
                    low = base + count
            if found == end:
                return end
            data = self._db.execute("SELECT data FROM block WHERE base=?", (found,)).get
            stamps = map(_STAMP, _DECODER.decode(data))
            return found + next(at for at, each in enumerate(stamps) if each >= stamp)

    def close(self) -> None:
        """Stop looking."""
        close_quietly(self.path, self._db)

    def _block_at(self, offset: int) -> tuple[int, int, int] | None:
        row = self._db.execute(
            "SELECT base, count, last FROM block WHERE base <= ? ORDER BY base DESC LIMIT 1",
            (offset,),
        ).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else None


def open_reader(path: Path, is_closed: bool, sync: str, vfs: str | None) -> SegmentReader | None:
    """Open a segment to look at; None where it is gone, or not made to its end yet.

    `is_closed`: a later segment exists.
    """
    log = path.with_name(path.name + "-wal")
    is_whole = is_closed and not log.exists()
    file = _file_of(path)  # before it is opened: what takes its place later is seen as such
    with explained(path):
        try:
            if path.stat().st_size == 0:
                return None
            if is_whole:
                name = f"file:{urllib.parse.quote(str(path))}?immutable=1"
                db = connect(name, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, sync, vfs)
            else:
                db = connect(path, apsw.SQLITE_OPEN_READWRITE, sync, vfs)
        except (FileNotFoundError, apsw.CantOpenError):
            if path.exists():
                raise
            return None
        try:
            if _version(db, path) == 0:
                db.close(True)
                return None
        except (apsw.Error, LogFailure):
            db.close(True)
            raise
    if not is_whole:
        _settle(path, db)
    return SegmentReader(path, db, sync, file)


def _file_of(path: Path) -> int:
    """Return what tells a file from another of the same name; -1 where there is none."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 (on the path of every read)
    except FileNotFoundError:
        return -1


def sweep_log(path: Path, sync: str, vfs: str | None) -> None:
    """Bring what a segment has in its write-ahead log into the database. May raise `apsw.Error`."""
    db = connect(path, apsw.SQLITE_OPEN_READWRITE, sync, vfs)
    try:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    finally:
        close_quietly(path, db)


def close_quietly(path: Path, db: apsw.Connection) -> None:
    """Close a connection. The last one brings the log in; should that fail, the log stays.

    Behind a sync that failed a log may end with what nobody was promised and nobody has seen, so
    one that went must not be back after a power loss: then it would be seen.
    """
    log = path.with_name(path.name + "-wal")
    had_log = log.exists()
    try:
        db.close(True)
        if had_log and not log.exists():
            sync_folder(path.parent)
    except (apsw.Error, OSError) as error:
        telemetry.tidy_failed(path, error)


@contextlib.contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn what reading a segment may raise into a `LogFailure` that names the file."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, msgspec.DecodeError) as error:
        raise damaged(path, error) from error
    except (apsw.Error, OSError) as error:
        raise LogFailure(
            f"{path}: cannot be read ({type(error).__name__}: {error}); "
            "check the disk and the file's permissions"
        ) from error


def damaged(path: Path, error: BaseException) -> LogFailure:
    """Return the failure that names a damaged segment and what to do about it."""
    return LogFailure(
        f"{path}: this segment of the event log is damaged ({error}). Nothing was skipped. "
        "Restore the file from a backup; or, to give its events up, stop the node and move it "
        "away together with its -wal and -shm files"
    )


def connect(name: Path | str, flags: int, sync: str, vfs: str | None) -> apsw.Connection:
    """Open the file of a segment, whose checkpoints are run by hand. May raise `apsw.Error`."""
    db = apsw.Connection(str(name), flags=flags, vfs=vfs)
    try:
        db.set_busy_timeout(BUSY_MS)
        db.execute(f"PRAGMA synchronous={sync}")
        if flags & apsw.SQLITE_OPEN_CREATE:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        # Checkpoints are ours: in a commit they would stall it, and fail it for what is no failure.
        db.execute("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096")
    except apsw.Error:
        close_quietly(Path(name), db)
        raise
    return db


def _opening_failed(
    path: Path, error: apsw.Error, db: apsw.Connection | None
) -> LogFailure | WriteFailed:
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return damaged(path, error)
    is_full = os.statvfs(path.parent).f_bavail == 0 if db is None else _is_full(error, db)
    return WriteFailed(error, is_certain=True, is_full=is_full)


def _version(db: apsw.Connection, path: Path) -> int:
    # In this order: both are set in one commit, which may come between the two looks.
    version, application = int(db.pragma("user_version")), int(db.pragma("application_id"))
    if application not in (0, APPLICATION_ID) or (application == 0 and version != 0):
        raise LogFailure(f"{path}: not a segment of ours; move it out of the event log's folder")
    if version > FORMAT:
        raise LogFailure(
            f"{path} has format {version}, this Trunkline knows {FORMAT}: "
            "run the version that wrote it, or a later one; nothing was changed"
        )
    return version


def _settle(path: Path, db: apsw.Connection) -> None:
    """Make durable what can be seen in a segment that has a log.

    After a kill, or after a sync that failed, the first to open the file sees records that were
    written and never synced. Who acts on them and then loses power would be ahead of the log.
    """
    try:
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    except apsw.BusyError:
        pass  # another process does the same right now
    except apsw.Error as error:
        # A full or failing disk keeps nobody from reading. It takes a kill, then this, then a
        # power loss, for the above to happen.
        telemetry.tidy_failed(path, error)


def _end_of(db: apsw.Connection, base: int) -> tuple[int, int]:
    row = db.execute("SELECT base + count, last FROM block ORDER BY base DESC LIMIT 1").fetchone()
    if row is None:
        return base, NO_STAMP
    end, last = row
    if not isinstance(end, int) or not isinstance(last, int):
        raise apsw.CorruptError("its last block has no number")
    return end, last


def _is_full(error: apsw.Error, db: apsw.Connection) -> bool:
    if isinstance(error, apsw.FullError):
        return True
    is_input_output = isinstance(error, apsw.IOError | apsw.CantOpenError)
    return is_input_output and db.system_errno in NO_ROOM
