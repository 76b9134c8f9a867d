"""Regions that need a consent: what a file says, what the nodes are given, what stays with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tests.support.workspaces import APP_ID, apply, new_home
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import REVISION, migrate
from trunkline.catalog.export import export_workspace
from trunkline.kit.clock import FakeClock
from trunkline.model.snapshot import ConsentRegions
from trunkline.state.home import Home

KIND = 'kind: webhook, settings: {url: "https://h.example"}'


def file(app: str = "", **destinations: str) -> str:
    """A workspace with these lines of the app and of its destinations."""
    lines = [f"      - {{id: {id_}, {KIND}{more}}}" for id_, more in destinations.items()]
    return "\n".join(
        [f"apps:\n  - id: {APP_ID}\n    name: Wallet\n    {app}\n    destinations:", *lines]
    )


def regions_of(home: Home) -> dict[str, ConsentRegions | None]:
    return {found.id: found.consent_regions for found in load_snapshot(home).apps[0].destinations}


def test_a_destination_has_its_own_regions_else_those_of_its_app(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    own = (
        ", consent_regions: {needed_in: [US-CA], unknown: not_needed, without: drop,"
        " country_fields: [properties.market], personal_fields: [properties.seat]}"
    )
    text = file(
        "consent_regions: {needed_in: [EEA, NO]}",
        own=own, plain="", free=", consent_regions: {needed_in: []}",
    )  # fmt: skip
    result = apply(home, text)
    assert '+   consent_regions.needed_in: ["EEA", "NO"]' in result.lines
    assert regions_of(home) == {
        "own": ConsentRegions(
            ("US-CA",), False, True, ("properties.market",), ("properties.seat",)
        ),
        "plain": ConsentRegions(("EEA", "NO")),
        "free": None,
    }
    assert apply(home, text).lines == ()
    exported = export_workspace(home, FakeClock(), reveal=True).text
    assert apply(home, exported, prune=True).lines == ()
    other = new_home(tmp_path / "other")
    apply(other, exported)
    assert regions_of(other) == regions_of(home)


def test_what_is_left_out_again_is_needed_nowhere(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, file("consent_regions: {needed_in: [GB]}", one=""))
    changed = apply(home, file("", one=", consent_regions: {needed_in: [CH]}"))
    assert '~   consent_regions.needed_in: null → ["CH"]' in changed.lines
    assert regions_of(home) == {"one": ConsentRegions(("CH",))}
    apply(home, file("", one=""))
    assert regions_of(home) == {"one": None}


def test_a_home_from_before_there_were_regions_is_upgraded_and_can_go_back(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    text = file("", one=", consent: [ads], deny_fields: [context.ip]")
    apply(home, text)

    def rows() -> list[Any]:
        with sqlite3.connect(home.catalog_file) as db:
            db.row_factory = sqlite3.Row
            found = [*db.execute("SELECT * FROM app"), *db.execute("SELECT * FROM destination")]
        return [{k: row[k] for k in row.keys() if k != "consent_regions"} for row in found]  # noqa: SIM118

    before = rows()
    engine = create_engine(f"sqlite:///{home.catalog_file}")
    for revision in ("0007", REVISION):
        with engine.begin() as connection:
            migrate(connection, revision)
        assert rows() == before
    engine.dispose()
    assert regions_of(home) == {"one": None}
    assert apply(home, text).lines == ()
