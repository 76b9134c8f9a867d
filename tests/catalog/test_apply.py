"""Applying a workspace file: the plan, all or nothing, versions, what is generated and kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from tests.support.workspaces import APP_ID, ENVIRONMENT, FULL, SMALL, apply, new_home
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.database import read_session, write_session
from trunkline.catalog.snapshots import build_snapshot
from trunkline.catalog.vault import open_vault
from trunkline.kit.clock import FakeClock
from trunkline.model.snapshot import Snapshot, digest
from trunkline.state.home import Home

DESTINATION = """
apps:
  - id: zcmwmxbkmuodelu
    name: Wallet
    destinations:
      - {{id: {id}, kind: webhook, settings: {{url: "https://{host}.example"}}}}
"""


def snapshot_of(home: Home) -> Snapshot:
    with read_session(home) as session:
        assert session is not None
        return build_snapshot(session, open_vault(home.key_file, may_create=False))


def rows(home: Home) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(home.catalog_file) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        found = {table: db.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}
    db.close()
    return found


def test_the_contract_s_file_becomes_the_snapshot_it_says(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    result = apply(home, FULL)
    assert (result.version, result.is_changed, result.generated) == (1, True, ())
    snapshot = snapshot_of(home)
    app = snapshot.apps_by_id[APP_ID]
    assert (snapshot.version, snapshot.organisation) == (1, "Acme")
    assert app.s2s.enabled
    assert [secret.digest for secret in app.s2s.dev_keys] == [digest(ENVIRONMENT["WALLET_DEV_KEY"])]
    assert app.s2s.allowed_ips == ("203.0.113.7", "2001:db8::/32")
    found = snapshot.find_key("wk_web_0123456789abcdef", 0)
    assert found is not None
    assert (found[1].name, found[1].type) == ("web", "client")
    assert app.events_by_slug["taqsq"].accept == "server"
    (destination,) = app.destinations
    assert (destination.uid, destination.since, destination.name) == (1, 1, "ledger")
    assert destination.filter.types == ("track",)
    assert msgspec.json.decode(destination.settings) == {
        "url": "https://ops.example/hook",
        "secret": "hush-hush-hush",
    }


def test_the_plan_reads_like_a_diff_without_secrets(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    first = apply(home, FULL)
    assert "+ destination Wallet/ledger" in first.lines
    assert "+   settings.secret: •••" in first.lines
    changed = FULL.replace("ops.example", "new.example").replace(
        "enabled: true\n", "enabled: false\n"
    )
    environ = {**ENVIRONMENT, "HOOK_SECRET": "another-hush"}
    second = apply(home, changed, environ=environ)
    assert second.lines == (
        "~ destination Wallet/ledger",
        "~   enabled: true → false",
        '~   settings.url: "https://ops.example/hook" → "https://new.example/hook"',
        "~   settings.secret: ••• → another •••",
    )
    told = "\n".join((*first.lines, *second.lines))
    assert not [
        secret for secret in (*environ.values(), "hush-hush-hush") if secret and secret in told
    ]


def test_a_second_apply_changes_nothing(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    before = rows(home)
    again = apply(home, FULL)
    assert (again.lines, again.is_changed, again.version, again.live) == ((), False, 1, None)
    assert rows(home) == before


def test_each_change_makes_the_next_version(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    versions = [apply(home, SMALL.replace("Wallet", name)).version for name in ("A", "B", "B", "C")]
    assert versions == [1, 2, 2, 3]


def test_a_dry_run_tells_the_plan_and_leaves_no_trace(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, SMALL)
    before = rows(home)
    result = apply(home, FULL, dry_run=True)
    assert "+ key Wallet/backend" in result.lines
    assert (result.version, result.is_dry_run, result.generated) == (1, True, ())
    assert rows(home) == before


def test_a_dry_run_on_a_new_home_leaves_an_empty_catalog(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    assert apply(home, FULL, dry_run=True).version == 0
    with read_session(home) as session:
        assert session is None


def test_what_the_file_does_not_name_stays_until_prune(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    kept = apply(home, SMALL)
    assert kept.unnamed == (
        "key Wallet/backend",
        "key Wallet/web",
        "event Wallet/Purchase Completed",
        "destination Wallet/ledger",
    )
    assert len(snapshot_of(home).apps[0].destinations) == 1
    pruned = apply(home, SMALL, prune=True)
    assert "- destination Wallet/ledger" in pruned.lines
    app = snapshot_of(home).apps[0]
    assert (app.keys, app.events, app.destinations) == ((), (), ())


def test_an_app_that_is_not_named_is_listed_once_and_pruned_whole(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    assert apply(home, "apps: []").unnamed == ("app Wallet",)
    apply(home, "apps: []", prune=True)
    assert snapshot_of(home).apps == ()
    assert all(
        not found for table, found in rows(home).items() if table in ("api_key_secret", "dev_key")
    )


def test_a_destination_keeps_uid_and_since_through_changes(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, DESTINATION.format(id="a", host="one"))
    apply(home, DESTINATION.format(id="a", host="two"))
    (destination,) = snapshot_of(home).apps[0].destinations
    assert (destination.uid, destination.since) == (1, 1)


def test_a_destination_removed_and_made_again_is_another_one(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, DESTINATION.format(id="a", host="one"))
    apply(home, SMALL, prune=True)
    result = apply(home, DESTINATION.format(id="a", host="one"))
    (destination,) = snapshot_of(home).apps[0].destinations
    assert (destination.uid, destination.since) == (2, result.version)


def test_what_is_left_out_is_generated_once(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    text = """
apps:
  - name: Shop
    s2s: {enabled: true}
    keys: [{name: backend, type: server}, {name: web, type: client}]
    events: [{name: Paid}]
