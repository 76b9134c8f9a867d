"""A workspace with everything in it, a kind of destination whose messages no other room changes,
and short ways to apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from trunkline.catalog.apply import ApplyResult, apply_workspace
from trunkline.catalog.check import Kinds
from trunkline.destinations.webhook import Webhook
from trunkline.kit.clock import Clock, FakeClock
from trunkline.kit.destination import Attempt, Destination, Example, Mapped, Request, Settings
from trunkline.state.home import Home

Hidden = Annotated[str, Meta(min_length=4, extra_json_schema={"x-secret": True})]


class Proxy(Settings, frozen=True, kw_only=True):
    """Settings inside settings, with a secret in them."""

    host: str
    password: Hidden | None = None


class KlaviyoSettings(Settings, frozen=True, kw_only=True):
    """Settings of every shape: required, bounded, chosen, nested, secret, secret in a mapping."""

    url: str
    api_key: Hidden
    region: Literal["eu", "us"] = "eu"
    pages: Annotated[int, Meta(ge=1, le=10)] = 1
    headers: dict[str, Hidden] = {}
    proxies: tuple[Proxy, ...] = ()

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"url with the key {self.api_key} goes by https only; write https://")


class Klaviyo(Destination[KlaviyoSettings]):
    """A kind that sends nothing: the catalog knows a kind by its settings alone."""

    kind = "klaviyo"
    title = "Klaviyo"
    settings_type = KlaviyoSettings
    examples: ClassVar[Sequence[Example]] = ()

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        return Request("POST", self.settings.url, (), b"")


KINDS: Kinds = {"klaviyo": Klaviyo, "webhook": Webhook}
ENVIRONMENT = {
    "WALLET_DEV_KEY": "dev-key-of-the-wallet",
    "WALLET_SERVER_KEY": "tls_server_0123456789abcdef",
    "HOOK_SECRET": "hush-hush-hush",
    "EMPTY": "",
}
APP_ID = "zcmwmxbkmuodelu"
FULL = """
organisation: Acme
plan: {features: [s2s, rest, bulk, push], events_per_month_max: null}
apps:
  - id: zcmwmxbkmuodelu                # 15 lower-case letters; generated when left out
    name: Wallet
    platform: android                  # android | ios | web | server | …
    currency: IRR
    currencies: [IRR, USD, EUR]        # what S2S revenue may name
    unknown_events: accept             # tracking API: accept | flag | block
    clock_shift_hours_max: 24
    dedupe_days: 7
    rate: {events_per_second_max: null, burst: null}
    s2s:
      {enabled: true, dev_key: {env: WALLET_DEV_KEY}, allowed_ips: [203.0.113.7, "2001:db8::/32"]}
    keys:
      - {name: backend, type: server, secret: {env: WALLET_SERVER_KEY}}
      - name: web
        type: client
        secret: wk_web_0123456789abcdef
        allowed_origins: ["https://wallet.example"]
    events:
      - {slug: taqsq, name: Purchase Completed, revenue: true, accept: server}
    destinations:
      - id: ledger                     # unique in the app
        kind: webhook
        enabled: true
        settings: {url: "https://ops.example/hook", secret: {env: HOOK_SECRET}}
        filter: {types: [track], events: [], except: []}
        order: user                    # user | device | none
        consent: []                    # categories it needs
        revision: null                 # a pinned playbook revision
        historical: false              # whether imported history goes to it
"""
SMALL = "apps: [{id: zcmwmxbkmuodelu, name: Wallet}]"


def new_home(folder: Path) -> Home:
    """Return a prepared home."""
    home = Home(folder)
    home.prepare()
    return home


def apply(
    home: Home,
    text: str,
    *,
    environ: Mapping[str, str] = ENVIRONMENT,
    clock: Clock | None = None,
    kinds: Kinds = KINDS,
    **options: Any,
) -> ApplyResult:
    """Apply a text with the kinds and the environment of the tests."""
    options.setdefault("base", home.folder)
    return apply_workspace(home, text, kinds, environ, clock=clock or FakeClock(), **options)
