"""Opening a state file: one writer, many readers, WAL, a version in the file itself."""

from __future__ import annotations

from pathlib import Path

import apsw

SYNC_FULL = "FULL"  # every commit is on disk when it returns
SYNC_NORMAL = "NORMAL"  # a power loss takes back the last commits, whole and in order


class StateVersionError(Exception):
    """The file was written by a newer Trunkline. Nothing was changed."""


def open_writer(
    path: Path, migrations: tuple[str, ...], sync: str = SYNC_NORMAL, vfs: str | None = None
) -> apsw.Connection:
    """Open a file for its one writer, bringing its schema up to date.

    `migrations` are SQL scripts; the file's `user_version` says how many it has had.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    db = apsw.Connection(str(path), vfs=vfs)
    db.set_busy_timeout(_BUSY_MS)
    try:
        use_wal(db)
    except apsw.Error:
        db.close(True)
        raise
    db.execute(f"PRAGMA synchronous={sync}")
    db.execute("PRAGMA temp_store=MEMORY")
    version = int(db.pragma("user_version"))
    if version > len(migrations):
        db.close()
        raise StateVersionError(
            f"{path} has format {version}, this Trunkline knows {len(migrations)}. "
            "Run the version that wrote it, or a later one."
        )
    if version < len(migrations):
        _migrate(db, migrations)
    return db


def _migrate(db: apsw.Connection, migrations: tuple[str, ...]) -> None:
    # In one step: who looks at it meanwhile must not find a file half made. And the version is read
    # again under the lock: of a file with several writers another may have been first.
    db.execute("BEGIN IMMEDIATE")
    try:
        version = int(db.pragma("user_version"))
        if version < len(migrations):
            for script in migrations[version:]:
                db.execute(script)
            db.execute(f"PRAGMA user_version={len(migrations)}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def use_wal(db: apsw.Connection) -> None:
    """Have a file write a log ahead. Raises `apsw.Error` where it does not.

    SQLite itself goes on without one where a sync fails just then. It would keep a rollback journal
    whose removal it does not sync: after a power loss that would undo a commit that had returned.
    """
    mode = _ask_for_wal(db)
    if mode != "wal":
        raise apsw.IOError(f"the journal mode stays {mode!r}; expected 'wal'")


def _ask_for_wal(db: apsw.Connection) -> object:
    """Ask, and return the mode; where another one opens the file just then, when it has done so.

    For this SQLite does not wait by itself, whatever the busy timeout says; for a lock it does.
    """
    for _ in range(_WAL_TRIES_MAX):
        try:
            return db.execute("PRAGMA journal_mode=WAL").get
        except apsw.BusyError:
            db.execute("BEGIN IMMEDIATE; ROLLBACK")
    raise apsw.BusyError(f"others kept the file locked, {_WAL_TRIES_MAX} times in a row")


def open_reader(path: Path) -> apsw.Connection | None:
    """Open a file to look at; None where nothing was written yet."""
    if not path.exists():
        return None
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.set_busy_timeout(5000)
    if not int(db.pragma("user_version")):  # its writer has made it a moment ago: no table yet
        db.close()
        return None
    db.execute("PRAGMA query_only=ON")
    return db


def checkpoint(db: apsw.Connection) -> bool:
    """Move what was committed into the file and sync it, without waiting for readers.

    True: every commit so far is on the disk. False: a reader was in the way of some; ask later.
    """
    row = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return row is not None and row[0] == 0 and row[1] == row[2]


_WIPE_BUSY_MS = 300
_BUSY_MS = 5000
_WAL_TRIES_MAX = 100


def wipe(db: apsw.Connection) -> bool:
    """Leave nothing of what was deleted in a file, nor in its log: about 100 MB a second.

    False where a reader is in the way: ask again soon. Not within a transaction. SQLite's own
    `secure_delete` is not enough: what it moved from page to page before stays where it was.
    """
    db.execute("VACUUM")
    db.set_busy_timeout(_WIPE_BUSY_MS)  # who writes here has others waiting
    try:
        row = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except apsw.BusyError:
        return False
    finally:
        db.set_busy_timeout(_BUSY_MS)
    return row is not None and row[0] == 0
