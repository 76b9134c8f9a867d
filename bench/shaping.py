"""Workload 11: a playbook of 25 mappings, beside Python that somebody wrote for the same.

Both make the same output of the same 1.5 KB event, from the decoded event to a dict, one after the
other in one process; the hand-written one asks for what may be missing, as code that runs has to.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from bench.plan import Plan
from bench.results import Bound, Result, median, number
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Moment

NUMBERS = (11,)

Tree = dict[str, Any]
_SLICE = 200  # events of one, then of the other: so short that the machine's moods hit both

EVENT: Tree = {
    "messageId": "srv-1795169730250-8f3c1a5e",
    "type": "track",
    "event": "Order Completed",
    "userId": "usr_190482",
    "anonymousId": "c2f0a1de-9e57-4c2b-8a53-1f6f0b7f4f11",
    "timestamp": "2026-11-20T10:15:30.250Z",
    "receivedAt": "2026-11-20T10:15:31.004Z",
    "app": "zcmwmxbkmuodelu",
    "source": {"protocol": "tracking", "key": "web"},
    "context": {
        "ip": "203.0.113.24",
        "locale": "en-US",
        "timezone": "America/Los_Angeles",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0",
        "page": {
            "url": "https://shop.example.com/checkout/thanks?order=50314b8e",
            "referrer": "https://shop.example.com/checkout/pay",
            "title": "Thank you",
        },
        "campaign": {"name": "november", "source": "newsletter", "medium": "email"},
    },
    "traits": {
        "email": "  Jane.Doe@Example.com ",
        "phone": "+1 (415) 555-0132",
        "firstName": "Jane",
        "lastName": "Doe",
        "address": {"city": "Springfield", "state": "OR", "postalCode": "97477", "country": "us"},
    },
    "properties": {
        "order_id": "50314b8e",
        "total": "1299.50",
        "shipping": 12.5,
        "tax": 8,
        "currency": "usd",
        "coupon": "HELLO",
        "channel": "web",
        "products": [
            {
                "product_id": "507f1f77", "sku": "G-32", "name": "Monopoly", "brand": "Hasbro",
                "url": "https://shop.example.com/products/1",
                "category": "Games", "price": 19, "quantity": 1,
            },
            {
                "product_id": "505bd767", "sku": "F-32", "name": "UNO", "brand": "Mattel",
                "url": "https://shop.example.com/products/2",
                "category": "Games", "price": 3, "quantity": 2,
            },
            {
                "product_id": "9d2a1b44", "sku": "T-10", "name": "Table", "brand": "Oak & Co",
                "url": "https://shop.example.com/products/3",
                "category": "Furniture", "price": 1274.5, "quantity": 1,
            },
        ],
    },
}  # fmt: skip
MOMENT = Moment(1_795_169_731_500, "zcmwmxbkmuodelu/ads\0srv-1795169730250-8f3c1a5e")


def _map(source: str, to: str, *transforms: Tree, **default: Any) -> Tree:
    return {"inputKey": source, "outputKey": to, "transforms": list(transforms), **default}


def _hashed(source: str, to: str) -> Tree:
    return _map(
        source, f"user_data.{to}",
        {"modifyString": "trim"}, {"modifyString": "lowercase"}, {"toHash": "sha256"},
    )  # fmt: skip


PLAYBOOK: Tree = {
    "version": "1",
    "eventSpecific": {
        "order_completed": {
            "mappings": [
                _map("messageId", "event_id"),
                _map("timestamp", "event_time", {"toTimestamp": "inSeconds"}),
                _map("context.page.url", "event_source_url"),
                _map("context.page.referrer", "referrer_url"),
                _map("context.locale", "locale"),
                _hashed("traits.email", "em"),
                _hashed("traits.firstName", "fn"),
                _hashed("traits.lastName", "ln"),
                _hashed("traits.address.city", "ct"),
                _hashed("traits.address.state", "st"),
                _hashed("traits.address.postalCode", "zp"),
                _hashed("traits.address.country", "country"),
                _hashed("userId", "external_id"),
                _map("context.ip", "user_data.client_ip_address"),
                _map("context.userAgent", "user_data.client_user_agent"),
                _map("properties.order_id", "custom_data.order_id"),
                _map("properties.total", "custom_data.value", {"toScalar": "float"}),
                _map("properties.shipping", "custom_data.shipping"),
                _map("properties.tax", "custom_data.tax"),
                _map(
                    "properties.currency", "custom_data.currency",
                    {"modifyString": "uppercase"}, defaultString="USD",
                ),
                _map("properties.coupon", "custom_data.coupon"),
                _map("context.campaign.name", "custom_data.campaign"),
                _map(
                    "properties.channel", "action_source",
                    {"mapEnum": {"values": {"web": "website", "mobile": "app"}, "else": "other"}},
                ),
                _map(
                    "properties.products", "custom_data.content_ids",
                    {"pluckValues": {"extractKey": "product_id"}},
                ),
                _map(
                    "properties.products", "custom_data.contents",
                    {"mapItems": {"fields": {
                        "id": "product_id", "item_price": "price", "quantity": "quantity",
                    }}},
                ),
            ]
        }
    },
}  # fmt: skip


def by_hand(event: Tree) -> Tree:
    """Return what the playbook makes of an event."""
    traits = event.get("traits") or {}
    address = traits.get("address") or {}
    context = event.get("context") or {}
    page = context.get("page") or {}
    properties = event.get("properties") or {}
    products = properties.get("products")
    total = properties.get("total")
    out: Tree = {
        "event_id": event.get("messageId"),
        "event_time": _epoch(event.get("timestamp")),
        "event_source_url": page.get("url"),
        "referrer_url": page.get("referrer"),
        "locale": context.get("locale"),
        "action_source": _SOURCES.get(properties.get("channel"), "other"),
        "user_data": _present(
            {
                "em": _sha256(traits.get("email")),
                "fn": _sha256(traits.get("firstName")),
                "ln": _sha256(traits.get("lastName")),
                "ct": _sha256(address.get("city")),
                "st": _sha256(address.get("state")),
                "zp": _sha256(address.get("postalCode")),
                "country": _sha256(address.get("country")),
                "external_id": _sha256(event.get("userId")),
                "client_ip_address": context.get("ip"),
                "client_user_agent": context.get("userAgent"),
            }
        ),
        "custom_data": _present(
            {
                "order_id": properties.get("order_id"),
                "value": None if total is None else float(total),
                "shipping": properties.get("shipping"),
                "tax": properties.get("tax"),
                "currency": (properties.get("currency") or "USD").upper(),
                "coupon": properties.get("coupon"),
                "campaign": (context.get("campaign") or {}).get("name"),
                "content_ids": _ids(products),
                "contents": _contents(products),
            }
        ),
    }
    return _present(out)


_SOURCES = {"web": "website", "mobile": "app"}


def _present(values: Tree) -> Tree:
    return {key: value for key, value in values.items() if value is not None}


def _sha256(value: str | None) -> str | None:
    return hashlib.sha256(value.strip().lower().encode()).hexdigest() if value else None


def _epoch(value: str | None) -> int | None:
    return int(datetime.fromisoformat(value).timestamp()) if value else None


def _ids(products: list[Tree] | None) -> list[Any] | None:
    return None if products is None else [p["product_id"] for p in products if "product_id" in p]


def _contents(products: list[Tree] | None) -> list[Tree] | None:
    if products is None:
        return None
    return [
        _present(
            {
                "id": product.get("product_id"),
                "item_price": product.get("price"),
                "quantity": product.get("quantity"),
            }
        )
        for product in products
    ]


def shaper() -> Callable[[Tree], Tree]:
    """Return the compiled playbook as a function of an event."""
    program = compile_playbook(parse_playbook(PLAYBOOK), {})

    def run(event: Tree) -> Tree:
        return program.shape(event, MOMENT).outputs[0]

    return run


def race(slices: int) -> tuple[float, float]:
    """Return the microseconds an event of the playbook and of the hand-written, in turns."""
    run = shaper()
    if run(EVENT) != by_hand(EVENT):
        raise RuntimeError("the playbook and the hand-written code make different outputs")
    ours = theirs = 0.0
    for _ in range(slices):
        ours += _time(run)
        theirs += _time(by_hand)
    return ours / slices / _SLICE * 1e6, theirs / slices / _SLICE * 1e6


def _time(function: Callable[[Tree], Tree]) -> float:
    begun = time.perf_counter()
    for _ in range(_SLICE):
        function(EVENT)
    return time.perf_counter() - begun


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:  # noqa: ARG001
    """Measure. Nothing is stored or sent, so there is no durability to speak of."""
    slices = max(10, round(plan.seconds * 100))
    race(10)  # warm
    rounds = [race(slices) for _ in range(plan.rounds)]
    ours, theirs = (median([pair[n] for pair in rounds]) for n in (0, 1))
    return [
        Result(
            workload=11,
            title="a playbook of 25 mappings on a 1.5 KB event",
            unit="× the time",
            bound=Bound(2.0, 1.4, is_most=True),
            durability="C/C",
            measured=median([a / b for a, b in rounds]),
            rounds=[a / b for a, b in rounds],
            ours=f"{number(ours)} µs an event",
            yardstick=f"hand-written Python: {number(theirs)} µs",
        )
    ]
