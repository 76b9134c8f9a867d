"""Events as senders get them wrong, by every shipped kit to its vendor's simulator.

What a vendor would refuse, or take and drop without a word, is to be found by the kit's own rules
before it is sent. `TOLERATED` has what no rule can know, with the reason.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from tests.vendors.stage import Stage, driven
from trunkline.kit.times import format_ms
from trunkline.kits.fixtures import fixture_now
from trunkline.model.outcome import Blocked, Rejected, Retry

GONE: Any = object()
HASH = "BB55843F3DA2AF28071CD4BE7AE1E05989DC6D3EA4833906F7D8FE4BE35AFAD8"
HOUR = 3600
Change = Mapping[str, Any]  # dotted path → value; a timestamp is seconds from now, or a text

# What senders get wrong every day.
COMMON: Mapping[str, Change] = {
    "Toman": {"properties.currency": "IRT"},
    "a negative amount": {"properties.revenue": -5},
    "an address that is a hash": {"context.traits.email": HASH, "properties.email": HASH},
    "a clock of 1960": {"timestamp": "1960-01-01T00:00:00.000Z"},
    "products without ids": {
        "properties.products": [
            {"price": 1.5, "quantity": 2},
            {"product_id": "p", "price": 1},
            {"name": "Mug"},
        ]
    },
}
RARE: Mapping[str, Change] = {
    "a long name": {"event": "N" * 300},
    "a Persian name": {"event": "خرید موفق"},
    "a name with signs": {"event": 'a b/c?d#e%f"g'},
    "a name of two lines": {"event": "a\nb"},
    "a name of the vendor's": {"event": "session_start"},
    "keys of the vendor's": {
        "event": "Level Passed",
        **{f"properties.{key}": 1 for key in ("ga_x", "firebase_x", "google_x", "_x", "k" * 80)},
        "properties.push.data": {"gcm.x": "1", "google_x": "2", "from": "3"},
    },
    "a negative amount of one's own": {"event": "Level Passed", "properties.revenue": -5},
    "an amount of words": {"properties.revenue": "abc"},
    "an amount as a text": {"properties.revenue": "29.90"},
    "a vast amount": {"properties.revenue": 1e15},
    "a tiny amount": {"properties.revenue": 1e-7},
    "no amount": {"properties.revenue": 0},
    "true as an amount": {"properties.revenue": True},
    "an object as an amount": {"properties.revenue": {"a": 1}},
    "a small currency": {"properties.currency": "usd"},
    "a word as a currency": {"properties.currency": "toman"},
    "no currency": {"properties.currency": GONE},
    "a number as a currency": {"properties.currency": 5},
    "no address": {"context.traits.email": "not an address", "properties.email": "neither"},
    "a short phone": {"context.traits.phone": "123", "traits.phone": "123"},
    "IPv6": {"context.ip": "2001:db8::1"},
    "no IP": {"context.ip": "nope"},
    "no user": {"userId": GONE},
    "nobody": {"userId": GONE, "anonymousId": GONE},
    "a long user": {"userId": "u" * 400},
    "null as a user": {"userId": "null"},
    "a Persian user": {"userId": "کاربر ۱"},
    "a path as a user": {"userId": "../a?b#c"},
    "dots as a user": {"userId": ".."},
    "no order": {"properties.order_id": GONE},
    "a number as an order": {"properties.order_id": 1001},
    "no products": {"properties.products": []},
    "300 products": {
        "properties.products": [
            {"product_id": f"p{n}", "price": 1.5, "quantity": 2, "name": "Mug"} for n in range(300)
        ]
    },
    "words as prices": {
        "properties.products": [{"product_id": "p", "price": "abc", "quantity": "two"}]
    },
    "products of which none has an id": {"properties.products": [{"price": 1.5, "quantity": 2}]},
    "texts as products": {"properties.products": ["a", "b"]},
    "an object as products": {"properties.products": {"a": 1}},
    "a long text": {"properties.note": "x" * 3000},
    "300 properties": {f"properties.k{n}": n for n in range(300)},
    "a long key": {f"properties.{'k' * 80}": 1},
    "deep properties": {"properties.a": {"b": {"c": {"d": {"e": 1}}}}},
    "a long list": {"properties.l": [*range(400)]},
    "60 kB": {"properties.note": "y" * 60_000},
    "no properties": {"properties": GONE},
    "no device": {"context.device": GONE},
    "no advertising id": {"context.device.advertisingId": "00000000-0000-0000-0000-000000000000"},
    "another advertising id": {"context.device.advertisingId": "not-a-uuid"},
    "another device": {"context.device.type": "desktop"},
    "no system": {"context.os": GONE},
    "no app": {"context.app": GONE},
    "no page": {"context.page": GONE},
    "no URL": {"context.page.url": "not a url"},
    "in four minutes": {"timestamp": 4 * 60},
    "in two hours": {"timestamp": 2 * HOUR},
    "in three days": {"timestamp": 72 * HOUR},
    "of yesterday": {"timestamp": -20 * HOUR},
    "of last week": {"timestamp": -144 * HOUR},
    "of last month": {"timestamp": -720 * HOUR},
    "a person": {"type": "identify", "event": GONE, "traits": {"email": "a@example.com", "age": 5}},
    "a page": {"type": "page", "event": GONE, "name": "Home"},
    "a screen": {"type": "screen", "event": GONE, "name": "Home"},
    "a group": {"type": "group", "event": GONE, "groupId": "g-1", "traits": {"name": "x"}},
    "an alias": {"type": "alias", "event": GONE, "previousId": "a-0"},
    "a refund": {"event": "Order Refunded"},
    "a long id": {"messageId": "m" * 100},
    "a Persian id": {"messageId": "پیام-1"},
}
TOLERATED = {
    ("reddit", "an address that is a hash"): "nobody sees how it was written before",
    ("tiktok", "no page"): "a page is only recommended",
    ("singular", "a long name"): "the limit is not published for certain",
    ("airbridge", "no IP"): "it is recorded from the sender's address, which a note tells",
}


@pytest.fixture(scope="module", params=driven())
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("said", COMMON)
def test_a_common_mistake_never_reaches_the_vendor(stage: Stage, said: str) -> None:
    check(stage, said, COMMON[said])


@pytest.mark.slow
def test_a_rare_mistake_never_reaches_the_vendor(stage: Stage) -> None:
    for said, change in RARE.items():
        check(stage, said, change)


def check(stage: Stage, said: str, change: Change) -> None:
    fixture = stage.sending_fixtures[0]
    now_ms = fixture_now(fixture)
    event = changed(fixture.events[0], change, now_ms)
    story = stage.deliver(msgspec.structs.replace(fixture, events=(event,), now_ms=now_ms))
    if (stage.name, said) in TOLERATED:
        return
    for outcome in story.final:
        assert not isinstance(outcome, Blocked | Retry), (said, outcome)
        if isinstance(outcome, Rejected):
            assert stage.vendor.seen == [], (said, outcome)
    assert stage.vendor.simulator.complaints == [], said


def changed(event: Mapping[str, Any], change: Change, now_ms: int) -> dict[str, Any]:
    """Return an event with something else at each of the paths."""
    made: dict[str, Any] = copy.deepcopy(dict(event))
    for path, value in change.items():
        is_shift = path == "timestamp" and isinstance(value, int)
        put(made, path.split("."), format_ms(now_ms + value * 1000) if is_shift else value)
    return made


def put(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    for part in parts[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    if value is GONE:
        tree.pop(parts[-1], None)
    else:
        tree[parts[-1]] = value
