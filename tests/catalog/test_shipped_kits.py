"""Kits that come with the program: there without an import, and an upgrade moves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.shaped_workspaces import crm, deployed, kit, playbook, put
from tests.support.workspaces import APP_ID, new_home
from trunkline.catalog.apply import ApplyResult
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.database import CatalogError
from trunkline.catalog.export import export_workspace
from trunkline.catalog.kits import choose_kit, kit_in_use, list_kits, remove_kit, save_kits
from trunkline.catalog.revisions import deploy, rollback
from trunkline.kit.clock import FakeClock
from trunkline.kits.fixtures import fixture_params
from trunkline.kits.kit import Kit, kit_json, parse_kit
from trunkline.kits.shipped import find_shipped, shipped_kits, shipped_names
from trunkline.state.home import Home

CLOCK = FakeClock(1_800_000_000_000)
HOST = {"HOST": "in.acme.example"}
CRM = (APP_ID, "crm")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kit]:
    """The kits of the installed program; another content in it is an upgrade."""
    kits = {"acme": kit("acme", "first")}
    monkeypatch.setattr("trunkline.catalog.kit_choice.shipped_kits", lambda: kits)
    monkeypatch.setattr("trunkline.catalog.kits.shipped_kits", lambda: kits)
    monkeypatch.setattr("trunkline.catalog.kits.find_shipped", kits.get)
    return kits


def put_kit(home: Home, name: str = "acme", params: Any = HOST, **says: Any) -> ApplyResult:
    return put(home, kind="http_kit", settings={"kit": name, "params": params}, **says)


def sent_key(home: Home) -> str:
    """Return which content of the kit shapes the events."""
    _, shaped = deployed(home)
    assert shaped is not None
    return shaped["global"]["enrichments"][0]["outputKey"]


def problems_of(home: Home, **says: Any) -> list[str]:
    with pytest.raises(WorkspaceError) as raised:
        put_kit(home, **says)
    return list(raised.value.problems)


def test_a_shipped_kit_works_without_an_import(home: Home, program: dict[str, Kit]) -> None:
    result = put_kit(home)
    assert '+   settings.kit: "acme"' in result.lines
    assert sent_key(home) == "first"
    settings = msgspec.json.decode(crm(home).settings)
    assert settings["connection"]["default"]["endpoint"] == "https://$$HOST$$/in"
    assert put_kit(home).lines == ()
    assert kit_in_use(home, *CRM) == program["acme"]
    assert [(one.name, one.origin) for one in list_kits(home)] == [("acme", "shipped")]


def test_an_upgrade_changes_nothing_that_is_sent_until_the_file_is_applied(
    home: Home, program: dict[str, Kit]
) -> None:
    put_kit(home)
    before = crm(home)
    program["acme"] = kit("acme", "second")
    assert crm(home) == before
    deploy(home, CLOCK, *CRM, playbook("own"))
    rollback(home, CLOCK, *CRM)
    assert crm(home) == before, "rolled back to the content that it was applied with"

    result = put_kit(home)
    assert [line.split(":")[0] for line in result.lines] == [
        "~ destination Wallet/crm", "~   kit_digest",
    ]  # fmt: skip
    assert sent_key(home) == "second"


def test_an_export_says_the_digest_only_of_an_older_content(
    home: Home, program: dict[str, Kit]
) -> None:
    put_kit(home)
    assert "kit_digest" not in export_workspace(home, CLOCK, reveal=True).text
    program["acme"] = kit("acme", "second")
    text = export_workspace(home, CLOCK, reveal=True).text
    (line,) = [line for line in text.splitlines() if "kit_digest: " in line]
    digest = line.split(": ")[1].strip('"')
    assert put_kit(home, kit_digest=digest).lines == ()
    assert sent_key(home) == "first"
    put_kit(home)
    (told,) = problems_of(home, kit_digest=digest)
    assert f"kit_digest is {digest}, which no kit acme of this home has" in told


def test_an_imported_kit_goes_before_the_shipped_one_until_it_is_removed(
    home: Home, program: dict[str, Kit]
) -> None:
    put_kit(home)
    saved = save_kits(home, [kit("acme", "mine"), kit("other")], CLOCK)
    assert (saved.replaced, saved.waiting) == (("acme",), (f"{APP_ID}/crm",))
    assert sent_key(home) == "first"
    chosen = choose_kit(home, "acme")
    assert chosen is not None
    assert chosen.origin == "imported"
    put_kit(home)
    assert sent_key(home) == "mine"
    with pytest.raises(CatalogError, match=rf"used by {APP_ID}/crm; give them another kit"):
        remove_kit(home, "acme")
    put_kit(home, name="other")
    assert remove_kit(home, "acme") == "shipped"
    put_kit(home)
    assert sent_key(home) == "first"


def test_a_kit_that_a_destination_does_not_yet_work_with_can_be_taken_back(
    home: Home, program: dict[str, Kit]
) -> None:
    """Imported over a shipped one and not applied: nothing depends on it."""
    put_kit(home)
    before = crm(home)
    save_kits(home, [kit("acme", "mine")], CLOCK)
    assert remove_kit(home, "acme") == "shipped"
    assert crm(home) == before
    assert put_kit(home).lines == ()


def test_only_an_imported_kit_can_be_removed(home: Home, program: dict[str, Kit]) -> None:
    with pytest.raises(CatalogError, match="'acme' is shipped with Trunkline and stays"):
        remove_kit(home, "acme")
    with pytest.raises(CatalogError, match="'zeta' was not imported here"):
        remove_kit(home, "zeta")
    save_kits(home, [kit("zeta", "old")], CLOCK)
    put_kit(home, name="zeta")
    save_kits(home, [kit("zeta", "new")], CLOCK)
    with pytest.raises(CatalogError, match="used by"):
        remove_kit(home, "zeta")  # or the next apply would find no kit of that name
    put(home)
    assert remove_kit(home, "zeta") is None
    assert [one.name for one in list_kits(home)] == ["acme"]


def test_a_shipped_kit_that_is_imported_as_it_is_can_be_removed_again(
    home: Home, program: dict[str, Kit]
) -> None:
    put_kit(home)
    save_kits(home, [program["acme"]], CLOCK)
    assert put_kit(home).lines == ()
    assert remove_kit(home, "acme") == "shipped"
    assert put_kit(home).lines == ()
    assert sent_key(home) == "first"


def test_older_contents_go_when_no_destination_works_with_them(
    home: Home, program: dict[str, Kit]
) -> None:
    import sqlite3

    put_kit(home)
    for number in range(3):
        program["acme"] = kit("acme", f"of-{number}")
        put_kit(home)
    with sqlite3.connect(home.catalog_file) as db:
        assert db.execute("SELECT count(*) FROM kit").fetchone()[0] == 1


# ── params ──


EXPECTED = "the dataset's id, digits alone"


def judged_kit() -> Kit:
    params = [
        {"name": "HOST", "exampleValue": "a.example"},
        {"name": "DATASET_ID", "pattern": "[0-9]{5,20}", "expected": EXPECTED},
        {"name": "VERSION", "defaultValue": "v2", "choices": ["v2", "v1"]},
        {"name": "TOKEN", "pattern": "tk-[a-z]+", "isSensitive": True},
    ]
    return kit("acme", params=params)


GOOD = {**HOST, "DATASET_ID": "1234567890", "TOKEN": "tk-secret"}
AT = "apps[0].destinations[0] `crm`: settings.params"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"DATASET_ID": "act_123"}, f"{AT}.DATASET_ID is 'act_123'; expected the dataset's id"),
        ({"VERSION": "v3"}, f"{AT}.VERSION is 'v3'; expected "),
        ({"DATASET_ID": None}, f"{AT}.DATASET_ID is missing; expected the dataset's id, digits"),
    ],
)
def test_params_are_judged_when_they_are_saved(
    home: Home, program: dict[str, Kit], changes: dict[str, Any], told: str
) -> None:
    program["acme"] = judged_kit()
    params = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    (problem,) = problems_of(home, params=params)
    assert problem.startswith(told)
    assert put_kit(home, params=GOOD).is_changed


def test_no_sentence_shows_the_value_of_a_secret(home: Home, program: dict[str, Kit]) -> None:
    program["acme"] = judged_kit()
    (problem,) = problems_of(home, params={**GOOD, "TOKEN": "hunter2-is-my-password"})
    assert problem.startswith(f"{AT}.TOKEN has another value; expected ")
    assert "hunter2" not in problem


def test_a_param_that_a_kit_does_not_have_is_a_warning_with_the_nearest(
    home: Home, program: dict[str, Kit]
) -> None:
    program["acme"] = judged_kit()
    warnings = put_kit(home, params={**GOOD, "VERSON": "v1"}).warnings
    assert any(f"{AT}.VERSON is the name of no param of its kit" in one for one in warnings)
    assert any("did you mean `VERSION`?" in one for one in warnings)


# ── those that are shipped ──


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_kit_can_be_applied_with_its_examples(name: str, home: Home) -> None:
    found = find_shipped(name)
    assert found is not None
    params = {k: v for k, v in fixture_params(found, found.fixtures[0]).items() if v}
    assert put_kit(home, name, params).is_changed
    assert put_kit(home, name, params).lines == ()
    assert kit_in_use(home, *CRM) == found
    settings = msgspec.json.decode(crm(home).settings)
    assert bool(found.contract) == ("contract" in settings["connection"])
    if found.contract:
        assert settings["connection"]["contract"] == json.loads(kit_json(found))["contract"]


def test_every_shipped_kit_is_listed_and_reads_back_as_it_is(home: Home) -> None:
    listed = {one.name: one for one in list_kits(home)}
    assert listed.keys() == shipped_kits().keys()
    for name, one in listed.items():
        assert parse_kit(json.loads(one.json)) == shipped_kits()[name]
