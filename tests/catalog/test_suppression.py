"""Suppressing people: what is kept of them, what a snapshot holds, how many there may be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import trunkline.catalog.suppression as module
from tests.support.workspaces import APP_ID, SMALL, apply, new_home
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import CatalogError
from trunkline.catalog.export import export_workspace
from trunkline.catalog.snapshots import read_cache
from trunkline.catalog.suppression import Named, list_suppressed, suppress, unsuppress
from trunkline.catalog.vault import open_vault
from trunkline.kit.clock import FakeClock
from trunkline.kit.suppression import DIGEST_BYTES, suppressed_of
from trunkline.state.home import Home

PEOPLE: Named = {"user": ["u-42", " u-42 "], "anonymous": ["a-7"], "email": ["Jane@Example.com"]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = new_home(tmp_path)
    apply(made, SMALL)
    return made


def holds(home: Home, event: bytes) -> bool:
    people = suppressed_of(load_snapshot(home)).get(APP_ID)
    return people is not None and people.holds(event)


def test_who_is_suppressed_stands_in_the_next_snapshot(home: Home) -> None:
    assert suppressed_of(load_snapshot(home)) == {}
    change = suppress(home, FakeClock(), "Wallet", PEOPLE)
    assert (change.changed, change.unchanged) == (3, 0)
    assert load_snapshot(home).version == 2
    assert holds(home, b'{"userId": "u-42"}') and holds(home, b'{"anonymousId": "a-7"}')
    assert holds(home, b'{"traits": {"email": "jane@example.com"}}')
    assert not holds(home, b'{"userId": "u-43"}')
    assert len(load_snapshot(home).apps[0].suppressed) == 3 * DIGEST_BYTES


def test_the_kept_snapshot_knows_them_without_the_database(home: Home) -> None:
    suppress(home, FakeClock(), APP_ID, PEOPLE)
    kept = read_cache(home, open_vault(home.key_file, may_create=False))
    assert suppressed_of(kept)[APP_ID].holds(b'{"userId": "u-42"}')


def test_the_same_again_changes_nothing(home: Home) -> None:
    suppress(home, FakeClock(), APP_ID, PEOPLE)
    change = suppress(home, FakeClock(), APP_ID, PEOPLE)
    assert (change.changed, change.unchanged, change.live) == (0, 3, None)
    assert load_snapshot(home).version == 2


def test_who_is_removed_is_free_again(home: Home) -> None:
    suppress(home, FakeClock(), APP_ID, PEOPLE)
    change = unsuppress(home, FakeClock(), APP_ID, {"user": ["u-42", "u-1"]})
    assert (change.changed, change.unchanged) == (1, 1)
    assert not holds(home, b'{"userId": "u-42"}') and holds(home, b'{"anonymousId": "a-7"}')
    assert unsuppress(home, FakeClock(), APP_ID, {"user": ["u-1"]}).live is None


def test_a_list_says_how_many_and_since_when_and_answers_for_an_id(home: Home) -> None:
    clock = FakeClock()
    suppress(home, clock, APP_ID, PEOPLE)
    found = list_suppressed(home, clock, "Wallet")
    assert sorted(person.kind for person in found) == ["anonymous", "email", "user"]
    (one,) = list_suppressed(home, clock, APP_ID, {"email": [" JANE@example.com"]})
    assert one.kind == "email" and one in found
    assert list_suppressed(home, clock, APP_ID, {"user": ["u-43"]}) == ()


def test_nothing_of_a_person_is_written_down(home: Home) -> None:
    suppress(
        home, FakeClock(), APP_ID, {"user": ["a-very-telling-id"], "email": ["jane@x.example"]}
    )
    for file in home.folder.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"telling" not in data and b"jane" not in data, file
    with sqlite3.connect(home.catalog_file) as db:
        rows = db.execute("SELECT length(digest), kind FROM suppression ORDER BY kind").fetchall()
    assert rows == [(16, "email"), (16, "user")]
    assert "suppress" not in export_workspace(home, FakeClock(), reveal=True).text


def test_an_apply_keeps_them_and_an_app_that_goes_takes_them_along(home: Home) -> None:
    suppress(home, FakeClock(), APP_ID, PEOPLE)
    apply(home, SMALL.replace("Wallet", "Purse"))
    assert holds(home, b'{"userId": "u-42"}')
    apply(home, "apps: []", prune=True)
    with sqlite3.connect(home.catalog_file) as db:
        assert db.execute("SELECT COUNT(*) FROM suppression").fetchone() == (0,)


@pytest.mark.parametrize(
    ("app", "named", "sentence"),
    [
        ("Walet", {"user": ["u-1"]}, "Walet"),
        ("Wallet", {"email": ["nobody"]}, "'nobody' is no email to suppress; expected an e-mail"),
        ("Wallet", {"user": [" "]}, "expected an id that is not empty"),
        ("Wallet", {"user": []}, "nobody is named"),
    ],
)
def test_what_cannot_be_is_told(home: Home, app: str, named: Named, sentence: str) -> None:
    for command in (suppress, unsuppress):
        with pytest.raises(CatalogError, match=sentence):
            command(home, FakeClock(), app, named)
    assert load_snapshot(home).version == 1


def test_more_people_than_a_snapshot_holds_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PEOPLE_MAX", 3)
    suppress(home, FakeClock(), APP_ID, {"user": ["1", "2"]})
    with pytest.raises(CatalogError, match="4 people would be suppressed; at most 3 can be"):
        suppress(home, FakeClock(), APP_ID, {"user": ["2", "3", "4"]})
    assert suppress(home, FakeClock(), APP_ID, {"user": ["2", "3"]}).changed == 1


def test_ten_thousand_people_are_suppressed_and_freed_at_once(home: Home) -> None:
    users = [f"u-{number}" for number in range(10_000)]
    assert suppress(home, FakeClock(), APP_ID, {"user": users}).changed == 10_000
    assert holds(home, b'{"userId": "u-9999"}') and not holds(home, b'{"userId": "u-10000"}')
    assert unsuppress(home, FakeClock(), APP_ID, {"user": users}).changed == 10_000
    assert suppressed_of(load_snapshot(home)) == {}


def test_destinations_keep_what_they_may_not_see(home: Home) -> None:
    def hooks(more: str) -> str:
        settings = 'kind: webhook, settings: {url: "https://x.example", secret: {env: HOOK_SECRET}}'
        return SMALL.replace("}]", f", destinations: [{{id: h, {settings}{more}}}]}}]")

    apply(home, hooks(""))
    (hook,) = load_snapshot(home).apps[0].destinations
    assert (hook.deny_fields, hook.hash_fields) == ((), ())
    result = apply(home, hooks(", deny_fields: [context.ip], hash_fields: default"))
    assert '~   deny_fields: [] → ["context.ip"]' in result.lines
    (hook,) = load_snapshot(home).apps[0].destinations
    assert (hook.deny_fields, hook.hash_fields) == (("context.ip",), ("default",))
    apply(home, hooks(", hash_fields: [default, userId]"))
    (hook,) = load_snapshot(home).apps[0].destinations
    assert (hook.deny_fields, hook.hash_fields) == ((), ("default", "userId"))
