"""Reading the forwarder's and the pipeline's state files, each as of one moment.

A file that an older version wrote, and no node has opened since, is brought up to date first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import apsw
from msgspec import Struct

from trunkline.state import forwarder, pipeline
from trunkline.state.db import StateVersionError, open_reader, open_writer
from trunkline.state.home import Home, HomeLock


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
    path, migrations = (
        (home.forwarder_file, forwarder.MIGRATIONS)
        if which == "forwarder"
        else (home.pipeline_file, pipeline.MIGRATIONS)
    )
    db = open_reader(path)
    if db is not None and int(db.pragma("user_version")) < len(migrations):
        db.close()
        _upgrade(home, path, migrations)
        db = open_reader(path)
    if db is None:
        yield None
        return
    try:
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def _upgrade(home: Home, path: Path, migrations: tuple[str, ...]) -> None:
    lock = HomeLock(home)
    if not lock.try_take(f"pid {os.getpid()} trunkline command"):
        raise StateVersionError(
            f"{path} is of an older version, and {lock.holder()} uses it; restart that node with "
            "this version of Trunkline"
        )
    try:
        open_writer(path, migrations).close()
    finally:
        lock.release()


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
