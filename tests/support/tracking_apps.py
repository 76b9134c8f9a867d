"""The apps and keys that the tests of the tracking protocol send to."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.support.golden import find_route
from trunkline.kit.protocol import Protocol, Request
from trunkline.model.snapshot import (
    S2S,
    App,
    EventDefinition,
    Key,
    Plan,
    Rate,
    Secret,
    Snapshot,
    digest,
)

RECEIVED_MS = 1_795_169_731_200  # 2026-11-20T10:15:31.200Z
ADDRESS = "203.0.113.9"


def make_key(name: str, secret: str, kind: Any = "server", **more: Any) -> Key:
    """Return a key that a secret opens for good."""
    return Key(name, kind, (Secret(digest(secret)),), **more)


def make_app(name: str, *keys: Key, **more: Any) -> App:
    """Return an app that takes everything, but for what is named."""
    fields: dict[str, Any] = {
        "id": name,
        "name": name.title(),
        "platform": "web",
        "currency": "EUR",
        "currencies": ("EUR",),
        "unknown_events": "accept",
        "clock_shift_hours_max": 24.0,
        "dedupe_days": 7.0,
        "rate": Rate(),
        "s2s": S2S(),
        "keys": keys,
        "events": (
            EventDefinition("ordrc", "Order Completed"),
            EventDefinition("prchs", "Purchase Completed", revenue=True, accept="server"),
            EventDefinition("oldev", "Old Event", archived=True),
        ),
        "destinations": (),
    }
    return App(**(fields | more))


EXPIRED = Key("rotated", "server", (Secret(digest("wk_expired"), RECEIVED_MS - 1),))
ROTATING = Key(
    "rotating",
    "server",
    (Secret(digest("wk_new")), Secret(digest("wk_old"), RECEIVED_MS + 1000)),
)

SNAPSHOT = Snapshot(
    version=7,
    organisation="Acme",
    plan=Plan(),
    apps=(
        make_app(
            "shop",
            make_key("backend", "wk_backend"),
            make_key("web", "wk_web", "client", allowed_origins=("https://shop.example",)),
            make_key("phone", "wk_phone", "client"),
            EXPIRED,
            ROTATING,
        ),
        make_app("blocked", make_key("backend", "wk_block"), unknown_events="block"),
        make_app("flagged", make_key("backend", "wk_flag"), unknown_events="flag"),
        make_app(
            "fenced",
            make_key("backend", "wk_fenced"),
            make_key("web", "wk_fenced_web", "client"),
            s2s=S2S(allowed_ips=("198.51.100.0/24", "2001:db8::/32")),
        ),
    ),
)


def basic(text: str) -> str:
    """Return an Authorization header whose decoded text is this."""
    return "Basic " + b64encode(text.encode()).decode()


def make_request(
    protocol: Protocol, path: str, body: bytes = b"", method: str = "POST", **more: Any
) -> Request:
    """Return a request with the backend's key in its header, but for what is named."""
    route, params = find_route(protocol, method, path)
    fields: dict[str, Any] = {
        "route": route,
        "path": path,
        "params": params,
        "query": "",
        "headers": {"authorization": basic("wk_backend:")},
        "body": body,
        "address": ADDRESS,
        "received_ms": RECEIVED_MS,
        "request_id": "request-1",
    }
    return Request(**(fields | more))
