"""What is kept of refused events that were sent again: which, and how far the log is known.
`state/resent.db`.

A refused event is known by its id and by when it was refused: ids begin anew once all rows are
gone. A row is saved with a full sync after the append that holds its events, so after a kill the
log is ahead of it by one append at most (`bulk/resending.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, cast

from apsw import Connection

from trunkline.state.db import SYNC_FULL, open_reader, open_writer
from trunkline.state.home import Home

KEEP_DAYS = 30  # refused events themselves are kept for a week
_DAY_MS = 86_400_000

MIGRATIONS = (
    """
    CREATE TABLE resent (id INTEGER, refused_ms INTEGER, at_ms INTEGER NOT NULL,
        PRIMARY KEY (id, refused_ms)) WITHOUT ROWID;
    CREATE TABLE position (next INTEGER NOT NULL);
    """,
)


class RefusedId(NamedTuple):
    """Which refused event: its id, and when it was refused, in Unix milliseconds."""

    id: int
    refused_ms: int


class ResentBook:
    """The one writer of the file: who has the partition of what is sent again."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    @property
    def position(self) -> int:
        """The offset below which every record of the partition is known here."""
        row = self._db.execute("SELECT next FROM position").fetchone()
        return cast("int", row[0]) if row else 0

    def save(self, resent: Sequence[RefusedId], at_ms: int, position: int) -> None:
        """Write down what was sent again, and let go of what is old; durable when it returns."""
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO resent VALUES (?, ?, ?)",
                [(each.id, each.refused_ms, at_ms) for each in resent],
            )
            self._db.execute("DELETE FROM resent WHERE at_ms<?", (at_ms - KEEP_DAYS * _DAY_MS,))
            self._db.execute("DELETE FROM position")
            self._db.execute("INSERT INTO position VALUES (?)", (position,))


@contextlib.contextmanager
def open_resent(home: Home) -> Generator[ResentBook]:
    """Open what is kept of events that were sent again, making it where it is new."""
    db = open_writer(home.resent_file, MIGRATIONS, SYNC_FULL)
    try:
        yield ResentBook(db)
    finally:
        db.close()


def read_resent(home: Home) -> Mapping[RefusedId, int]:
    """Return when each refused event was sent again, in Unix milliseconds."""
    db = open_reader(home.resent_file)
    if db is None:
        return {}
    try:
        rows = cast("list[tuple[int, int, int]]", list(db.execute("SELECT * FROM resent")))
    finally:
        db.close()
    return {RefusedId(id_, refused_ms): at_ms for id_, refused_ms, at_ms in rows}
