"""What is kept of imports: which file, how far, how many. `state/imports.db`.

An import is known by its app, its kind and by what its file is (`FileIdentity`), not by the file's
name. Its row is saved with a full sync after each append, so after a kill the log is ahead of it by
one append at most (`bulk/importing.py`).

A file that came over HTTP lies in `state/imports/` until it is taken in: `spool` is its name there.
Who has the partition of imports saves the rows of what it imports; gateways add rows (`order`) and
give a waiting one another file, never one that has begun and still has its own.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import apsw
from msgspec import Struct
from msgspec.structs import asdict, fields

from trunkline.kit.import_terms import ImportKind
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
    """
    ALTER TABLE import ADD COLUMN kind TEXT NOT NULL DEFAULT 'events';
    ALTER TABLE import ADD COLUMN key TEXT NOT NULL DEFAULT '';
    ALTER TABLE import ADD COLUMN spool TEXT NOT NULL DEFAULT '';
    ALTER TABLE import ADD COLUMN fault TEXT NOT NULL DEFAULT '';
    ALTER TABLE import ADD COLUMN columns TEXT NOT NULL DEFAULT '';
    ALTER TABLE import ADD COLUMN seconds REAL NOT NULL DEFAULT 0;
    ALTER TABLE import ADD COLUMN share REAL NOT NULL DEFAULT 0;
    ALTER TABLE import ADD COLUMN saved_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE import ADD COLUMN duplicates INTEGER NOT NULL DEFAULT -1;
    CREATE INDEX import_by_start ON import (started_ms);
    CREATE INDEX import_open ON import (started_ms, name)
        WHERE spool != '' AND done_ms = 0 AND fault = '';
    CREATE INDEX import_uncounted ON import (done_ms) WHERE duplicates < 0;
    """,
)


class TooManyImports(Exception):
    """The app has as many imports that wait as it may."""


class FileIdentity(Struct, frozen=True):
    """What a file is known by: bytes, time of change, SHA-256 of its first MiB.

    One that came over HTTP has no time of change (0), and the SHA-256 of all of it.
    """

    size: int
    mtime_ns: int
    head: str


class ImportRow(Struct):
    """An import. `done_ms` is 0 until it is through; `position` is the last row that was taken up.

    `terms` is what decides which events the rows make, as JSON: another mapping is another import.
    Its records lie in its partition from `first_offset` to below `next_offset`, both -1 until it
    began. `reject_bytes` is how long its file of rejects was.

    `key` names the key that ordered it over HTTP, and `spool` its file. `fault` says why it cannot
    go on at all. `columns` is what its columns fill, as JSON, once it began. It has worked for
    `seconds`, read `share` of its file (0 to 1), and was saved last at `saved_ms`. `duplicates` is
    -1 until the pipeline has judged all of it.
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
    kind: ImportKind = "events"
    key: str = ""
    spool: str = ""
    fault: str = ""
    columns: str = ""
    seconds: float = 0.0
    share: float = 0.0
    saved_ms: int = 0
    duplicates: int = -1

    @property
    def is_over(self) -> bool:
        """Whether nothing is done for it any more."""
        return bool(self.done_ms or self.fault)


_NAMES = tuple(field.name for field in fields(ImportRow))
_SAVE = (
    f"INSERT OR REPLACE INTO import ({', '.join(_NAMES)})"
    f" VALUES ({', '.join(':' + name for name in _NAMES)})"
)


_SELECT = f"SELECT {', '.join(_NAMES)} FROM import"
_OPEN = "spool != '' AND done_ms = 0 AND fault = ''"


class Imports:
    """The imports of a home."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def find(self, app: str, file: FileIdentity, kind: ImportKind = "events") -> ImportRow | None:
        """Return the last import of this file into this app."""
        return self._first(
            "app=? AND head=? AND size=? AND mtime_ns=? AND kind=? ORDER BY started_ms DESC",
            (app, file.head, file.size, file.mtime_ns, kind),
        )

    def get(self, name: str) -> ImportRow | None:
        """Return an import by its name."""
        return self._first("name=?", (name,))

    def latest(self, app: str | None, rows_max: int) -> list[ImportRow]:
        """Return the last imports of an app, or of all, the newest first."""
        return self._all(
            "(?1 IS NULL OR app=?1) ORDER BY started_ms DESC, name LIMIT ?2", (app, rows_max)
        )

    def open_spools(self) -> dict[str, str]:
        """Return the files that imports still need, each with its import's name."""
        return {row.spool: row.name for row in self._all(_OPEN, ())}

    def next_spooled(self) -> ImportRow | None:
        """Return the import over HTTP that is to be worked on: the one that came first."""
        return self._first(f"{_OPEN} ORDER BY started_ms, name", ())

    def uncounted(self, since_ms: int, rows_max: int) -> list[ImportRow]:
        """Return imports that are through, and whose duplicates were not counted yet."""
        return self._all(
            "done_ms >= ? AND duplicates < 0 ORDER BY done_ms LIMIT ?", (since_ms, rows_max)
        )

    def order(self, new: ImportRow, is_there: Callable[[str], bool], open_max: int) -> ImportRow:
        """Keep a new import, durably; or return the one that its file has with the same terms.

        That one takes the new file where its own is gone (`is_there` says of a name) and it needs
        one. Raises `TooManyImports` where the app has `open_max` that are not through.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            row = self._order(new, is_there, open_max)
            self._db.execute("COMMIT")
            return row
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _order(self, new: ImportRow, is_there: Callable[[str], bool], open_max: int) -> ImportRow:
        found = self._first(
            "app=? AND head=? AND size=? AND mtime_ns=0 AND kind=? AND terms=?"
            " ORDER BY started_ms DESC",
            (new.app, new.head, new.size, new.kind, new.terms),
        )
        if found is not None and (found.done_ms or (not found.fault and is_there(found.spool))):
            return found
        if found is None and len(self._all(f"{_OPEN} AND app=?", (new.app,))) >= open_max:
            raise TooManyImports
        row = new
        if found is not None:
            found.spool, found.fault = new.spool, ""
            row = found
        self.save(row)
        return row

    def save(self, row: ImportRow) -> None:
        """Write an import down; durable when it returns."""
        self._db.execute(_SAVE, asdict(row))

    def fail(self, row: ImportRow, fault: str, now_ms: int) -> None:
        """Say why an import cannot go on with the file that it has."""
        self._db.execute(
            "UPDATE import SET fault=?, saved_ms=? WHERE name=? AND spool=?",
            (fault, now_ms, row.name, row.spool),
        )

    def note_duplicates(self, name: str, duplicates: int) -> None:
        """Keep how many events of an import were known."""
        self._db.execute("UPDATE import SET duplicates=? WHERE name=?", (duplicates, name))

    def _first(self, where: str, values: tuple[Any, ...]) -> ImportRow | None:
        rows = self._all(f"{where} LIMIT 1", values)
        return rows[0] if rows else None

    def _all(self, where: str, values: tuple[Any, ...]) -> list[ImportRow]:
        found: list[tuple[Any, ...]] = list(self._db.execute(f"{_SELECT} WHERE {where}", values))
        return [ImportRow(*each) for each in found]


@contextlib.contextmanager
def looking_at_imports(home: Home) -> Generator[Imports | None]:
    """Open what is kept of imports to look at it; None where nothing is.

    A file that an older version wrote is brought up to date first.
    """
    if not home.imports_file.exists():
        yield None
        return
    with open_imports(home) as imports:
        yield imports


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