"""
    made = {item.what: item.value for item in apply(home, text).generated}
    assert set(made) == {"app_id", "dev_key", "server_key", "client_key", "slug"}
    assert len(made["app_id"]) == 15
    assert len(made["slug"]) == 5
    assert made["server_key"].startswith("tls_")
    assert made["client_key"].startswith("tlc_")
    snapshot = snapshot_of(home)
    assert snapshot.find_key(made["server_key"], 0) is not None
    assert snapshot.apps_by_id[made["app_id"]].events_by_slug[made["slug"]].name == "Paid"
    again = apply(home, text)
    assert (again.is_changed, again.generated) == (False, ())


def test_generated_things_hide_in_the_text_of_a_result(tmp_path: Path) -> None:
    result = apply(new_home(tmp_path), "apps: [{name: A, s2s: {enabled: true}}]")
    secret = next(item.value for item in result.generated if item.what == "dev_key")
    assert secret not in repr(result)


def test_a_file_without_organisation_and_plan_keeps_those_of_the_catalog(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, "organisation: Acme\nplan: {features: [s2s]}\napps: []")
    apply(home, SMALL)
    snapshot = snapshot_of(home)
    assert (snapshot.organisation, snapshot.plan.features) == ("Acme", ("s2s",))


def test_an_overlap_in_the_file_opens_with_both_secrets_until_its_end(tmp_path: Path) -> None:
    home, clock = new_home(tmp_path), FakeClock(1_795_000_000_000)
    text = (
        "apps: [{id: zcmwmxbkmuodelu, name: A, keys: [{name: b, type: server, secret: new-one, "
        "secret_previous: {secret: old-one, until: 2026-12-01T03:30:00+03:30}}]}]"
    )
    apply(home, text, clock=clock)
    snapshot, end = snapshot_of(home), 1_796_083_200_000
    assert snapshot.find_key("old-one", end - 1) is not None
    assert snapshot.find_key("old-one", end) is None
    assert snapshot.find_key("new-one", end) is not None


def test_secrets_can_be_swapped_between_keys(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    keys = "{{name: a, type: server, secret: {}}}, {{name: b, type: server, secret: {}}}"
    text = "apps: [{{id: zcmwmxbkmuodelu, name: A, keys: [{}]}}]"
    apply(home, text.format(keys.format("first-one", "second-one")))
    apply(home, text.format(keys.format("second-one", "first-one")))
    found = snapshot_of(home).find_key("first-one", 0)
    assert found is not None
    assert found[1].name == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "apps: [{id: abcdefghijklmno, name: Wallet}]",
            "apps[0] `Wallet`: name is also that of the app zcmwmxbkmuodelu in the catalog; "
            "expected another name for each; rename it, give that id, or remove the other "
            "with --prune",
        ),
        (
            "apps: [{id: zcmwmxbkmuodelu, name: Wallet, events: "
            "[{slug: other, name: purchase-completed}]}]",
            "apps[0].events[0] `purchase-completed`: name is also that of the event taqsq in the "
            "catalog; expected another name for each; give that slug, or remove the other "
            "with --prune",
        ),
        (
            "apps: [{id: abcdefghijklmno, name: Shop, keys: "
            "[{name: x, type: client, secret: wk_web_0123456789abcdef}]}]",
            "apps[0].keys[0] `x`: secret is also that of the key `web` of the app zcmwmxbkmuodelu "
            "in the catalog; expected another secret for each key; change it, or remove the other "
            "with --prune",
        ),
    ],
)
def test_what_the_catalog_cannot_agree_to_is_refused_unless_pruned(
    tmp_path: Path, text: str, expected: str
) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    before = rows(home)
    with pytest.raises(WorkspaceError) as caught:
        apply(home, text)
    assert caught.value.problems == (expected,)
    assert rows(home) == before
    assert apply(home, text, prune=True).is_changed


def test_a_failure_in_the_middle_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """The fourth destination cannot be written; the three before it are not there either."""
    home = new_home(tmp_path)
    apply(home, SMALL)
    with write_session(home) as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON destination "
            "WHEN new.id='d3' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    before = rows(home)
    destinations = "".join(
        f"      - {{id: d{n}, kind: webhook, settings: {{url: 'https://a.example'}}}}\n"
        for n in range(6)
    )
    text = f"organisation: New\napps:\n  - id: {APP_ID}\n    name: New\n    destinations:\n"
    with pytest.raises(Exception, match="refused"):
        apply(home, text + destinations)
    assert rows(home) == before
    assert snapshot_of(home).version == 1


def test_a_key_secret_stands_nowhere_in_the_home_in_clear(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    apply(home, FULL.replace("HOOK_SECRET", "WALLET_DEV_KEY"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert home.snapshot_file in files
    secrets = [*filter(None, ENVIRONMENT.values()), "wk_web_0123456789abcdef"]
    for path in files:
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data], path


def test_what_holds_secrets_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    for file in (home.catalog_file, home.key_file, home.snapshot_file):
        assert file.stat().st_mode & 0o777 == 0o600, file
