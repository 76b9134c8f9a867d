"""The queue in a file: SQLite, so that an event is on disk when the call returns.

WAL with `synchronous=FULL`: each call waits for one sync of the disk, which is the price of
surviving a power cut. Several processes may share a file. Before a fork the connection is closed,
because SQLite's locks do not survive one; both sides open it again when they need it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trunkline_sdk.clock import monotonic
from trunkline_sdk.entry import Entry, RouteState, Waiting
from trunkline_sdk.errors import QueueFileError, QueueFull
from trunkline_sdk.locks import SenderLocks
from trunkline_sdk.queues import Queue, within_bytes

BUSY_SECONDS = 30.0  # for other processes that share the file
FORMAT = 1

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entry (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    route TEXT NOT NULL, part TEXT NOT NULL, message_id TEXT NOT NULL,
    body BLOB NOT NULL, made_ms INTEGER NOT NULL, size INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_route ON entry (route, number);
CREATE TABLE IF NOT EXISTS room (bytes INTEGER NOT NULL, events INTEGER NOT NULL);
INSERT INTO room SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM room);
CREATE TRIGGER IF NOT EXISTS entry_came AFTER INSERT ON entry
BEGIN UPDATE room SET bytes = bytes + NEW.size, events = events + 1; END;
CREATE TRIGGER IF NOT EXISTS entry_went AFTER DELETE ON entry
BEGIN UPDATE room SET bytes = bytes - OLD.size, events = events - 1; END;
CREATE TABLE IF NOT EXISTS route (
    route TEXT PRIMARY KEY, failures INTEGER NOT NULL, not_before_ms INTEGER NOT NULL
);
PRAGMA user_version = {FORMAT};
"""
_NEXT_ROUTE = """
WITH RECURSIVE found (route) AS (
    SELECT min(route) FROM entry
    UNION ALL
    SELECT (SELECT min(route) FROM entry WHERE route > found.route)
    FROM found WHERE found.route IS NOT NULL
)
SELECT found.route, coalesce(failures, 0), coalesce(not_before_ms, 0)
FROM found LEFT JOIN route ON route.route = found.route WHERE found.route IS NOT NULL
"""


class FileQueue(Queue):
    """Entries in an SQLite file, at most `bytes_max` of them. They outlive the process.

    Raises `QueueFileError` when the file cannot be opened, or was made by a later version.
    """

    look_seconds = 0.5  # other processes put entries in, and end while they send

    def __init__(self, path: Path, bytes_max: int) -> None:
        super().__init__()
        self._path = path
        self._bytes_max = bytes_max
        self._db: sqlite3.Connection | None = None
        self._locks = SenderLocks(path)
        self.count()  # a file that cannot be used is said now, not at the first event

    def put(self, entries: Sequence[Entry]) -> int:
        size = sum(entry.size_bytes for entry in entries)
        with self._using() as db, _transaction(db):
            used = int(db.execute("SELECT bytes FROM room").fetchone()[0])
            if used + size > self._bytes_max:
                raise QueueFull(
                    f"{used:,} bytes wait in {self._path} and it takes {self._bytes_max:,}; "
                    "nothing was queued. Is the node reachable? Raise Limits.queue_bytes_max"
                )
            last = 0
            for entry in entries:
                last = _insert(db, entry)
            return last

    def head(self, route: str, count_max: int, bytes_max: int) -> list[Waiting]:
        with self._using() as db:
            rows = db.execute(
                "SELECT number, route, part, message_id, body, made_ms FROM entry "
                "WHERE route = ? ORDER BY number LIMIT ?",
                (route, count_max),
            )
            return within_bytes([Waiting(row[0], Entry(*row[1:])) for row in rows], bytes_max)

    def remove(self, done: Sequence[Waiting]) -> None:
        numbers = [(waiting.number,) for waiting in done]
        with self._using() as db, _transaction(db):
            db.executemany("DELETE FROM entry WHERE number = ?", numbers)

    def routes(self) -> list[RouteState]:
        with self._using() as db:
            return [RouteState(*row) for row in db.execute(_NEXT_ROUTE)]

    def pause(self, route: str, failures: int, not_before_ms: int) -> None:
        with self._using() as db, _transaction(db):
            db.execute(
                "INSERT OR REPLACE INTO route VALUES (?, ?, ?)", (route, failures, not_before_ms)
            )

    def holds(self, number_max: int, routes: Collection[str]) -> bool:
        with self._using() as db:
            return any(
                db.execute(
                    "SELECT 1 FROM entry WHERE route = ? AND number <= ? LIMIT 1",
                    (route, number_max),
                ).fetchone()
                for route in routes
            )

    def count(self) -> int:
        with self._using() as db:
            return int(db.execute("SELECT events FROM room").fetchone()[0])

    def leave(self) -> list[Waiting]:
        with self._lock:
            self._close()
            return []

    def claim(self, route: str) -> bool:
        return self._locks.claim(route)

    def release(self, route: str) -> None:
        self._locks.release(route)

    def before_fork(self) -> None:
        super().before_fork()
        self._close()

    def after_fork_in_child(self) -> None:
        self._locks.forget()
        self._lock.release()

    @contextmanager
    def _using(self) -> Generator[sqlite3.Connection, None, None]:
        with self._lock:
            try:
                if self._db is None:
                    self._db = _open(self._path)
                yield self._db
            except (sqlite3.Error, OSError) as error:
                raise QueueFileError(
                    f"the queue file {self._path} cannot be used: {error}. It must be an SQLite "
                    "file of this library on a local disk with room, writable by this user"
                ) from error

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _open(path: Path) -> sqlite3.Connection:
    _create_private(path)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _create_private(path: Path) -> None:
    """Make the file readable to this user only: what waits tells of people.

    Never open one that exists: closing it again would drop the locks that SQLite holds on it.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def _prepare(db: sqlite3.Connection) -> None:
    _use_wal(db)
    db.execute("PRAGMA synchronous = FULL")
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > FORMAT:
        raise sqlite3.DatabaseError(
            f"it has format {version} of a later version of this library, which reads {FORMAT}"
        )
    if version < FORMAT:
        db.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")


def _use_wal(db: sqlite3.Connection) -> None:
    # SQLite does not wait for others while it changes the mode; a few processes may start at once.
    deadline = monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Generator[None, None, None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, entry: Entry) -> int:
    done = db.execute(
        "INSERT INTO entry (route, part, message_id, body, made_ms, size) VALUES (?,?,?,?,?,?)",
        (
            entry.route, entry.group, entry.message_id, entry.body, entry.made_ms,
            entry.size_bytes,
        ),
    )  # fmt: skip
    return done.lastrowid or 0
