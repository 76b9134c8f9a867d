"""The tracking API against everything: any bytes and any JSON get an answer, and what is accepted
can be shaped, stored and written."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tracking_apps import SNAPSHOT, basic, make_request
from trunkline.kit.protocol import Decoded
from trunkline.kit.times import parse_time_ms
from trunkline.model.event import EVENT_TYPES, encode_event
from trunkline.model.record import Routing, decode_accepted, encode_record
from trunkline.protocols.tracking import TrackingProtocol

PROTOCOL = TrackingProtocol(random.Random(7))
POSTS = [route.path for route in PROTOCOL.routes if route.method == "POST"]
KEYS = ["wk_backend", "wk_phone", "wk_web", "wk_flag", "wk_block", "wk_nobody", ""]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TIMES = JSON | st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.integers()
OBJECTS = st.dictionaries(
    st.sampled_from(["ip", "userAgent", "direct", "traits", "library", "consent"]) | st.text(),
    JSON,
    max_size=4,
)
IDS = st.sampled_from(["u-1", "", None, 5, 5.5]) | JSON
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from([*EVENT_TYPES, "beep", None]), "userId": IDS},
    optional={
        "anonymousId": IDS,
        "messageId": IDS,
        "event": st.sampled_from(["Order Completed", "Seen", "purchase completed"]) | JSON,
        "groupId": IDS,
        "previousId": IDS,
        "name": JSON,
        "category": JSON,
        "timestamp": TIMES,
        "originalTimestamp": TIMES,
        "sentAt": TIMES,
        "properties": OBJECTS,
        "traits": OBJECTS,
        "context": OBJECTS,
        "integrations": OBJECTS,
        "writeKey": st.sampled_from(KEYS) | JSON,
        "app": JSON,
        "source": JSON,
        "receivedAt": JSON,
        "extra": JSON,
    },
)
ENVELOPES = st.fixed_dictionaries(
    {"batch": st.lists(EVENTS | JSON, max_size=4)},
    optional={
        "sentAt": TIMES,
        "context": OBJECTS | JSON,
        "integrations": OBJECTS | JSON,
        "writeKey": st.sampled_from(KEYS) | JSON,
    },
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.sampled_from([basic(key + ":") for key in KEYS]) | st.text(),
        "x-write-key": st.sampled_from(KEYS) | st.text(),
        "origin": st.sampled_from(["https://shop.example", "null"]),
        "prefer": st.just("multi-status"),
        "user-agent": st.text(),
    },
)


def decode(path: str, body: bytes, **more: Any) -> Decoded:
    decoded = PROTOCOL.decode(make_request(PROTOCOL, path, body, **more), SNAPSHOT)
    assert decoded.answer.status in (200, 207, 400, 401, 403, 413)
    assert isinstance(msgspec.json.decode(decoded.answer.body), dict)
    for refused in decoded.refused:
        assert decode_accepted(encode_record(refused)) == refused
        assert len(refused.body) <= 2048
    if decoded.accepted:
        assert decoded.answer.status in (200, 207)
        shape_all(decoded)
    return decoded


def shape_all(decoded: Decoded) -> None:
    for record in decoded.accepted:
        assert decode_accepted(encode_record(record)) == record
        assert record.message_id
        assert record.user
        normalised = PROTOCOL.normalise(record, SNAPSHOT.apps_by_id[record.app])
        event = msgspec.json.decode(encode_event(normalised.event, normalised.extra))
        assert event["messageId"] == record.message_id
        assert event["app"] == record.app
        assert event["source"] == {"protocol": "tracking", "key": record.key}
        assert "writeKey" not in event
        assert None not in event.values()
        assert all(len(event[name]) == 24 for name in ("timestamp", "receivedAt"))
        check_routing(event)


def check_routing(event: dict[str, Any]) -> None:
    """What decides where an event goes is carried as MessagePack, beside the event."""
    context = context_of(event)
    encode_record(Routing(event.get("integrations", {}), {"consent": context.get("consent")}))


def context_of(event: dict[str, Any]) -> dict[str, Any]:
    context = event.get("context", {})
    assert isinstance(context, dict)
    return context


@given(st.sampled_from(POSTS), st.binary(max_size=300), HEADERS)
def test_any_bytes_get_an_answer(path: str, body: bytes, headers: dict[str, str]) -> None:
    decode(path, body, headers=headers)


@given(st.sampled_from(POSTS), JSON)
def test_any_json_gets_an_answer(path: str, body: object) -> None:
    decode(path, msgspec.json.encode(body))


@given(st.sampled_from(POSTS), EVENTS, HEADERS)
def test_any_event_gets_an_answer(path: str, event: object, headers: dict[str, str]) -> None:
    decode(path, msgspec.json.encode(event), headers=headers)


@pytest.mark.slow
@given(ENVELOPES, HEADERS)
def test_each_event_of_a_batch_is_accepted_or_rejected(
    envelope: dict[str, Any], headers: dict[str, str]
) -> None:
    decoded = decode("/v1/batch", msgspec.json.encode(envelope), headers=headers)
    if decoded.answer.status in (200, 207):
        rejected = msgspec.json.decode(decoded.answer.body).get("rejected", [])
        assert len(rejected) + len(decoded.accepted) == len(envelope["batch"])
        indexes = [item["index"] for item in rejected]
        assert indexes == sorted(set(indexes))


@pytest.mark.slow
@given(st.lists(EVENTS, max_size=3), EVENTS)
def test_a_bad_event_never_costs_a_good_one(bad: list[object], event: object) -> None:
    good = {"type": "page", "userId": "u", "messageId": "the good one"}
    decoded = decode("/v1/batch", msgspec.json.encode({"batch": [*bad, good, event]}))
    assert "the good one" in [record.message_id for record in decoded.accepted]


@given(st.binary(max_size=200))
def test_any_bytes_beside_a_good_event_leave_it_accepted_or_the_body_unreadable(
    data: bytes,
) -> None:
    good = b'{"type":"page","userId":"u","messageId":"good"}'
    decoded = decode("/v1/batch", b'{"batch":[' + good + b',{"a":"' + data + b'"}]}')
    kept = [record.message_id for record in decoded.accepted]
    assert kept[:1] == ["good"] or decoded.answer.status == 400


@given(st.text(max_size=300), st.sampled_from([*EVENT_TYPES, "beep"]))
def test_any_query_is_a_pixel(query: str, kind: str) -> None:
    for text in (query, "writeKey=wk_phone&userId=u&event=e&" + query):
        request = make_request(PROTOCOL, f"/v1/pixel/{kind}", method="GET", query=text, headers={})
        decoded = PROTOCOL.decode(request, SNAPSHOT)
        assert decoded.answer.content_type == "image/gif"
        shape_all(decoded)


@given(st.text(max_size=100), st.text(min_size=1, max_size=40))
def test_any_host_and_key_get_a_settings_document_or_an_error(host: str, key: str) -> None:
    for write_key in ("wk_phone", key):
        request = make_request(
            PROTOCOL, "/v1/projects/x/settings", method="GET", headers={"host": host}
        )
        told = msgspec.structs.replace(request, params={"writeKey": write_key})
        answer = PROTOCOL.decode(told, SNAPSHOT).answer
        assert answer.status in (200, 401)
        assert isinstance(msgspec.json.decode(answer.body), dict)


@given(TIMES, TIMES, st.floats(0, 1e6))
def test_no_clock_moves_an_event_further_than_the_limit(
    stamp: object, sent: object, hours: float
) -> None:
    event = {"type": "page", "userId": "u", "timestamp": stamp, "sentAt": sent}
    decoded = decode("/v1/batch", msgspec.json.encode({"batch": [event]}))
    app = msgspec.structs.replace(SNAPSHOT.apps_by_id["shop"], clock_shift_hours_max=hours)
    for record in decoded.accepted:
        shaped = PROTOCOL.normalise(record, app).event
        original, at = parse_time_ms(shaped.original_timestamp), parse_time_ms(shaped.timestamp)
        if original is not None and at is not None:
            assert abs(at - original) <= hours * 3_600_000 + 1
