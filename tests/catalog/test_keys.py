"""Keys: new, rotated with an overlap, revoked for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.workspaces import APP_ID, ENVIRONMENT, FULL, apply, new_home
from trunkline.catalog import keys
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.database import CatalogError, read_session
from trunkline.catalog.export import export_workspace
from trunkline.catalog.key_list import list_keys, tell_leak
from trunkline.catalog.snapshots import build_snapshot
from trunkline.catalog.vault import open_vault
from trunkline.kit.clock import FakeClock
from trunkline.model.snapshot import Rate, Snapshot, digest
from trunkline.state.home import Home
from trunkline.state.key_uses import KeyUse, read_uses, use_id, write_uses

SERVER_KEY = ENVIRONMENT["WALLET_SERVER_KEY"]
HOUR_MS = 3_600_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = new_home(tmp_path)
    apply(home, FULL)
    return home


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def snapshot_of(home: Home) -> Snapshot:
    with read_session(home) as session:
        assert session is not None
        return build_snapshot(session, open_vault(home.key_file, may_create=False))


@pytest.mark.parametrize("app", ["Wallet", APP_ID])
def test_a_new_key_opens_at_once(home: Home, clock: FakeClock, app: str) -> None:
    issued = keys.new_key(home, clock, app, "shop", "server")
    found = snapshot_of(home).find_key(issued.secret, clock.now_ms())
    assert found is not None
    assert (found[0].id, found[1].name, found[1].type) == (APP_ID, "shop", "server")
    assert issued.secret.startswith("tls_")
    assert len(issued.secret) >= 4 + 22  # 128 bits in base64


def test_a_rotated_key_opens_with_both_secrets_until_the_overlap_ends(
    home: Home, clock: FakeClock
) -> None:
    now = clock.now_ms()
    issued = keys.rotate_key(home, clock, "Wallet", "backend", 2)
    snapshot = snapshot_of(home)
    assert snapshot.find_key(issued.secret, now) is not None
    assert snapshot.find_key(SERVER_KEY, now + 2 * HOUR_MS - 1) is not None
    assert snapshot.find_key(SERVER_KEY, now + 2 * HOUR_MS) is None


def test_a_rotation_without_overlap_ends_the_old_secret_now(home: Home, clock: FakeClock) -> None:
    keys.rotate_key(home, clock, "Wallet", "backend", 0)
    assert snapshot_of(home).find_key(SERVER_KEY, clock.now_ms()) is None


def test_a_second_rotation_ends_the_secret_before_the_last(home: Home, clock: FakeClock) -> None:
    second = keys.rotate_key(home, clock, "Wallet", "backend", 24)
    keys.rotate_key(home, clock, "Wallet", "backend", 24)
    snapshot = snapshot_of(home)
    assert snapshot.find_key(SERVER_KEY, clock.now_ms()) is None
    assert snapshot.find_key(second.secret, clock.now_ms()) is not None


def test_a_rotated_dev_key_overlaps(home: Home, clock: FakeClock) -> None:
    issued = keys.rotate_dev_key(home, clock, "Wallet", 1)
    secrets = snapshot_of(home).apps[0].s2s.dev_keys
    opens = {secret.digest: secret.holds_at(clock.now_ms() + HOUR_MS) for secret in secrets}
    assert opens == {digest(issued.secret): True, digest(ENVIRONMENT["WALLET_DEV_KEY"]): False}


def test_a_file_older_than_a_rotation_is_refused(home: Home, clock: FakeClock) -> None:
    """Also when the overlap is over: applying it would lock out who took the new secret."""
    keys.rotate_key(home, clock, "Wallet", "backend", 1)
    for hours in (0, 2):
        clock.pause(hours * 3600)
        with pytest.raises(WorkspaceError) as caught:
            apply(home, FULL, clock=clock)
        assert caught.value.problems == (
            "apps[0].keys[0] `backend`: secret is one that a rotation put out; expected the "
            "present one; give that or leave it out, and to go back give the present one as "
            "the previous",
        )


def test_a_file_goes_back_behind_a_rotation_when_it_says_so(home: Home, clock: FakeClock) -> None:
    issued = keys.rotate_key(home, clock, "Wallet", "backend", 1)
    previous = f", secret_previous: {{secret: {issued.secret}, until: 2030-01-01T00:00:00Z}}}}"
    text = FULL.replace("{env: WALLET_SERVER_KEY}}", "{env: WALLET_SERVER_KEY}" + previous)
    assert apply(home, text, clock=clock).is_changed
    now = clock.now_ms() + 2 * HOUR_MS
    assert snapshot_of(home).find_key(SERVER_KEY, now) is not None
    assert snapshot_of(home).find_key(issued.secret, now) is not None


def test_an_overlap_goes_on_through_an_apply_that_keeps_the_secret(
    home: Home, clock: FakeClock
) -> None:
    keys.rotate_key(home, clock, "Wallet", "backend", 24)
    kept = FULL.replace(", secret: {env: WALLET_SERVER_KEY}", "").replace("Acme", "New")
    apply(home, kept, clock=clock)
    assert snapshot_of(home).find_key(SERVER_KEY, clock.now_ms()) is not None
    apply(home, export_workspace(home, clock, reveal=True).text, clock=clock, prune=True)
    assert snapshot_of(home).find_key(SERVER_KEY, clock.now_ms()) is not None


def test_a_revoked_key_opens_nothing_and_no_file_brings_it_back(
    home: Home, clock: FakeClock
) -> None:
    keys.revoke_key(home, clock, "Wallet", "backend")
    assert snapshot_of(home).find_key(SERVER_KEY, clock.now_ms()) is None
    assert [key.name for key in snapshot_of(home).apps[0].keys] == ["web"]
    with pytest.raises(WorkspaceError) as caught:
        apply(home, FULL, clock=clock, prune=True)
    assert caught.value.problems == (
        "apps[0].keys[0] `backend`: secret is one that was revoked; expected another; give a new "
        "one, or leave it out and one is generated",
    )
    elsewhere = f"apps: [{{name: Other, keys: [{{name: x, type: server, secret: {SERVER_KEY}}}]}}]"
    with pytest.raises(WorkspaceError, match="is one that was revoked"):
        apply(home, elsewhere, clock=clock)


def test_a_revoked_key_takes_the_secrets_before_it_along(home: Home, clock: FakeClock) -> None:
    issued = keys.rotate_key(home, clock, "Wallet", "backend", 24)
    keys.revoke_key(home, clock, "Wallet", "backend")
    snapshot = snapshot_of(home)
    for secret in (SERVER_KEY, issued.secret):
        assert snapshot.find_key(secret, clock.now_ms()) is None
        with pytest.raises(WorkspaceError, match="is one that was revoked"):
            apply(home, f"apps: [{{name: B, keys: [{{name: x, type: server, secret: {secret}}}]}}]")


def test_a_revoked_dev_key_is_gone_and_a_new_one_is_generated(home: Home, clock: FakeClock) -> None:
    keys.revoke_dev_key(home, clock, "Wallet")
    assert snapshot_of(home).apps[0].s2s.dev_keys == ()
    with pytest.raises(WorkspaceError, match=r"s2s.dev_key is one that was revoked"):
        apply(home, FULL, clock=clock)
    result = apply(home, FULL.replace(" dev_key: {env: WALLET_DEV_KEY},", ""), clock=clock)
    assert [item.what for item in result.generated] == ["dev_key"]


def test_the_list_shows_states_and_no_secrets(home: Home, clock: FakeClock) -> None:
    keys.rotate_key(home, clock, "Wallet", "backend", 24)
    keys.revoke_key(home, clock, "Wallet", "web")
    lines = list_keys(home, clock)
    assert [(line.name, line.type, line.state) for line in lines] == [
        ("dev key", "dev", "active"),
        ("backend", "server", "active"),
        ("backend", "server", "overlap"),
        ("web", "key", "revoked"),
    ]
    assert not [secret for secret in filter(None, ENVIRONMENT.values()) if secret in repr(lines)]


def test_a_server_key_becomes_a_client_key_and_keeps_its_secret(
    home: Home, clock: FakeClock
) -> None:
    keys.make_client_key(home, clock, "Wallet", "backend")
    found = snapshot_of(home).find_key(SERVER_KEY, clock.now_ms())
    assert found is not None
    assert (found[1].name, found[1].type) == ("backend", "client")


# What was seen of keys


def saw(home: Home, secret: str, use: KeyUse, app: str = APP_ID, gateway: int = 0) -> None:
    """Write what a gateway saw."""
    file = home.key_uses_folder / f"gateway-{gateway}.json"
    write_uses(file, {**read_uses(file), use_id(app, digest(secret)): use})


def test_the_list_shows_when_each_secret_was_used_last(home: Home, clock: FakeClock) -> None:
    issued = keys.rotate_key(home, clock, "Wallet", "backend", 24)
    saw(home, SERVER_KEY, KeyUse(1_795_169_700_000))
    saw(home, SERVER_KEY, KeyUse(1_795_169_760_000), gateway=1)
    saw(home, issued.secret, KeyUse(1_795_169_640_000))
    saw(home, ENVIRONMENT["WALLET_DEV_KEY"], KeyUse(1_795_169_580_000))
    saw(home, ENVIRONMENT["WALLET_DEV_KEY"], KeyUse(1_795_169_880_000), app="another")
    lines = [(line.name, line.state, line.last_used) for line in list_keys(home, clock)]
    assert lines == [
        ("dev key", "active", "2026-11-20T10:13:00.000Z"),
        ("backend", "active", "2026-11-20T10:14:00.000Z"),
        ("backend", "overlap", "2026-11-20T10:16:00.000Z"),
        ("web", "active", None),
    ]


LEAKED = KeyUse(0, 3, 1_795_169_731_200, "https://shop.example")


def leaks_of(home: Home, clock: FakeClock) -> list[str]:
    return [told for told in map(tell_leak, list_keys(home, clock)) if told]


def test_a_leak_is_told_until_that_secret_opens_nothing(home: Home, clock: FakeClock) -> None:
    saw(home, SERVER_KEY, LEAKED)
    seen = "leaked: seen in a browser request from https://shop.example 3 times, last "
    seen += "2026-11-20T10:15:31.200Z; "
    command = "trunkline key rotate Wallet backend"
    assert leaks_of(home, clock) == [f"{seen}rotate it: {command}"]
    keys.rotate_key(home, clock, "Wallet", "backend", 2)
    [line] = [line for line in list_keys(home, clock) if line.state == "overlap"]
    assert leaks_of(home, clock) == [f"{seen}it opens until {line.until}; end it now: {command}"]
    keys.rotate_key(home, clock, "Wallet", "backend", 2)
    assert leaks_of(home, clock) == []


def test_what_is_a_client_key_now_has_not_leaked(home: Home, clock: FakeClock) -> None:
    saw(home, SERVER_KEY, LEAKED)
    keys.make_client_key(home, clock, "Wallet", "backend")
    assert leaks_of(home, clock) == []


def test_a_leak_without_an_origin_and_a_name_with_spaces_are_told_too(
    home: Home, clock: FakeClock
) -> None:
    issued = keys.new_key(home, clock, "Wallet", "the back end", "server")
    saw(home, issued.secret, KeyUse(0, 1, 1_795_169_731_200, ""))
    assert leaks_of(home, clock) == [
        "leaked: seen in a browser request that named no origin once, last "
        "2026-11-20T10:15:31.200Z; rotate it: trunkline key rotate Wallet 'the back end'"
    ]


# Rates

RATES = """
apps:
  - id: {app}
    name: Wallet
    keys:
      - {{name: web, type: client, rate: {{events_per_second_max: 500, burst: 900}},
         rate_per_ip: {{events_per_second_max: 2.5}}}}
      - {{name: kiosk, type: client, rate_per_ip: none}}
      - {{name: app, type: client}}
