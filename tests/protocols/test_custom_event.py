"""Custom events beside their golden cases: what is stored, limits, any bytes."""

from __future__ import annotations

import random
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tracking_apps import ADDRESS, SNAPSHOT, basic, make_request
from trunkline.kit.custom_shape import METADATA_BYTES_MAX
from trunkline.kit.protocol import Decoded, Failure
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX
from trunkline.model.event import JsonObject, encode_event
from trunkline.model.record import decode_accepted, encode_record
from trunkline.protocols.custom_event import CustomEventProtocol

PROTOCOL = CustomEventProtocol(random.Random(7))
PATH = "/v1/custom/event"
METADATA = {"writeKey": "wk_phone", "eventName": "Order Paid", "eventID": "e-1", "userID": "u-42"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from([*METADATA, "timestamp", "anonymousID", "ip"]), JSON)


def send(body: object, query: str = "", **headers: str) -> Decoded:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_request(PROTOCOL, PATH, data, query=query, headers=named)
    return PROTOCOL.decode(request, SNAPSHOT)


def events_of(decoded: Decoded) -> list[Any]:
    shaped = [PROTOCOL.normalise(r, SNAPSHOT.apps_by_id[r.app]) for r in decoded.accepted]
    return [msgspec.json.decode(encode_event(one.event, one.extra)) for one in shaped]


def test_what_is_stored_is_the_body_as_it_came_without_the_key() -> None:
    [record] = send({"a": 1, "_metarouter": METADATA}).accepted
    assert msgspec.json.decode(record.body) == {
        "a": 1,
        "_metarouter": {"eventName": "Order Paid", "eventID": "e-1", "userID": "u-42"},
    }
    assert b"writeKey" not in record.body + record.envelope
    assert (record.protocol, record.type, record.message_id) == ("custom_event", "track", "e-1")
    assert (record.user, record.key, record.is_client) == ("u:u-42", "phone", True)
    untouched = b'{ "a" : 1.0 }'
    [record] = send(untouched, urlencode(METADATA)).accepted
    assert record.body == untouched


@pytest.mark.parametrize("place", ["body", "header", "query"])
def test_the_three_places_give_one_event(place: str) -> None:
    beside = {**METADATA, "timestamp": "2026-11-20T10:15:30Z", "ip": "198.51.100.7"}
    body = {"a": {"b": [1, None]}}
    sent = {
        "body": lambda: send({**body, "_metarouter": beside}),
        "header": lambda: send(body, x_event_metadata=msgspec.json.encode(beside).decode()),
        "query": lambda: send(body, urlencode(beside)),
    }[place]()
    [event] = events_of(sent)
    assert event["properties"] == body
    assert (event["event"], event["userId"], event["messageId"]) == ("Order Paid", "u-42", "e-1")
    assert event["timestamp"] == "2026-11-20T10:15:30.000Z"
    assert event["context"]["ip"] == "198.51.100.7"


@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_metadata_are_absent(empty: str | None) -> None:
    given = {**METADATA, "timestamp": empty, "anonymousID": empty, "eventID": empty, "ip": empty}
    [event] = events_of(send({"_metarouter": given}))
    assert event["context"]["ip"] == ADDRESS
    assert len(event["messageId"]) == 36
    assert "anonymousId" not in event


def test_a_refusal_is_kept_for_its_owner_without_the_key() -> None:
    decoded = send({"_metarouter": {**METADATA, "eventName": " "}, "password": "hidden"})
    [refused] = decoded.refused
    assert (refused.app, refused.key, refused.protocol) == ("shop", "phone", "custom_event")
    assert (refused.code, refused.message_id) == ("missing_event_name", "e-1")
    assert b"wk_phone" not in refused.body
    assert b"hidden" not in refused.body


def test_a_refusal_without_a_known_key_is_nobodys() -> None:
    decoded = send({"_metarouter": {**METADATA, "writeKey": "wk_nobody"}})
    assert (decoded.answer.status, decoded.accepted, decoded.refused) == (401, [], [])


def test_a_body_may_have_32768_bytes() -> None:
    fits, over = (b'"' + b"x" * (size - 2) + b'"' for size in (32_768, 32_769))
    assert len(fits) == EVENT_BYTES_MAX
    assert send(fits, urlencode(METADATA)).answer.status == 200
    decoded = send(over, urlencode(METADATA))
    assert decoded.answer.status == 413
    assert [(one.code, one.key) for one in decoded.refused] == [("too_large", "phone")]
    assert len(decoded.refused[0].body) <= 2048


def test_metadata_are_bounded_for_they_are_stored_beside_the_event() -> None:
    room = METADATA_BYTES_MAX - len('{"eventName":"","userID":"u"}')
    for size, status in ((room, 200), (room + 1, 413)):
        given = {"writeKey": "wk_phone", "userID": "u", "eventName": "x" * size}
        assert send({"_metarouter": given}).answer.status == status


def test_a_flood_of_brackets_is_refused() -> None:
    assert send(b"[" * 30_000, urlencode(METADATA)).answer.status == 400
    assert send(b"{}", x_event_metadata="[" * 30_000, x_write_key="wk_phone").answer.status == 400


def test_shaping_twice_gives_the_same_bytes() -> None:
    [record] = send({"_metarouter": METADATA, "n": 10**30, "f": 1.0}).accepted
    shaped = [PROTOCOL.normalise(record, app) for app in (None, SNAPSHOT.apps_by_id["shop"])]
    assert len({encode_event(one.event, one.extra) for one in shaped}) == 1


def test_a_failure_is_told_with_every_field() -> None:
    answer = PROTOCOL.failure(PATH, Failure("rate_limited", 429, "too fast", 7))
    assert (answer.status, dict(answer.headers)) == (429, {"Retry-After": "7"})
    assert msgspec.json.decode(answer.body)["code"] == "rate_limited"


def check(decoded: Decoded) -> None:
    assert decoded.answer.status in (200, 400, 401, 403, 413)
    assert isinstance(msgspec.json.decode(decoded.answer.body), dict)
    assert len(decoded.accepted) == (1 if decoded.answer.status == 200 else 0)
    for record in (*decoded.accepted, *decoded.refused):
        assert decode_accepted(encode_record(record)) == record
    for event in events_of(decoded):
        assert event["type"] == "track"
        assert "writeKey" not in event
        assert isinstance(event["properties"], dict)


@given(st.binary(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_any_bytes_get_an_answer(body: bytes, query: str, header: str) -> None:
    for more in ("", "&" + urlencode(METADATA)):
        check(send(body, query + more, x_event_metadata=header))
        check(send(body, query + more))


@given(JSON, FIELDS, FIELDS, FIELDS)
def test_any_json_with_any_metadata_gets_an_answer(
    body: object, inside: dict[str, Any], header: dict[str, Any], query: dict[str, Any]
) -> None:
    whole = {**cast("JsonObject", body), "_metarouter": inside} if isinstance(body, dict) else body
    text = msgspec.json.encode(header).decode()
    authorization = basic("wk_backend:")
    check(send(whole, urlencode(query), x_event_metadata=text, authorization=authorization))


@given(JSON)
def test_any_json_is_an_event_and_nothing_of_it_is_lost(body: object) -> None:
    [event] = events_of(send(body, urlencode(METADATA)))
    if isinstance(body, dict):
        fields = cast("JsonObject", body).items()
        kept = {k: v for k, v in fields if k not in ("writeKey", "_metarouter")}
        assert event["properties"] == msgspec.json.decode(msgspec.json.encode(kept))
    else:
        assert event["properties"] == {"body": msgspec.json.decode(msgspec.json.encode(body))}
