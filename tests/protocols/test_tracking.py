"""The tracking API beside its golden cases: records, limits, raw bytes, failures."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from tests.support.tracking_apps import (
    ADDRESS,
    RECEIVED_MS,
    SNAPSHOT,
    basic,
    make_app,
    make_key,
    make_request,
)
from trunkline.kit.batch_body import ENVELOPE_BYTES_MAX
from trunkline.kit.protocol import Decoded, Failure
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX, EVENTS_MAX
from trunkline.model.event import encode_event
from trunkline.model.record import AcceptedEvent, decode_accepted, encode_record
from trunkline.model.snapshot import Plan, Snapshot
from trunkline.protocols.tracking import TrackingProtocol

PROTOCOL = TrackingProtocol(random.Random(7))
EVENT = {"type": "page", "userId": "u-42", "messageId": "m-1"}


def send(path: str, body: object, **more: Any) -> Decoded:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return PROTOCOL.decode(make_request(PROTOCOL, path, data, **more), SNAPSHOT)


def send_batch(*events: object, **envelope: Any) -> Decoded:
    return send("/v1/batch", {"batch": events, **envelope})


def answer_of(decoded: Decoded) -> Any:
    return msgspec.json.decode(decoded.answer.body)


def codes_of(decoded: Decoded) -> list[str]:
    return [item["code"] for item in answer_of(decoded)["rejected"]]


def page_of(size: int) -> bytes:
    head = b'{"type":"page","userId":"u","messageId":"m","name":"'
    return head + b"x" * (size - len(head) - 2) + b'"}'


def test_a_record_holds_what_the_pipeline_needs() -> None:
    body = b'{ "type":"page","userId": 42,"messageId":"m-1" }'
    batch = b'{"sentAt":"2026-11-20T10:15:31Z","batch":[' + body + b'],"context":{"a":1}}'
    headers = {"authorization": basic("wk_phone:"), "user-agent": "App/1"}
    [record] = send("/v1/batch", batch, headers=headers).accepted
    assert record == AcceptedEvent(
        app="shop",
        message_id="m-1",
        user="u:42",
        protocol="tracking",
        type="page",
        key="phone",
        is_client=True,
        snapshot=7,
        received_ms=RECEIVED_MS,
        address=ADDRESS,
        user_agent="App/1",
        request_id="request-1",
        envelope=b'{"sentAt":"2026-11-20T10:15:31Z","context":{"a":1}}',
        body=body,
    )


def test_an_event_without_a_user_id_is_ordered_by_its_anonymous_id() -> None:
    [record] = send("/v1/page", {"anonymousId": "a-1", "userId": None}).accepted
    assert record.user == "a:a-1"


def test_a_batch_without_an_envelope_stores_none() -> None:
    [record] = send_batch(EVENT, sentAt=None, context={}, integrations=[]).accepted
    assert record.envelope in (b"", b'{"context":{}}')
    assert record.notes == ()


@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"page","userId":"u","writeKey" : "wk_phone","properties":{"writeKey":"wk_x"}}',
        b'{"type":"page","userId":"u","write\\u004bey":"wk_phone"}',
        b'{"type":"page","userId":"u","writeKey":"wk\\u005fphone"}',
    ],
)
def test_a_write_key_is_not_stored_with_its_event(event: bytes) -> None:
    [record] = send("/v1/batch", b'{"batch":[' + event + b"]}", headers={}).accepted
    assert record.key == "phone"
    assert b"wk_" not in record.body
    assert b"005f" not in record.body
    normalised = PROTOCOL.normalise(record, SNAPSHOT.apps_by_id["shop"])
    assert not normalised.extra


def test_a_write_key_is_not_stored_with_a_refusal() -> None:
    decoded = send("/v1/page", {"writeKey": "wk_phone", "name": "x"}, headers={})
    [refused] = decoded.refused
    assert refused.code == "no_user_anon_id"
    assert b"wk_phone" not in refused.body
    assert b'"name":"x"' in refused.body


def test_a_refusal_tells_its_owner_what_and_why() -> None:
    decoded = send_batch(EVENT, {"type": "track", "userId": "u", "messageId": "m-2"})
    [refused] = decoded.refused
    assert (refused.app, refused.key, refused.protocol) == ("shop", "backend", "tracking")
    assert (refused.code, refused.message_id, refused.count) == ("missing_event_name", "m-2", 1)
    assert (refused.snapshot, refused.received_ms) == (7, RECEIVED_MS)
    assert (refused.address, refused.request_id) == (ADDRESS, "request-1")
    assert msgspec.json.decode(refused.body)["type"] == "track"
    assert len(decoded.accepted) == 1


def test_an_event_with_an_unknown_key_belongs_to_nobody() -> None:
    decoded = send("/v1/batch", {"batch": [EVENT]}, headers={"x-write-key": "wk_nobody"})
    assert decoded.answer.status == 401
    assert not decoded.refused


def test_an_unreadable_event_is_known_by_the_key_it_carries() -> None:
    event = b'{"type":"page","writeKey":"wk_phone","messageId":"m-9","n":1e999}'
    decoded = send("/v1/batch", b'{"batch":[' + event + b"]}", headers={})
    [refused] = decoded.refused
    assert (refused.key, refused.code) == ("phone", "invalid_number")
    assert refused.message_id == "m-9"
    assert decoded.answer.status == 200


def test_a_key_that_may_not_be_used_here_refuses_all_events_as_one() -> None:
    headers = {"authorization": basic("wk_backend:"), "origin": "https://shop.example"}
    decoded = send("/v1/batch", {"batch": [EVENT, EVENT, EVENT]}, headers=headers)
    assert decoded.answer.status == 403
    [refused] = decoded.refused
    assert (refused.code, refused.count) == ("server_key_in_browser", 3)


def test_one_usable_key_makes_a_mixed_batch_a_good_one() -> None:
    events = [{**EVENT, "writeKey": "wk_backend"}, {**EVENT, "writeKey": "wk_phone"}]
    headers = {"sec-fetch-site": "cross-site"}
    decoded = send("/v1/batch", {"batch": events}, headers=headers)
    assert decoded.answer.status == 200
    assert codes_of(decoded) == ["server_key_in_browser"]
    assert [record.key for record in decoded.accepted] == ["phone"]


def test_an_address_that_is_none_is_in_no_range() -> None:
    headers = {"authorization": basic("wk_fenced:")}
    decoded = send("/v1/page", EVENT, headers=headers, address="")
    assert answer_of(decoded)["code"] == "address_not_allowed"


@pytest.mark.parametrize("address", ["198.51.100.200", "::ffff:198.51.100.1", "2001:db8:1::5"])
def test_an_allowed_address_passes_in_every_notation(address: str) -> None:
    headers = {"authorization": basic("wk_fenced:")}
    assert send("/v1/page", EVENT, headers=headers, address=address).answer.status == 200


def test_an_event_may_have_32768_bytes_as_sent() -> None:
    fits, over = page_of(EVENT_BYTES_MAX), page_of(EVENT_BYTES_MAX + 1)
    assert (len(fits), len(over)) == (32_768, 32_769)
    decoded = send("/v1/batch", b'{"batch":[' + fits + b"," + over + b"]}")
    assert len(decoded.accepted) == 1
    assert codes_of(decoded) == ["too_large"]
    assert len(decoded.refused[0].body) <= 2048
    assert send("/v1/page", fits).answer.status == 200
    single = send("/v1/page", over)
    assert (single.answer.status, answer_of(single)["code"]) == (413, "too_large")


def test_an_event_that_is_too_large_is_known_by_the_key_it_carries() -> None:
    tail = b',"writeKey":"wk_phone","messageId":"m-9"}'
    event = page_of(EVENT_BYTES_MAX)[:-1] + tail
    decoded = send("/v1/batch", b'{"batch":[' + event + b"]}", headers={})
    [refused] = decoded.refused
    assert (refused.key, refused.code) == ("phone", "too_large")
    assert b"wk_phone" not in refused.body


@pytest.mark.parametrize("kind", ["[", '"\\ud83d', "NaN,", '"a":'])
def test_a_large_unreadable_batch_is_refused_in_the_fast_decoders_words(kind: str) -> None:
    body = b'{"batch":[' + kind.encode() * (600_000 // len(kind)) + b"NaN"
    decoded = send("/v1/batch", body)
    assert answer_of(decoded)["code"] in ("malformed_json", "too_deep")
    assert len(decoded.refused[0].body) <= 2048


def test_a_batch_may_hold_2500_events() -> None:
    assert len(send_batch(*[EVENT] * EVENTS_MAX).accepted) == 2500
    decoded = send_batch(*[EVENT] * (EVENTS_MAX + 1))
    assert (decoded.answer.status, answer_of(decoded)["code"]) == (413, "too_many_events")
    assert [refused.count for refused in decoded.refused] == [2501]


def test_what_stands_beside_a_batch_is_bounded_for_it_is_stored_with_each_event() -> None:
    room = ENVELOPE_BYTES_MAX - len('{"context":{"a":""}}')
    assert send_batch(EVENT, context={"a": "x" * room}).answer.status == 200
    decoded = send_batch(EVENT, context={"a": "x" * (room + 1)})
    assert (decoded.answer.status, answer_of(decoded)["code"]) == (413, "too_large")


def test_a_large_refused_batch_keeps_a_bounded_part_of_itself() -> None:
    decoded = send_batch(*[{"type": "page", "n": index} for index in range(EVENTS_MAX)])
    assert len(codes_of(decoded)) == len(decoded.refused) == EVENTS_MAX
    assert sum(1 for refused in decoded.refused if refused.body) == 100


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf%s",
        b" \r\n\t%s ",
    ],
)
def test_a_byte_order_mark_and_white_space_are_skipped(text: bytes) -> None:
    body = msgspec.json.encode({"batch": [EVENT]})
    assert len(send("/v1/batch", text % body).accepted) == 1
    assert len(send("/v1/page", text % msgspec.json.encode(EVENT)).accepted) == 1


def test_a_surrogate_as_raw_bytes_costs_nothing() -> None:
    event = b'{"type":"page","userId":"u","messageId":"m","name":"a\xed\xa0\xbd"}'
    [record] = send("/v1/batch", b'{"batch":[' + event + b"]}").accepted
    assert PROTOCOL.normalise(record, None).event.name == "a\ufffd"


def test_other_bytes_that_are_no_utf8_cost_their_event_only() -> None:
    bad = b'{"type":"page","userId":"u","messageId":"m","name":"\xff"}'
    decoded = send("/v1/batch", b'{"batch":[' + bad + b"," + msgspec.json.encode(EVENT) + b"]}")
    assert codes_of(decoded) == ["malformed_json"]
    assert len(decoded.accepted) == 1


def test_a_byte_order_mark_and_a_wild_number_cost_one_event() -> None:
    body = b'\xef\xbb\xbf{"batch":[{"type":"page","userId":"u","n":1e999},%s]}'
    decoded = send("/v1/batch", body % msgspec.json.encode(EVENT))
    assert codes_of(decoded) == ["invalid_number"]
    assert len(decoded.accepted) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\uDE00\uD83D", "\ufffd\ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (r"\u00e9\ud83dx NaN", "\u00e9\ufffdx NaN"),
    ],
)
def test_half_a_pair_is_mended_where_it_stands_and_nothing_else_is(
    text: str, expected: str
) -> None:
    event = f'{{"type":"page","userId":"u","messageId":"m","n":1.0,"name":"{text}"}}'
    beside = '{"type":"page","userId":"u","messageId":"n","n":NaN}'
    decoded = send("/v1/batch", f'{{"batch":[{event},{beside}]}}'.encode())
    [record] = decoded.accepted
    assert PROTOCOL.normalise(record, None).event.name == expected
    assert b'"n":1.0' in record.body
    assert codes_of(decoded) == ["invalid_number"]


def test_an_integer_of_400_digits_is_outside_a_double() -> None:
    body = b'{"batch":[{"type":"page","userId":"u","n":%s},%s]}'
    decoded = send("/v1/batch", body % (b"1" * 400, msgspec.json.encode(EVENT)))
    assert codes_of(decoded) == ["invalid_number"]
    assert len(decoded.accepted) == 1


def test_an_unreadable_context_beside_a_batch_costs_no_event() -> None:
    body = b'{"batch":[%s],"context":{"n":1e999}}' % msgspec.json.encode(EVENT)
    [record] = send("/v1/batch", body).accepted
    assert record.envelope == b""
    assert record.notes == ("context of the batch could not be read and was left out",)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track", "/v1/m"])
@pytest.mark.parametrize("opener", [b"[", b'{"batch":', b'{"batch":[', b'{"a":', b'{"series":['])
def test_a_flood_of_brackets_is_an_answer_like_any_other(path: str, opener: bytes) -> None:
    decoded = send(path, opener * 300_000)
    assert decoded.answer.status in (200, 400, 413)
    assert not decoded.accepted


def test_ids_that_are_given_do_not_repeat_and_can_be_foretold() -> None:
    request = make_request(
        PROTOCOL,
        "/v1/batch",
        b'{"batch":[%s]}' % b",".join([b'{"type":"page","userId":"u"}'] * 500),
    )
    seeded = [TrackingProtocol(random.Random(3)).decode(request, SNAPSHOT) for _ in range(2)]
    first, second = ([record.message_id for record in d.accepted] for d in seeded)
    assert first == second
    assert len(set(first)) == 500
    unseeded = [r.message_id for r in TrackingProtocol().decode(request, SNAPSHOT).accepted]
    assert not set(first) & set(unseeded)


def test_a_good_answer_is_exactly_these_bytes() -> None:
    for decoded in (send("/v1/page", EVENT), send_batch(EVENT), send("/v1/m", b"x")):
        assert decoded.answer.status == 200
        assert decoded.answer.body == b'{"success":true}'
        assert decoded.answer.content_type == "application/json"


def test_a_pixel_stores_its_event_and_answers_an_image() -> None:
    query = "writeKey=wk_phone&userId=u&event=Opened"
    request = make_request(
        PROTOCOL, "/v1/pixel/track", method="GET", query=query, headers={"user-agent": "Mail/1"}
    )
    decoded = PROTOCOL.decode(request, SNAPSHOT)
    assert decoded.answer.body.startswith(b"GIF89a")
    assert decoded.answer.content_type == "image/gif"
    [record] = decoded.accepted
    assert (record.type, record.user, record.user_agent) == ("track", "u:u", "Mail/1")


def test_a_pixel_of_too_many_fields_is_refused_quietly() -> None:
    query = "writeKey=wk_phone&userId=u&" + "&".join(f"f{i}=1" for i in range(1001))
    request = make_request(PROTOCOL, "/v1/pixel/page", method="GET", query=query, headers={})
    decoded = PROTOCOL.decode(request, SNAPSHOT)
    assert decoded.answer.status == 200
    assert not decoded.accepted


@pytest.mark.parametrize("seconds", [None, 0, 7])
def test_a_failure_is_told_in_the_same_shape_with_whole_seconds(seconds: int | None) -> None:
    answer = PROTOCOL.failure("/v1/batch", Failure("rate_limited", 429, "too fast", seconds))
    body = msgspec.json.decode(answer.body)
    assert answer.status == 429
    assert body["code"] == body["error"]["code"] == "rate_limited"
    assert body["message"] == body["Message"] == "too fast"
    assert body["Error"] == "Too Many Requests"
    told = dict(answer.headers).get("Retry-After")
    assert told == (None if seconds is None else str(seconds))


def test_a_pixel_is_an_image_also_when_the_node_cannot_take_it() -> None:
    answer = PROTOCOL.failure("/v1/pixel/track", Failure("unavailable", 503, "disk full", 5))
    assert (answer.status, answer.content_type) == (200, "image/gif")
    wrong = PROTOCOL.failure("/v1/pixel/track", Failure("method_not_allowed", 405, "GET only"))
    assert wrong.status == 405


def test_a_status_without_a_name_is_still_an_answer() -> None:
    assert PROTOCOL.failure("/v1/batch", Failure("internal", 599, "odd")).status == 599


def test_an_event_of_an_app_that_was_removed_can_still_be_shaped() -> None:
    [record] = send_batch(EVENT).accepted
    assert PROTOCOL.normalise(record, None).event.user_id == "u-42"


def test_shaping_an_event_twice_gives_the_same_bytes() -> None:
    context = {"library": {"name": "x"}, "device": {"a": {"b": 1}}}
    events = [{**EVENT, "context": {"direct": True, "device": {"a": {"c": 2}}}}] * 2
    decoded = send_batch(*events, context=context, sentAt="2026-11-20T10:15:31Z")
    app = SNAPSHOT.apps_by_id["shop"]
    shaped = [PROTOCOL.normalise(r, app) for r in (*decoded.accepted, *decoded.accepted)]
    assert len({encode_event(n.event, n.extra) for n in shaped}) == 1
    assert shaped[0].event.context is not msgspec.UNSET
    assert shaped[0].event.context["device"] == {"a": {"b": 1, "c": 2}}


def test_what_the_acceptance_noted_is_said_once() -> None:
    assert send_batch({**EVENT, "type": "track", "event": "New"}).accepted[0].notes == ()
    flagged = {"authorization": basic("wk_flag:")}
    [record] = send("/v1/track", {**EVENT, "event": "New"}, headers=flagged).accepted
    assert record.notes == ("not in the tracking plan",)
    assert PROTOCOL.normalise(record, None).notes == ()


@pytest.mark.parametrize(("hours", "is_moved"), [(1.0, True), (0.99, False), (0.0, False)])
def test_the_clock_is_corrected_up_to_the_apps_limit(hours: float, is_moved: bool) -> None:
    sent = "2026-11-20T09:15:31.200Z"  # an hour before it was received
    [record] = send_batch({**EVENT, "timestamp": "2026-11-20T09:00:00Z"}, sentAt=sent).accepted
    app = make_app("shop", make_key("backend", "k"), clock_shift_hours_max=hours)
    normalised = PROTOCOL.normalise(record, app)
    moved = "2026-11-20T10:00:00.000Z" if is_moved else "2026-11-20T09:00:00.000Z"
    assert normalised.event.timestamp == moved
    assert bool(normalised.notes) is not is_moved


def test_records_survive_the_log() -> None:
    decoded = send_batch(EVENT, {"type": "page"}, sentAt="2026-11-20T10:15:31Z")
    for record in (*decoded.accepted, *decoded.refused):
        assert decode_accepted(encode_record(record)) == record


def test_a_snapshot_without_apps_knows_no_key() -> None:
    empty = Snapshot(version=0, organisation="", plan=Plan(), apps=())
    request = make_request(PROTOCOL, "/v1/batch", b'{"batch":[]}')
    assert PROTOCOL.decode(request, empty).answer.status == 401


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", "Basic /w==", "basic d2tf", "Digest x", "Basic " + "A" * 5000, "é"],
)
def test_any_authorization_header_is_an_answer(authorization: str) -> None:
    decoded = send("/v1/page", EVENT, headers={"authorization": authorization})
    assert decoded.answer.status == 401