"""


def test_rates_of_keys_reach_the_gateway_and_come_back_as_they_were(
    home: Home, clock: FakeClock
) -> None:
    apply(home, RATES.format(app=APP_ID), clock=clock)
    found = {key.name: (key.rate, key.rate_per_ip) for key in snapshot_of(home).apps[0].keys}
    assert found == {
        "backend": (Rate(), None),
        "web": (Rate(500, 900), Rate(2.5)),
        "kiosk": (Rate(), Rate()),
        "app": (Rate(), None),
    }
    exported = export_workspace(home, clock, reveal=True).text
    assert apply(home, exported, clock=clock, prune=True).lines == ()
    changed = apply(
        home, exported.replace("rate_per_ip: none", "rate_per_ip: default"), clock=clock
    )
    assert changed.lines == ("~ key Wallet/kiosk", '~   rate_per_ip: "none" → "default"')


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (
            lambda home, clock: keys.new_key(home, clock, "Walet", "x", "server"),
            "no app 'Walet' in the catalog; known: Wallet; did you mean `Wallet`?",
        ),
        (
            lambda home, clock: keys.new_key(home, clock, "Wallet", "web", "server"),
            "the app Wallet has a key `web` already; rotate it, or give the new one another name",
        ),
        (
            lambda home, clock: keys.new_key(home, clock, "Wallet", " ", "server"),
            "' ' is no name for a key; expected text of 1 to 128 characters without line breaks "
            "or spaces at its ends",
        ),
        (
            lambda home, clock: keys.rotate_key(home, clock, "Wallet", "backnd", 1),
            "the app Wallet has no key 'backnd'; known: backend, web; did you mean `backend`?",
        ),
        (
            lambda home, clock: keys.rotate_key(home, clock, "Wallet", "backend", -1),
            "an overlap of -1 hours; expected 0 to 8760",
        ),
        (
            lambda home, clock: keys.make_client_key(home, clock, "Wallet", "web"),
            "the key Wallet/web is a client key already",
        ),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    home: Home, clock: FakeClock, work: Callable[[Home, FakeClock], object], sentence: str
) -> None:
    with pytest.raises(CatalogError) as caught:
        work(home, clock)
    assert str(caught.value) == sentence
    assert snapshot_of(home).version == 1
