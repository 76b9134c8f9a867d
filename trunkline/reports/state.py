"""Reading the forwarder's and the pipeline's state files, each as of one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import apsw
from msgspec import Struct

from trunkline.state import forwarder
from trunkline.state.db import open_reader
from trunkline.state.home import Home


class GroupState(Struct, frozen=True):
    """A destination's consumer group, as saved."""

    uid: int
    app: str
    id: str
    kind: str
    since: int
    position: int
    seen: int
    unfinished: frozenset[int]
    state: str
    state_since_ms: int
    reason: str

    @property
    def done_end(self) -> int:
        """The end of what the group has taken up: what is not unfinished below it is done."""
        return self.seen

    def is_done(self, offset: int) -> bool:
        """Say whether the group has finished an offset of the log (it may still wait)."""
        return offset < self.seen and offset not in self.unfinished


@contextlib.contextmanager
def reading(home: Home, which: str) -> Generator[apsw.Connection | None, None, None]:
    """Open a state file (`forwarder` or `pipeline`) as of one moment; None where there is none."""
    path = home.forwarder_file if which == "forwarder" else home.pipeline_file
    db = open_reader(path)
    if db is None:
        yield None
        return
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def read_groups(db: apsw.Connection) -> list[GroupState]:
    """Return the groups of destinations that exist."""
    return [
        GroupState(
            row.uid, row.app, row.id, row.kind, row.since, row.position, row.seen,
            frozenset(row.unfinished), row.state, row.state_since_ms, row.reason,
        )
        for row in forwarder.read_groups(db)
    ]  # fmt: skip


def inbox_position(home: Home) -> int:
    """Return the id of the last request of the inbox that was carried out."""
    with reading(home, "forwarder") as db:
        if db is None:
            return 0
        row = db.execute("SELECT value FROM setting WHERE name='inbox'").fetchone()
        return int(row[0]) if row else 0
