"""The catalog's tables, up and down, and the database of a newer Trunkline."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

import trunkline.catalog.migrations
from tests.support.workspaces import FULL, SMALL, apply, new_home
from trunkline.catalog.database import (
    REVISION,
    CatalogError,
    migrate,
    read_session,
    revision_of,
    write_session,
)
from trunkline.catalog.follow import SnapshotFollower
from trunkline.catalog.tables import Table
from trunkline.kit.clock import FakeClock

FOLDER = Path(trunkline.catalog.migrations.__file__).parent


def test_the_newest_revision_is_the_one_that_the_code_knows() -> None:
    assert ScriptDirectory(str(FOLDER)).get_current_head() == REVISION


def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    with engine.begin() as connection:
        migrate(connection)
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []
    engine.dispose()


def test_every_revision_goes_up_down_and_up_again(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    with engine.begin() as connection:
        migrate(connection)
        assert revision_of(connection) == REVISION
        migrate(connection, "base")
        assert revision_of(connection) is None
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(connection)
        assert "destination" in inspect(connection).get_table_names()
    engine.dispose()


def test_a_failed_migration_leaves_no_table_behind(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    with pytest.raises(RuntimeError, match="stop"), write_session(home):
        raise RuntimeError("stop")
    with read_session(home) as session:
        assert session is None
    assert apply(home, SMALL).version == 1


def test_the_same_revisions_make_a_postgresql_schema() -> None:
    written = StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("dialect", "postgresql")
    command.upgrade(config, "head", sql=True)
    sql = written.getvalue()
    assert "CREATE TABLE destination" in sql
    assert "uid SERIAL NOT NULL" in sql
    assert "BYTEA" in sql
    assert "sqlite" not in sql.lower()


def test_a_database_of_a_newer_trunkline_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    with write_session(home) as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num='0999'")
    before = home.catalog_file.read_bytes()
    with pytest.raises(CatalogError, match=r"has revision 0999, this Trunkline knows 0001: run"):
        apply(home, SMALL)
    assert home.catalog_file.read_bytes() == before
    follower = SnapshotFollower(home, FakeClock())
    follower.look()
    snapshot = follower.current()  # the one that was kept in the home
    assert snapshot is not None
    assert snapshot.version == 1
