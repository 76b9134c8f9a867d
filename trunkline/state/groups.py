"""What consumer groups committed on a topic: one small file, many processes, a row a partition.

It serves retention and lag, so a power loss may take back the last commits: then more is kept, and
nothing is lost. A group that committed once is named in `grp` even where it has no row, until it
is forgotten, since it holds segments back from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import apsw

from trunkline.kit.eventlog import LogFailure, LogFull
from trunkline.state.db import use_wal
from trunkline.state.segment import close_quietly

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS grp (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS position (name TEXT, partition INTEGER, next INTEGER NOT NULL,
        PRIMARY KEY (name, partition)) WITHOUT ROWID;
    PRAGMA user_version=1;
"""


class Groups:
    """The commits of one topic. May be called from any thread."""

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._path = path
        self._vfs = vfs
        self._lock = threading.Lock()
        self._db: apsw.Connection | None = None

    def commit(self, group: str, positions: Mapping[int, int]) -> None:
        """Store a group's positions. Raises `LogFailure`; then they stay as they were."""
        with self._lock:
            try:
                db = self._open()
                with _Immediate(db):
                    db.execute("INSERT OR IGNORE INTO grp VALUES (?)", (group,))
                    db.executemany(
                        "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                        [(group, partition, offset) for partition, offset in positions.items()],
                    )
            except apsw.Error as error:
                raise self._failure(error) from error

    def committed(self, group: str) -> dict[int, int]:
        """Return a group's positions, empty where it has none."""
        return self.all().get(group, {})

    def all(self) -> dict[str, dict[int, int]]:
        """Return the positions of every group there is."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return {}
            try:
                return _read(self._open())
            except apsw.Error as error:
                raise self._failure(error) from error

    def forget(self, group: str) -> None:
        """Remove a group."""
        with self._lock:
            if self._db is None and not self._path.exists():
                return
            try:
                db = self._open()
                with _Immediate(db):
                    db.execute("DELETE FROM position WHERE name=?", (group,))
                    db.execute("DELETE FROM grp WHERE name=?", (group,))
            except apsw.Error as error:
                raise self._failure(error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _open(self) -> apsw.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = apsw.Connection(str(self._path), vfs=self._vfs)
            try:
                db.set_busy_timeout(5000)
                # Several processes may make the file at the same moment: the lock comes first.
                use_wal(db)
                db.execute("PRAGMA synchronous=NORMAL")
                if db.pragma("user_version") == 0:
                    with _Immediate(db):
                        db.execute(_SCHEMA)
            except apsw.Error:
                db.close(True)
                raise
            self._db = db
        return self._db

    def _drop(self) -> None:
        if self._db is not None:
            close_quietly(self._path, self._db)
            self._db = None

    def _failure(self, error: apsw.Error) -> LogFailure:
        self._drop()  # opened again by the next call, whatever state this connection is in
        sentence = f"{self._path}: positions of groups are not readable or not saved: {error}"
        return LogFull(sentence) if isinstance(error, apsw.FullError) else LogFailure(sentence)


def _read(db: apsw.Connection) -> dict[str, dict[int, int]]:
    groups: dict[str, dict[int, int]] = {}
    with _Immediate(db):  # one moment for both tables
        for row in db.execute("SELECT name FROM grp"):
            groups[str(row[0])] = {}
        rows: Iterable[tuple[Any, ...]] = db.execute("SELECT name, partition, next FROM position")
        for name, partition, offset in rows:
            groups[name][partition] = offset
    return groups


class _Immediate:
    """A transaction that takes the write lock at its begin, so that nobody else has to give way."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")
