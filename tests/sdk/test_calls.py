"""What a call makes, and what it refuses at once: through the client that records."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trunkline_sdk import Closed, EventTooLarge, InvalidEvent, InvalidSetting, TestClient, Who

AT = datetime(2026, 11, 20, 13, 45, 30, 250_000, timezone(timedelta(hours=3, minutes=30)))
LIBRARY = {"library": {"name": "trunkline-sdk-python", "version": "0.1.0"}}
DEVICE = "38400000-8cf0-11bd-b23e-10b96e40000d"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient() as client:
        yield client


COMMON: dict[str, Any] = {"timestamp": AT, "message_id": "m-1"}
BESIDE = {"messageId": "m-1", "timestamp": "2026-11-20T10:15:30.250Z", "context": LIBRARY}
GOLDEN: list[tuple[Callable[[TestClient], str], dict[str, Any]]] = [
    (
        lambda c: c.track("u-1", "Paid", {"total": 53.7}, **COMMON),
        {"type": "track", "userId": "u-1", "event": "Paid", "properties": {"total": 53.7}},
    ),
    (
        lambda c: c.track(event="Seen", anonymous_id=7, integrations={"All": False}, **COMMON),
        {"type": "track", "anonymousId": "7", "event": "Seen", "integrations": {"All": False}},
    ),
    (
        lambda c: c.identify(42, {"plan": "gold"}, **COMMON),
        {"type": "identify", "userId": "42", "traits": {"plan": "gold"}},
    ),
    (
        lambda c: c.page("u-1", "Home", {"path": "/"}, category="Shop", **COMMON),
        {"type": "page", "userId": "u-1", "name": "Home", "category": "Shop",
         "properties": {"path": "/"}},
    ),
    (
        lambda c: c.screen("u-1", "Cart", **COMMON),
        {"type": "screen", "userId": "u-1", "name": "Cart"},
    ),
    (
        lambda c: c.group("u-1", "g-9", {"size": 3}, **COMMON),
        {"type": "group", "userId": "u-1", "groupId": "g-9", "traits": {"size": 3}},
    ),
    (
        lambda c: c.alias("anon-1", "u-1", **COMMON),
        {"type": "alias", "userId": "u-1", "previousId": "anon-1"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "event"), GOLDEN)
def test_each_call_makes_the_event_that_the_tracking_api_takes(
    client: TestClient, call: Callable[[TestClient], str], event: dict[str, Any]
) -> None:
    assert call(client) == "m-1"
    assert client.events == [{**event, **BESIDE}]


def test_an_event_without_id_and_time_gets_its_own_once(client: TestClient) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    ids = [client.track("u-1", "Seen") for _ in range(2)]
    assert ids == [event["messageId"] for event in client.events]
    assert len({uuid.UUID(one) for one in ids}) == 2
    assert before <= datetime.fromisoformat(client.events[0]["timestamp"])


def test_s2s_event_golden(client: TestClient) -> None:
    s2s = client.s2s("shopshopshopsho", "dev-key")
    given = s2s.event(
        "taqsq", user_id="u-42", advertising_id=DEVICE, attributes={"plan": "gold"},
        metrics={"items": 2}, revenue=53.7, currency="IRR", order_id="8812", device_ip="10.0.0.1",
        session_id="s-1", timestamp=1_795_169_730_000, message_id="invoice-8812",
    )  # fmt: skip
    assert given == "invoice-8812"
    assert client.events == [
        {
            "metrixUserId": "u-42", "advertisingId": DEVICE, "eventSlug": "taqsq",
            "eventTime": 1_795_169_730_000, "messageId": "invoice-8812",
            "customAttributes": {"plan": "gold", "_currency": "IRR", "_order_id": "8812"},
            "customMetrics": {"items": 2, "_revenue": 53.7},
            "deviceIp": "10.0.0.1", "metrixSessionId": "s-1",
        }
    ]  # fmt: skip
    assert client.named("taqsq") == client.events


def test_rest_messages_golden(client: TestClient) -> None:
    rest = client.rest("shopshopshopsho", "tls_key")
    who = Who("u-1", metrix_user_id="mx-1", device={"device": {"model": "A1"}})
    rest.user(who, {"firstName": "Maryam", "email": None}, timestamp=1, message_id="f-1")
    rest.revenue(who, "taqsq", 53.7, order_id="8812", timestamp=2, message_id="f-2")
    rest.revenue(who, "taqsq", 1, is_confirmed=True, timestamp=3, message_id="f-3")
    rest.action(who, custom_name="cart_opened", attributes={"n": 1}, timestamp=4, message_id="f-4")
    user = {"customUserId": "u-1", "metrixUserId": "mx-1", "metaData": {"device": {"model": "A1"}}}
    assert client.events == [
        {**user, "type": "user", "id": "f-1", "time": 1, "firstName": "Maryam", "email": None},
        {**user, "type": "revenue", "id": "f-2", "time": 2, "name": "taqsq", "revenue": 53.7,
         "orderId": "8812"},
        {**user, "type": "businessEvent", "id": "f-3", "time": 3, "name": "taqsq", "revenue": 1},
        {**user, "type": "action", "id": "f-4", "time": 4, "customName": "cart_opened",
         "attributes": {"n": 1}},
    ]  # fmt: skip


def s2s(client: TestClient, **fields: Any) -> str:
    return client.s2s("app", "key").event(
        **{"slug": "taqsq", "user_id": "u", "idfa": "i", **fields}
    )


INVALID: list[tuple[Callable[[TestClient], object], str]] = [
    (lambda c: c.track("u-1"), "event is ''"),
    (lambda c: c.track(event="Seen"), "names nobody"),
    (lambda c: c.track("", "Seen"), "names nobody"),
    (lambda c: c.track(True, "Seen"), "user_id is True"),
    (lambda c: c.track("u", "Seen", {"n": float("nan")}), "cannot be written as JSON"),
    (lambda c: c.track("u", "Seen", {"n": object()}), "has no form in JSON"),
    (lambda c: c.track("u", "Seen", {"n": Decimal("NaN")}), "no finite number"),
    (lambda c: c.track("u", "Seen", [1]), "properties is a list"),  # type: ignore[arg-type]
    (lambda c: c.track("u", "Seen", timestamp=datetime(2026, 1, 1)), "without a time zone"),
    (lambda c: c.track("u", "Seen", timestamp="now"), "send a datetime"),  # type: ignore[arg-type]
    (lambda c: c.track("u", "Seen", message_id="x" * 101), "101 characters"),
    (lambda c: c.track("u", "Seen", message_id=""), "message_id is ''"),
    (lambda c: c.group("u"), "group_id is None"),
    (lambda c: c.alias("a"), "user_id is None"),
    (lambda c: c.alias(None, "a"), "previous_id is None"),
    (lambda c: s2s(c, idfa=None), "no device id"),
    (lambda c: s2s(c, oaid="o"), "idfa and oaid"),
    (lambda c: s2s(c, attributes={"a": 1}), "numbers go into metrics"),
    (lambda c: s2s(c, metrics={"a": True}), "send a finite number"),
    (lambda c: s2s(c, metrics={str(n): n for n in range(51)}), "at most 50"),
    (lambda c: s2s(c, attributes={"a" * 513: "b"}), "513 bytes"),
    (lambda c: s2s(c, device_ip="here"), "IPv4 or IPv6"),
    (lambda c: Who(), "names nobody"),
    (lambda c: c.rest("a", "k").user(Who("u"), {"phone": "1"}), "phone; the names"),  # type: ignore[typeddict-unknown-key]
    (lambda c: c.rest("a", "k").action(Who("u")), "either name"),
    (lambda c: c.rest("a", "k").action(Who("u"), "x", custom_name="y"), "either name"),
]


@pytest.mark.parametrize(("call", "sentence"), INVALID)
def test_what_a_node_would_refuse_is_said_at_the_call(
    client: TestClient, call: Callable[[TestClient], object], sentence: str
) -> None:
    with pytest.raises(InvalidEvent, match=sentence):
        call(client)
    assert client.events == []


def test_an_event_is_refused_at_the_byte_after_32_kib(client: TestClient) -> None:
    def size(filling: int) -> int:
        client.track("u", "Seen", {"x": "ب" * filling}, message_id="m")
        return len(
            json.dumps(client.events[-1], ensure_ascii=False, separators=(",", ":")).encode()
        )

    room = (32_768 - size(0)) // 2
    assert 32_766 <= size(room) <= 32_768
    with pytest.raises(EventTooLarge, match=r"at most 32,768"):
        client.track("u", "Seen", {"x": "ب" * (room + 1)}, message_id="m")


def test_values_of_python_get_one_form_each(client: TestClient) -> None:
    one = uuid.UUID(int=1)
    given = {"d": date(2026, 1, 2), "m": AT, "n": Decimal("3.50"), "i": Decimal(3), "u": one,
             "s": {1}, "half": "\ud83d!"}  # fmt: skip
    client.track("u", "Seen", given)
    assert client.events[0]["properties"] == {
        "d": "2026-01-02", "m": "2026-11-20T10:15:30.250Z", "n": 3.5, "i": 3, "u": str(one),
        "s": [1], "half": "\ufffd!",
    }  # fmt: skip


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
    max_size=3), max_leaves=8,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=5))
def test_any_json_is_carried_unchanged(properties: dict[str, Any]) -> None:
    with TestClient() as client:
        client.track("u", "Seen", properties)
        assert client.events[0]["properties"] == properties


def test_the_recording_client_waits_and_says_what_came_instead(client: TestClient) -> None:
    client.track("u", "Seen")
    assert client.wait_for(lambda event: event["event"] == "Seen") == client.events
    with pytest.raises(TimeoutError, match=r"0 of 1 events came.*Seen"):
        client.wait_for(lambda event: event["event"] == "Bought", timeout=0.01)
    client.clear()
    assert client.events == [] and client.flush()
    client.close()
    with pytest.raises(Closed):
        client.track("u", "Seen")


def test_a_batch_is_taken_whole_or_not_at_all(client: TestClient) -> None:
    with client.batch() as batch:
        batch.track("u", "One")
        batch.s2s("app", "key").event("taqsq", user_id="u", idfa="i")
        assert client.events == []
    assert len(client.events) == 2
    with pytest.raises(InvalidEvent), client.batch() as batch:
        batch.track("u", "Three")
        batch.track("u", "")
    assert len(client.events) == 2


def test_a_key_with_a_line_break_is_refused_with_a_way_out(client: TestClient) -> None:
    with pytest.raises(InvalidSetting, match="dev_key must be text of visible ASCII"):
        client.s2s("app", "key\n")
