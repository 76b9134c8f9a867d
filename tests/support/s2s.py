"""What the S2S tests share: a catalog of telling apps, and requests to them."""

from __future__ import annotations

from trunkline.kit.protocol import Request
from trunkline.model.snapshot import (
    S2S,
    App,
    EventDefinition,
    Plan,
    Rate,
    Secret,
    Snapshot,
    digest,
)
from trunkline.protocols.s2s import S2SProtocol

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
DEV_KEY = "b3f1c9d0-dev"
HEADERS = {"authorization": DEV_KEY, "user-agent": "okhttp/4.12"}
WALLET = "zcmwmxbkmuodelu"
ADDRESS = "203.0.113.7"

EVENTS = (
    EventDefinition("taqsq", "Purchase Completed", revenue=True),
    EventDefinition("aewqd", "Signed Up"),
    EventDefinition("ctvta", "Old Campaign", archived=True),
)


def make_app(app_id: str, s2s: S2S, currency: str = "IRR", currencies: tuple[str, ...] = ()) -> App:
    """Return an app with the events above."""
    return App(
        id=app_id,
        name=app_id,
        platform="android",
        currency=currency,
        currencies=currencies,
        unknown_events="accept",
        clock_shift_hours_max=24,
        dedupe_days=7,
        rate=Rate(),
        s2s=s2s,
        keys=(),
        events=EVENTS,
        destinations=(),
    )


KEY = Secret(digest(DEV_KEY))
APPS = (
    make_app(WALLET, S2S(True, (KEY,))),
    make_app("switchedoffapps", S2S(False, (KEY,))),
    make_app("withoutanykeyap", S2S(True, ())),
    make_app("fencedinapplica", S2S(True, (KEY,), ("203.0.113.0/24", "2001:db8::/32"))),
    make_app("sellsindirhamsa", S2S(True, (KEY,)), "AED", ("AED", "TRY")),
    make_app(
        "rotatesitskeyab",
        S2S(
            True,
            (
                Secret(digest("the-new-key")),
                Secret(digest("the-old-key"), until_ms=NOW_MS + 1),
                Secret(digest("the-oldest-key"), until_ms=NOW_MS),
            ),
        ),
    ),
)
SNAPSHOT = Snapshot(7, "acme", Plan(), APPS)
SNAPSHOT_WITHOUT_S2S = Snapshot(7, "acme", Plan(features=("rest",)), APPS)


def make_request(
    body: bytes,
    app_id: str = WALLET,
    headers: dict[str, str] | None = None,
    address: str = ADDRESS,
) -> Request:
    """Return a request as the gateway hands it on."""
    return Request(
        route=S2SProtocol.routes[0],
        path=f"/inappevent/{app_id}",
        params={"appId": app_id},
        query="",
        headers=HEADERS if headers is None else headers,
        body=body,
        address=address,
        received_ms=NOW_MS,
        request_id="req-1",
    )
