"""What is exported applies back to nothing."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.workspaces import ENVIRONMENT, FULL, KINDS, apply, new_home
from trunkline.catalog.check import read_workspace
from trunkline.catalog.export import export_workspace, render, render_tree
from trunkline.catalog.workspace import (
    AppSpec,
    ConsentRegionsSpec,
    DestinationSpec,
    EventSpec,
    FilterSpec,
    Instant,
    KeySpec,
    PlanSpec,
    Previous,
    ProfilesSpec,
    RateSpec,
    S2SSpec,
    SecretText,
    Workspace,
)
from trunkline.kit.clock import FakeClock
from trunkline.kit.yaml_text import read_yaml

EVERYTHING = """
organisation: "No: 1"
plan: {features: [s2s], events_per_month_max: 1000}
apps:
  - id: abcdefghijklmno
    name: "true"
    platform: web
    currency: USD
    currencies: [USD]
    unknown_events: flag
    clock_shift_hours_max: 1.5
    dedupe_days: 3
    rate: {events_per_second_max: 10, burst: 20}
    s2s:
      enabled: true
      dev_key: "12345678"
      dev_key_previous: {secret: "1e5", until: 2030-12-01T00:00:00.250Z}
      allowed_ips: [10.0.0.0/8]
    profiles: {enabled: false}
    consent_regions: {needed_in: [EEA, NO, US-CA], without: drop, unknown: not_needed}
    keys:
      - name: b
        type: server
        secret: "null"
        secret_previous: {secret: "~", until: 2030-01-01T00:00:00Z}
      - {name: w, type: client, secret: "010", allowed_origins: ["http://localhost:3000"]}
    events:
      - {slug: taqsq, name: "خرید", revenue: true, archived: true}
    destinations:
      - id: k.1
        name: The one
        kind: klaviyo
        enabled: false
        settings:
          url: "https://k"
          api_key: "# hush"
          headers: {X-Key: "- hush"}
          proxies: [{host: "1", password: "1.50"}]
        filter: {types: [track, page], events: [A], except: [B]}
        order: none
        consent: [marketing]
        historical: true
        deny_fields: [context.ip, "properties.*_token"]
        hash_fields: [default, userId]
        consent_regions:
          {needed_in: [ALL], country_fields: [properties.market], personal_fields: ["traits.*"]}
      - {id: k.2, kind: klaviyo, settings: {url: "https://k", api_key: hush}, hash_fields: default}
      - {id: k.3, kind: klaviyo, settings: {url: "https://k", api_key: hush},
         consent_regions: {needed_in: []}}
