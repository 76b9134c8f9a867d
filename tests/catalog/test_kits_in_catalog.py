"""Kits: kept, found, made into destinations; and that a kit imported again moves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.shaped_workspaces import crm, deployed, kit, playbook, put, wanting
from tests.support.workspaces import APP_ID, new_home
from trunkline.catalog.apply import ApplyResult
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.export import export_workspace
from trunkline.catalog.kits import find_kit, read_kits, save_kits
from trunkline.catalog.revision_reports import read_revision
from trunkline.catalog.revisions import deploy, rollback
from trunkline.kit.clock import FakeClock
from trunkline.kits.kit import parse_kit
from trunkline.state.home import Home

CLOCK = FakeClock(1_800_000_000_000)
HOST = {"HOST": "in.acme.example"}
CRM = (APP_ID, "crm")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


def put_kit(home: Home, name: str = "acme", params: Any = HOST, **says: Any) -> ApplyResult:
    settings = {"kit": name, **({"params": params} if params else {})}
    return put(home, kind="http_kit", settings=settings, **says)


def problems_of(home: Home, **says: Any) -> str:
    with pytest.raises(WorkspaceError) as raised:
        put_kit(home, **says)
    return "\n".join(raised.value.problems)


def settings_of(home: Home) -> dict[str, Any]:
    return msgspec.json.decode(crm(home).settings)


def test_kits_are_kept_and_found_by_name(home: Home) -> None:
    assert (read_kits(home), find_kit(home, "acme")) == ((), None)
    kits = [kit("acme"), kit("zeta")]
    saved = save_kits(home, kits, CLOCK)
    assert (saved.added, saved.changed, saved.unchanged) == (("acme", "zeta"), (), ())
    assert [(k.name, k.title, k.imported_ms) for k in read_kits(home)] == [
        ("acme", "Acme", CLOCK.now_ms()),
        ("zeta", "Zeta", CLOCK.now_ms()),
    ]
    found = find_kit(home, "zeta")
    assert found is not None
    assert parse_kit(json.loads(found.json)) == kits[1]
    assert find_kit(home, "acm") is None


def test_a_kit_imported_again_is_told_apart_by_its_content(home: Home) -> None:
    save_kits(home, [kit("acme"), kit("zeta")], CLOCK)
    saved = save_kits(home, [kit("acme", "other"), kit("zeta"), kit("new")], CLOCK)
    assert (saved.added, saved.changed, saved.unchanged) == (("new",), ("acme",), ("zeta",))
    assert len(read_kits(home)) == 3
    assert kit_rows(home) == 3  # nobody works with the older one


def kit_rows(home: Home) -> int:
    import sqlite3

    with sqlite3.connect(home.catalog_file) as db:
        return db.execute("SELECT count(*) FROM kit").fetchone()[0]


def test_a_destination_has_the_kit_s_connection_and_playbook(home: Home) -> None:
    save_kits(home, [kit("acme")], CLOCK)
    result = put_kit(home)
    assert '+   settings.kit: "acme"' in result.lines
    assert settings_of(home)["connection"]["default"]["endpoint"] == "https://$$HOST$$/in"
    assert settings_of(home)["params"] == HOST
    number, shaped = deployed(home)
    assert number == 0
    assert shaped is not None
    assert shaped["global"] == playbook()["global"]
    assert put_kit(home).lines == ()


def test_the_catalog_and_the_export_hold_the_name_alone(home: Home) -> None:
    save_kits(home, [kit("acme")], CLOCK)
    put_kit(home)
    text = export_workspace(home, CLOCK, reveal=True).text
    assert "kit: acme" in text
    assert "endpoint" not in text
    assert "kit_digest" not in text


def test_defaults_of_connection_and_playbook_are_filled_in_and_shared(home: Home) -> None:
    tree = json.loads(
        json.dumps(
            {
                "name": "acme",
                "connection": {
                    "params": [
                        {"name": "HOST"},
                        {"name": "VERSION", "defaultValue": "v3"},
                        {"name": "TAG", "isOptional": True},
                    ],
                    "default": {"endpoint": "https://$$HOST$$/$$ROOM$$", "method": "POST"},
                },
                "playbook": {
                    "params": [{"name": "ROOM", "defaultValue": "hall"}],
                    "global": {
                        "enrichments": [{"outputKey": "v", "staticString": "$$VERSION$$$$TAG$$"}]
                    },
                },
            }
        )
    )
    save_kits(home, [parse_kit(tree)], CLOCK)
    put_kit(home)
    assert settings_of(home)["params"] == {**HOST, "VERSION": "v3", "ROOM": "hall"}
    _, shaped = deployed(home)
    assert shaped is not None
    assert [param["name"] for param in shaped["params"]] == ["ROOM", "HOST", "VERSION", "TAG"]


def test_an_unknown_kit_is_told_with_the_nearest(home: Home) -> None:
    told = problems_of(home, name="acme")
    assert told.startswith(
        'apps[0].destinations[0] `crm`: settings.kit is "acme", which is neither shipped nor '
        "imported; expected one of "
    )
    assert told.endswith("; import it with `trunkline kits import`")
    save_kits(home, [kit("acme"), kit("zeta")], CLOCK)
    assert problems_of(home, name="acne").endswith("; did you mean `acme`?")
    assert "import it with `trunkline kits import`" in problems_of(home, name="vendor-of-nothing")


def test_params_of_the_connection_must_be_given(home: Home) -> None:
    save_kits(home, [kit("acme")], CLOCK)
    assert problems_of(home, params={"HOTS": "a.example"}) == (
        "apps[0].destinations[0] `crm`: settings.params.HOST is missing; expected a value for "
        "$$HOST$$, say a.example; is `HOTS` meant for it?"
    )
    warned = put_kit(home, params={**HOST, "OTHER": "x"}).warnings
    assert any("params.OTHER is the name of no param of its kit; it has: HOST" in w for w in warned)


def test_a_kit_that_cannot_send_yet_is_refused_with_the_reason(home: Home) -> None:
    tree = {"name": "topic", "connection": {"kafka": {}}, "playbook": playbook()}
    alone = {"name": "alone", "playbook": playbook()}
    save_kits(home, [parse_kit(tree), parse_kit(alone)], CLOCK)
    start = "apps[0].destinations[0] `crm`: settings.kit is"
    assert problems_of(home, name="topic", params=None).startswith(f'{start} "topic", which cannot')
    assert problems_of(home, name="alone", params=None).startswith(f'{start} "alone", which cannot')


def test_the_file_may_not_bring_a_connection(home: Home) -> None:
    save_kits(home, [kit("acme")], CLOCK)
    settings = {"kit": "acme", "params": HOST, "connection": {}}
    with pytest.raises(WorkspaceError, match=r"settings\.connection is set; expected it left out"):
        put(home, kind="http_kit", settings=settings)


def test_a_playbook_of_one_s_own_takes_the_place_of_the_kit_s(home: Home) -> None:
    """And may use the params of the connection, which it does not declare."""
    save_kits(home, [kit("acme")], CLOCK)
    own = {"global": {"enrichments": [{"outputKey": "host", "staticString": "$$HOST$$"}]}}
    put_kit(home, playbook=own)
    number, shaped = deployed(home)
    assert number == 1
    assert shaped is not None
    assert shaped["global"] == own["global"]
    assert [param["name"] for param in shaped["params"]] == ["HOST"]
    rollback(home, CLOCK, *CRM)
    number, shaped = deployed(home)
    assert (number, shaped and shaped["global"]) == (0, playbook()["global"])
    assert read_revision(home, *CRM).playbook == playbook()


def test_a_playbook_of_one_s_own_that_needs_more_is_told(home: Home) -> None:
    save_kits(home, [kit("acme")], CLOCK)
    assert "settings.params.PIXEL is missing" in problems_of(home, playbook=wanting("PIXEL"))
    put_kit(home)
    with pytest.raises(WorkspaceError, match=r"settings\.params\.PIXEL is missing"):
        deploy(home, CLOCK, *CRM, wanting("PIXEL"))


def test_a_kit_imported_again_changes_nothing_until_it_is_applied(home: Home) -> None:
    save_kits(home, [kit("acme", "old")], CLOCK)
    put_kit(home)
    before = crm(home)
    saved = save_kits(home, [kit("acme", "new", answers={})], CLOCK)
    assert saved.waiting == (f"{APP_ID}/crm",)
    assert crm(home) == before
    deploy(home, CLOCK, *CRM, playbook("own"))
    rollback(home, CLOCK, *CRM)
    assert crm(home) == before

    result = put_kit(home)
    assert len(result.lines) == 2
    assert result.lines[1].startswith("~   kit_digest: ")
    _, shaped = deployed(home)
    assert shaped is not None
    assert shaped["global"] == playbook("new")["global"]
    assert save_kits(home, [kit("acme", "new", answers={})], CLOCK).waiting == ()
    assert kit_rows(home) == 1


def test_an_export_keeps_a_destination_at_the_kit_that_it_works_with(home: Home) -> None:
    save_kits(home, [kit("acme", "old")], CLOCK)
    put_kit(home)
    save_kits(home, [kit("acme", "new")], CLOCK)
    text = export_workspace(home, CLOCK, reveal=True).text
    (line,) = [line for line in text.splitlines() if "kit_digest: " in line]
    digest = line.split(": ")[1].strip('"')
    before = crm(home)
    assert put_kit(home, kit_digest=digest).lines == ()
    assert crm(home) == before
    put_kit(home)
    save_kits(home, [], CLOCK)  # forgets the old content
    assert f"kit_digest is {digest}, which no kit acme of this home has" in problems_of(
        home, kit_digest=digest
    )


def test_a_destination_that_changes_its_kit_has_the_other_one(home: Home) -> None:
    save_kits(home, [kit("acme", "a"), kit("zeta", "z")], CLOCK)
    put_kit(home)
    put_kit(home, name="zeta")
    _, shaped = deployed(home)
    assert shaped is not None
    assert shaped["global"] == playbook("z")["global"]
    put(home)
    assert deployed(home) == (0, None)
