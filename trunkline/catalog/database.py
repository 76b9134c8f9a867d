"""Opening the catalog's database: right revision, one writer at a time, readers that never make it.

SQLite with a rollback journal, not WAL: the catalog is written some times a day, and one file is
one file to copy. Everything SQLite needs to be told is in this module; the rest is plain SQL.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from trunkline.state.home import Home

REVISION = "0008"  # the newest of migrations/versions; a test holds the two together
WRITE_WAIT_SECONDS = 10.0
READ_WAIT_SECONDS = 0.5


class CatalogError(Exception):
    """The catalog cannot be used; the message says why and what to do."""


@contextmanager
def write_session(home: Home) -> Generator[Session]:
    """Yield a session whose transaction is the only one that writes; commit when the block ends.

    An exception inside takes everything back. Makes the database, or brings it up to date, in the
    same transaction. Raises `CatalogError` for a database of a newer Trunkline.
    """
    _make_private(home.catalog_file)
    engine = _engine(home.catalog_file, "BEGIN IMMEDIATE", WRITE_WAIT_SECONDS)
    with engine.begin() as connection:
        _bring_up_to_date(connection, home.catalog_file)
        with Session(connection, join_transaction_mode="rollback_only") as session:
            yield session
            session.flush()


@contextmanager
def read_session(home: Home) -> Generator[Session | None]:
    """Yield a session that sees one moment of the catalog; None where there is no catalog yet.

    A database of an older Trunkline is brought up to date first. Raises `CatalogError`, or an
    error of SQLAlchemy where the database cannot be read.
    """
    if not home.catalog_file.exists():
        yield None
        return
    engine = _engine(home.catalog_file, "BEGIN", READ_WAIT_SECONDS)
    if _is_older(engine, home.catalog_file):
        with write_session(home):
            pass  # opening it to write migrates it
    with engine.connect() as connection:
        revision = revision_of(connection)
        if revision is None:
            yield None
            return
        refuse_newer(revision, home.catalog_file)
        with Session(connection) as session:
            yield session


def _is_older(engine: Engine, file: Path) -> bool:
    with engine.connect() as connection:
        revision = revision_of(connection)
    if revision is not None:
        refuse_newer(revision, file)
    return revision is not None and revision != REVISION


def read_mark(home: Home) -> tuple[int, int]:
    """Return version and time of change of a catalog that was read before: one row, 1 ms.

    Raises an error of SQLAlchemy where the database cannot be read.
    """
    engine = _engine(home.catalog_file, "BEGIN", READ_WAIT_SECONDS)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT version, changed_ms FROM catalog")).one()
        return row[0], row[1]


def revision_of(connection: Connection) -> str | None:
    """Return the revision that a database has; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def refuse_newer(revision: str, file: Path) -> None:
    """Raise `CatalogError` for a revision that we do not know."""
    if revision > REVISION:
        raise CatalogError(
            f"{file} has revision {revision}, this Trunkline knows {REVISION}: "
            "run the version that wrote it, or a later one; nothing was touched"
        )


def migrate(connection: Connection, revision: str = REVISION) -> None:
    """Bring a database to a revision, up or down (`base`: nothing left), in its transaction."""
    # Alembic takes a quarter of a second to import, and is needed once in the life of a home.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    current = revision_of(connection)
    if revision == "base" or (current is not None and revision < current):
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def _bring_up_to_date(connection: Connection, file: Path) -> None:
    revision = revision_of(connection)
    if revision is not None:
        refuse_newer(revision, file)
    if revision != REVISION:
        migrate(connection)


def _make_private(file: Path) -> None:
    """Make the file before SQLite does, which would let everybody read it."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise CatalogError(f"{file}: cannot be opened ({error.strerror})") from error


@lru_cache(maxsize=32)  # without a pool an engine holds nothing open, and takes 1 ms to make
def _engine(file: Path, begin: str, wait_seconds: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # mode=rw: a database that was taken away is an error, not a new empty one.
        return sqlite3.connect(
            f"file:{quote(str(file))}?mode=rw",
            uri=True,
            timeout=wait_seconds,
            isolation_level=None,  # the driver's own BEGIN comes too late for DDL and for reads
            check_same_thread=False,
        )

    # hide_parameters: the text of an error must not show what was in a row.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=EXTRA")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    del _prepare, _begin  # the events hold them
    return engine