"""


def test_a_revealed_export_applies_to_nothing_to_change(tmp_path: Path) -> None:
    for name, text in (("full", FULL), ("everything", EVERYTHING)):
        home = new_home(tmp_path / name)
        apply(home, text)
        exported = export_workspace(home, FakeClock(), reveal=True)
        again = apply(home, exported.text, environ={}, prune=True)
        assert (again.lines, again.unnamed) == ((), ())
        other = new_home(tmp_path / f"{name}-copy")
        apply(other, exported.text, environ={})
        assert export_workspace(other, FakeClock(), reveal=True) == exported


def test_an_export_names_its_secrets_and_holds_none(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(home, FULL)
    exported = export_workspace(home, FakeClock())
    assert exported.variables == (
        "WALLET_DEV_KEY",
        "WALLET_BACKEND_SECRET",
        "WALLET_WEB_SECRET",
        "WALLET_LEDGER_SECRET",
    )
    secrets = [*filter(None, ENVIRONMENT.values()), "wk_web_0123456789abcdef"]
    assert not [secret for secret in secrets if secret in exported.text]
    environ = {
        "WALLET_DEV_KEY": ENVIRONMENT["WALLET_DEV_KEY"],
        "WALLET_BACKEND_SECRET": ENVIRONMENT["WALLET_SERVER_KEY"],
        "WALLET_WEB_SECRET": "wk_web_0123456789abcdef",
        "WALLET_LEDGER_SECRET": ENVIRONMENT["HOOK_SECRET"],
    }
    assert apply(home, exported.text, environ=environ).lines == ()


def test_names_of_variables_are_never_used_twice(tmp_path: Path) -> None:
    home = new_home(tmp_path)
    apply(
        home,
        "apps: [{name: A b, s2s: {enabled: true}}, {name: A-b, s2s: {enabled: true}}, "
        "{name: ۱, s2s: {enabled: true}}, {name: '1', s2s: {enabled: true}}]",
    )
    names = export_workspace(home, FakeClock()).variables
    assert len(set(names)) == 4
    assert all(set(name) <= set(string.ascii_uppercase + string.digits + "_") for name in names)


def test_a_home_without_a_catalog_exports_an_empty_workspace(tmp_path: Path) -> None:
    assert export_workspace(new_home(tmp_path), FakeClock()).text == "apps: []\n"


_NAMES = st.text(
    st.characters(categories=("L", "N", "P", "Zs"), include_characters=" "), min_size=1
)
NAMES = _NAMES.filter(lambda t: t.strip() == t and t.isprintable() and len(t) < 129)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=40)
ENDS = st.integers(1_800_000_000_000, 4_000_000_000_000).map(Instant)
PREVIOUS = st.builds(Previous, secret=st.builds(SecretText, SECRETS), until=ENDS)


REGIONS = st.none() | st.builds(
    ConsentRegionsSpec,
    needed_in=st.lists(st.sampled_from(["EEA", "EU", "ALL", "NO", "GB", "US-CA", "CA-QC"])).map(
        tuple
    ),
    unknown=st.sampled_from(["needed", "not_needed"]),
    without=st.sampled_from(["withhold", "drop"]),
    country_fields=st.sampled_from([(), ("properties.market",)]),
    personal_fields=st.sampled_from([(), ("properties.*_seat", "context.x")]),
)


@st.composite
def workspaces(draw: st.DrawFn) -> Workspace:
    """Any workspace in which every secret is another one."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    secrets = draw(st.lists(SECRETS, min_size=6, max_size=6, unique=True))
    app = AppSpec(
        id="abcdefghijklmno",
        name=names[0],
        dedupe_days=draw(st.floats(0.5, 365)),
        rate=RateSpec(events_per_second_max=draw(st.none() | st.floats(0.1, 1e6))),
        profiles=ProfilesSpec(enabled=draw(st.booleans())),
        consent_regions=draw(REGIONS),
        s2s=S2SSpec(
            enabled=True,
            dev_key=SecretText(secrets[0]),
            dev_key_previous=Previous(secret=SecretText(secrets[1]), until=draw(ENDS)),
        ),
        keys=tuple(
            KeySpec(name=name, type="client", secret=SecretText(secret))
            for name, secret in zip(names, secrets[2:5], strict=False)
        ),
        events=(EventSpec(slug="taqsq", name=names[0]),),
        destinations=(
            DestinationSpec(
                id="k",
                kind="klaviyo",
                settings={
                    "url": "https://" + draw(NAMES),
                    "api_key": SecretText(draw(st.text(min_size=4).filter(str.isprintable))),
                    "headers": {draw(NAMES): SecretText(secrets[5])},
                },
                filter=FilterSpec(events=tuple(names)),
                consent_regions=draw(REGIONS),
            ),
        ),
    )
    return Workspace(organisation=names[0], plan=PlanSpec(), apps=(app,))


LINES = st.text(
    st.sampled_from("ab:#-|>'\"{}[]&*!%@`\\ \t\n\r\x85\u2028\ufeffé😀\x07"), max_size=30
)


@given(st.one_of(LINES, st.text(st.characters(exclude_categories=["Cs"]))))
@settings(deadline=None)
def test_any_text_of_code_is_read_back_as_it_was_written(text: str) -> None:
    tree = {"playbook": {"body": text, "list": [{"body": text}]}}
    if "\0" not in text:
        assert read_yaml(render_tree(tree)) == tree


@pytest.mark.slow
@given(workspaces())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_workspace_is_read_back_as_it_was_rendered(workspace: Workspace) -> None:
    text = render(workspace, reveal=True).text
    reading = read_workspace(text, KINDS, {}, Path())
    assert reading.problems == ()
    assert reading.workspace == workspace


@pytest.mark.slow
@given(workspaces())
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_workspace_applies_back_to_nothing(workspace: Workspace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = new_home(Path(folder))
        apply(home, render(workspace, reveal=True).text)
        exported = export_workspace(home, FakeClock(), reveal=True)
        assert apply(home, exported.text).lines == ()
