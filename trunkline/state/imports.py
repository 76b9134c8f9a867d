"""What is kept of imports: which file, how far, how many. `state/imports.db`.

An import is known by its app and by what its file is (`FileIdentity`), not by the file's name. Its
row is saved with a full sync after each append, so after a kill the log is ahead of it by one
append at most (`bulk/importing.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import apsw
from msgspec import Struct
from msgspec.structs import asdict, fields

from trunkline.state.db import SYNC_FULL, open_writer
from trunkline.state.home import Home

HEAD_BYTES = 1_048_576
MIGRATIONS = (
    """
    CREATE TABLE import (name TEXT PRIMARY KEY, app TEXT NOT NULL, path TEXT NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, head TEXT NOT NULL,
        terms TEXT NOT NULL, started_ms INTEGER NOT NULL, done_ms INTEGER NOT NULL,
        position INTEGER NOT NULL, rows INTEGER NOT NULL, accepted INTEGER NOT NULL,
        rejected INTEGER NOT NULL, reject_bytes INTEGER NOT NULL,
        first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX import_by_file ON import (app, head);
    """,
)


class FileIdentity(Struct, frozen=True):
    """What a file is known by: bytes, time of change, SHA-256 of its first MiB."""

    size: int
    mtime_ns: int
    head: str


class ImportRow(Struct):
    """An import. `done_ms` is 0 until it is through; `position` is the last row that was taken up.

    `terms` is what decides which events the rows make, as JSON: another mapping is another import.
    Its records lie in its partition from `first_offset` to below `next_offset`, both -1 until it
    began. `reject_bytes` is how long its file of rejects was.
    """

    name: str
    app: str
    path: str
    size: int
    mtime_ns: int
    head: str
    terms: str
    started_ms: int
    done_ms: int = 0
    position: int = 0
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    reject_bytes: int = 0
    first_offset: int = -1
    next_offset: int = -1


_NAMES = tuple(field.name for field in fields(ImportRow))
_SAVE = (
    f"INSERT OR REPLACE INTO import ({', '.join(_NAMES)})"
    f" VALUES ({', '.join(':' + name for name in _NAMES)})"
)


class Imports:
    """The imports of a home. One process writes at a time: the one that has their partition."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def find(self, app: str, file: FileIdentity) -> ImportRow | None:
        """Return the last import of this file into this app."""
        rows: list[tuple[Any, ...]] = list(
            self._db.execute(
                f"SELECT {', '.join(_NAMES)} FROM import WHERE app=? AND head=? AND size=?"
                " AND mtime_ns=? ORDER BY started_ms DESC LIMIT 1",
                (app, file.head, file.size, file.mtime_ns),
            )
        )
        return ImportRow(*rows[0]) if rows else None

    def save(self, row: ImportRow) -> None:
        """Write an import down; durable when it returns."""
        self._db.execute(_SAVE, asdict(row))


@contextlib.contextmanager
def open_imports(home: Home) -> Generator[Imports]:
    """Open what is kept of imports, making it where it is new."""
    db = open_writer(home.imports_file, MIGRATIONS, SYNC_FULL)
    try:
        yield Imports(db)
    finally:
        db.close()


def identify(path: Path) -> FileIdentity:
    """Return what a file is known by. Raises `OSError`."""
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
    known = path.stat()
    return FileIdentity(known.st_size, known.st_mtime_ns, head)
