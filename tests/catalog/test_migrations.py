"""The catalog's tables, up and down, and the database of a newer Trunkline."""

from __future__ import annotations

import base64
import sqlite3
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

import trunkline.catalog.migrations
from tests.support.workspaces import APP_ID, FULL, SMALL, apply, new_home
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import (
    REVISION,
    CatalogError,
    migrate,
    read_session,
    revision_of,
    write_session,
)
from trunkline.catalog.export import export_workspace
from trunkline.catalog.follow import SnapshotFollower
from trunkline.catalog.revisions import deploy
from trunkline.catalog.snapshots import CACHE_HEADER, read_cache
from trunkline.catalog.tables import Table
from trunkline.catalog.vault import open_vault, replace_private
from trunkline.kit.clock import FakeClock
from trunkline.model.snapshot import digest
from trunkline.state.home import Home

PLAYBOOK_FIELDS = ("playbook", "revision", "shadow", "shadow_revision")
PROTECTION_FIELDS = ("deny_fields", "hash_fields", "consent_regions")
KEY_RATE_FIELDS = ("rate", "rate_per_ip")
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


@pytest.mark.slow
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


def old_home(folder: Path) -> Home:
    """Return a home as the first revision of the tables left it, with everything in it."""
    home = new_home(folder)
    vault = open_vault(home.key_file, may_create=True)
    engine = create_engine(f"sqlite:///{home.catalog_file}")
    with engine.begin() as connection:
        migrate(connection, "0001")
        secrets = vault.seal(b'[[["secret"],"hush-hush-hush"]]')
        settings = '{"url": "https://crm.example", "secret": null}'
        rows: tuple[tuple[str, tuple[object, ...]], ...] = (
            (
                "app",
                (
                    APP_ID,
                    1,
                    "Wallet",
                    "web",
                    "IRR",
                    '["IRR"]',
                    "accept",
                    24,
                    7,
                    None,
                    None,
                    0,
                    "[]",
                ),
            ),
            ("api_key", (1, APP_ID, "web", "client", "[]")),
            (
                "api_key_secret",
                (1, 1, digest("wk_web_0123"), vault.seal(b"wk_web_0123"), None),
            ),
            ("event_definition", (1, APP_ID, "taqsq", "Paid", 1, "server", 0)),
            (
                "destination",
                (5, APP_ID, "crm", 2, None, "webhook", 1, settings, secrets)
                + ("[]", "[]", "[]", "user", "[]", 0),
            ),
        )
        connection.exec_driver_sql("UPDATE catalog SET version=4, organisation='Acme'")
        for table, values in rows:
            marks = ", ".join("?" * len(values))
            connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", values)
    engine.dispose()
    return home


def revision_in(home: Home) -> str:
    with sqlite3.connect(home.catalog_file) as db:
        return db.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_an_old_home_is_brought_up_to_date_by_who_reads_it_and_loses_nothing(
    tmp_path: Path,
) -> None:
    home = old_home(tmp_path)
    assert revision_in(home) == "0001"
    follower = SnapshotFollower(home, FakeClock())
    follower.look()  # a node that starts
    snapshot = follower.current()
    assert revision_in(home) == REVISION
    assert snapshot is not None
    assert (snapshot.version, snapshot.organisation) == (4, "Acme")
    app = snapshot.apps_by_id[APP_ID]
    (crm,) = app.destinations
    assert snapshot.find_key("wk_web_0123", 0) is not None
    assert app.events_by_slug["taqsq"].revenue
    assert (crm.uid, crm.since, crm.revision, crm.playbook) == (5, 2, 0, b"")
    assert b"hush-hush-hush" in crm.settings
    assert crm.consent_regions is None  # what it was sent it is sent
    assert apply(home, export_workspace(home, FakeClock(), reveal=True).text).lines == ()


def test_an_old_home_is_brought_up_to_date_by_who_writes_it(tmp_path: Path) -> None:
    home = old_home(tmp_path)
    deploy(home, FakeClock(), APP_ID, "crm", {"default": {}})
    assert revision_in(home) == REVISION
    snapshot = load_snapshot(home)
    assert (snapshot.version, snapshot.apps[0].destinations[0].revision) == (5, 1)


def test_going_back_to_the_old_tables_keeps_every_destination(tmp_path: Path) -> None:
    home = old_home(tmp_path)
    before = dump(home)
    deploy(home, FakeClock(), APP_ID, "crm", {"default": {}})
    engine = create_engine(f"sqlite:///{home.catalog_file}")
    with engine.begin() as connection:
        migrate(connection, "0001")
    engine.dispose()
    assert dump(home) == before


def dump(home: Home) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(home.catalog_file) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        found = {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    # What is sealed is sealed anew at each writing; the version goes on.
    found.pop("catalog")
    return {
        name: [tuple(v for v in row if not isinstance(v, bytes) or len(v) == 32) for row in rows]
        for name, rows in found.items()
    }


def test_a_snapshot_that_an_older_trunkline_kept_is_still_read(tmp_path: Path) -> None:
    """A start without the database, just after the upgrade."""
    home = new_home(tmp_path)
    apply(home, FULL)
    vault = open_vault(home.key_file, may_create=False)
    tree = msgspec.to_builtins(read_cache(home, vault))
    del tree["suppression_key"]
    for app in tree["apps"]:
        del app["suppressed"], app["analytics_js"], app["profiles"]
        for destination in app["destinations"]:
            for name in (*PLAYBOOK_FIELDS, *PROTECTION_FIELDS):
                del destination[name]
            destination["settings"] = base64.b64decode(destination["settings"])
        for key in app["keys"]:
            for name in KEY_RATE_FIELDS:
                del key[name]
        for secret in [*app["s2s"]["dev_keys"], *(s for k in app["keys"] for s in k["secrets"])]:
            secret["digest"] = base64.b64decode(secret["digest"])
    sealed = vault.seal(msgspec.msgpack.encode(tree))
    replace_private(home.snapshot_file, CACHE_HEADER + sealed)
    assert read_cache(home, vault) == load_snapshot(home)


def test_a_database_of_a_newer_trunkline_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    with write_session(home) as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num='0999'")
    before = home.catalog_file.read_bytes()
    with pytest.raises(
        CatalogError, match=rf"has revision 0999, this Trunkline knows {REVISION}: run"
    ):
        apply(home, SMALL)
    assert home.catalog_file.read_bytes() == before
    follower = SnapshotFollower(home, FakeClock())
    follower.look()
    snapshot = follower.current()  # the one that was kept in the home
    assert snapshot is not None
    assert snapshot.version == 1
