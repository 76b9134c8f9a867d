"""The REST API beside its golden cases: records, limits, raw bytes, ids, routes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.support.rest import PROTOCOL, TIME, answer_of, body_of, headers_of, message, send
from tests.support.tracking_apps import ADDRESS, RECEIVED_MS, SNAPSHOT
from trunkline.gateway.routes import Match, Miss, RouteTable
from trunkline.kit.batch_body import ENVELOPE_BYTES_MAX
from trunkline.kit.rest_checks import USER_TEXTS
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX, EVENTS_MAX
from trunkline.model.record import AcceptedEvent, decode_accepted, encode_record
from trunkline.node import protocol_shelf

SHOP = SNAPSHOT.apps_by_id["shop"]


def codes_of(body: bytes) -> list[str]:
    return [item["code"] for item in answer_of(send(body))["rejected"]]


def ids_of(*messages: Any, **beside: Any) -> list[str]:
    return [record.message_id for record in send(body_of(*messages, **beside)).accepted]


def test_a_record_holds_what_the_pipeline_needs() -> None:
    own = b'{ "type":"user","id":7 ,"time":1795169730000,"city":"Tehran" }'
    body = b'{"metrixUserId":"mx","customUserId":42,"messages":[' + own + b'],"metaData":{"ip":1}}'
    headers = headers_of("wk_phone", user_agent="App/1", mtx_sdk_version="1.3.0")
    [record] = send(body, headers).accepted
    canonical = '{"city":"Tehran","id":7,"time":1795169730000,"type":"user"}'
    assert record == AcceptedEvent(
        app="shop",
        message_id=hashlib.sha256(f"shop\0{42}\0{canonical}".encode()).hexdigest(),
        user="u:42",
        protocol="rest",
        type="identify",
        key="phone",
        is_client=True,
        snapshot=7,
        received_ms=RECEIVED_MS,
        address=ADDRESS,
        user_agent="App/1",
        request_id="request-1",
        envelope=b'{"ids":{"customUserId":"42","metrixUserId":"mx"},"metaData":{"ip":1},'
        b'"sdk":"1.3.0"}',
        body=own,
        notes=("the sender's id is 7",),
    )
    assert decode_accepted(encode_record(record)) == record


# Duplicates: id, type and content.


def test_the_same_message_has_the_same_id_however_it_is_written_or_wherever_it_stands() -> None:
    said = message(attributes={"b": 1, "a": [1.5, "é"]})
    again = json.dumps(dict(reversed(said.items())), indent=2).encode()
    other_place = b'{"messages": [' + again + b'], "metaData": {"ip": "198.51.100.1"},'
    other_place += b' "customUserId": "u-42"}'
    [one] = ids_of(said)
    [two] = [record.message_id for record in send(other_place).accepted]
    assert one == two == ids_of(message("user"), said)[1]


@pytest.mark.parametrize(
    "other",
    [
        message(id="m-2"),
        message("systemEvent", name="ordrc"),
        message(time=TIME + 1),
        message(attributes={"a": 1}),
        message(name="other"),
    ],
)
def test_another_id_type_or_content_is_another_message(other: dict[str, Any]) -> None:
    assert len(set(ids_of(message(), other))) == 2


def test_one_users_message_is_no_duplicate_of_anothers() -> None:
    assert ids_of(message("user")) != ids_of(message("user"), customUserId="u-43")
    own, others = (send(body_of(message()), headers_of(*key)) for key in
                   (("wk_backend", "shop"), ("wk_flag", "flagged")))  # fmt: skip
    assert own.accepted[0].message_id != others.accepted[0].message_id


# Limits.


def test_2500_messages_are_taken_and_2501_are_not() -> None:
    assert len(send(body_of(*[message()] * EVENTS_MAX)).accepted) == EVENTS_MAX
    decoded = send(body_of(*[message()] * (EVENTS_MAX + 1)))
    assert (decoded.answer.status, len(decoded.accepted)) == (413, 0)
    assert [kept.count for kept in decoded.refused] == [EVENTS_MAX + 1]


def test_a_message_of_32768_bytes_is_taken_and_a_larger_one_costs_itself() -> None:
    def sized(size: int) -> bytes:
        head = b'{"type":"action","id":"m-1","time":1795169730000,"name":"'
        return head + b"x" * (size - len(head) - 2) + b'"}'

    raw = [sized(EVENT_BYTES_MAX), sized(EVENT_BYTES_MAX + 1), sized(100)]
    decoded = send(b'{"customUserId":"u","messages":[' + b",".join(raw) + b"]}")
    assert [item["index"] for item in answer_of(decoded)["rejected"]] == [1]
    assert [kept.message_id for kept in decoded.refused] == [""]
    assert len(decoded.accepted) == 2


def test_what_stands_beside_the_messages_has_a_limit_since_each_is_stored_with_it() -> None:
    def ask(size: int) -> int:
        meta = {"a": "x" * size}
        return send(body_of(message(), metaData=meta)).answer.status

    spare = len(b'{"ids":{"customUserId":"u-42"},"metaData":{"a":""}}')
    assert ask(ENVELOPE_BYTES_MAX - spare) == 200
    assert ask(ENVELOPE_BYTES_MAX - spare + 1) == 413


def test_of_many_refused_messages_all_are_counted_and_the_first_hundred_shown() -> None:
    decoded = send(body_of(*[message("nonsense")] * 150))
    assert len(decoded.refused) == len(answer_of(decoded)["rejected"]) == 150
    assert sum(bool(kept.body) for kept in decoded.refused) == 100


# Raw bytes.


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'"a\xff"', "malformed_json"),
        (b"-Infinity", "invalid_number"),
        (b"1" * 400, "invalid_number"),
        (b"[" * 5000 + b"]" * 5000, "too_deep"),
        (b'{"a":1', None),
    ],
)
def test_one_unreadable_message_costs_the_others_nothing_if_the_request_can_be_cut(
    raw: bytes, code: str | None
) -> None:
    good = json.dumps(message()).encode()
    bad = b'{"type":"action","id":"m","time":1,"name":"n","attributes":{"a":' + raw + b"}}"
    decoded = send(b'{"customUserId":"u","messages":[' + b",".join([good, bad, good]) + b"]}")
    if code is None:
        assert (decoded.answer.status, answer_of(decoded)["code"]) == (400, "malformed_json")
    else:
        assert [i["code"] for i in answer_of(decoded)["rejected"]] == [code]
        assert len(decoded.accepted) == 2


def test_a_byte_order_mark_is_skipped() -> None:
    assert len(send(b"\xef\xbb\xbf" + body_of(message())).accepted) == 1


def test_integers_keep_all_their_digits() -> None:
    [record] = send(body_of(message("revenue", revenue=2**70))).accepted
    assert PROTOCOL.normalise(record, SHOP).event.properties == {
        "revenue": 2**70,
        "currency": "EUR",
    }


# Names.


def test_a_definition_that_was_removed_leaves_the_slug_as_the_name() -> None:
    [record] = send(body_of(message())).accepted
    gone = PROTOCOL.normalise(record, None)
    assert gone.event.event == "ordrc"
    assert gone.notes == ('no event with the slug "ordrc" is defined: its slug is its name',)


@pytest.mark.parametrize("kind", ["action", "revenue", "businessEvent", "systemEvent"])
@pytest.mark.parametrize("name", [{}, {"name": ""}, {"name": "  "}, {"name": None}])
def test_an_event_needs_a_name(kind: str, name: dict[str, Any]) -> None:
    nameless = {key: value for key, value in message(kind).items() if key != "name"}
    assert codes_of(body_of({**nameless, **name})) == ["missing_field"]


def test_an_app_that_blocks_takes_the_events_it_defined() -> None:
    blocked = headers_of("wk_block", "blocked")
    sent = [message(), message(name="Order Completed"), message(name=None, customName="Seen")]
    decoded = send(body_of(*sent, message("user")), blocked)
    assert [i["index"] for i in answer_of(decoded)["rejected"]] == [2]


# Profiles.


@pytest.mark.parametrize("field", USER_TEXTS)
def test_every_field_of_a_profile_is_a_text_or_null(field: str) -> None:
    trait = "phoneNumber" if field == "phone" else field
    for value in ("other", None, ""):
        [record] = send(body_of({**message("user"), field: value})).accepted
        traits = PROTOCOL.normalise(record, SHOP).event.traits
        assert traits and traits[trait] == value
    assert codes_of(body_of({**message("user"), field: 5})) == ["invalid_field"]


@pytest.mark.parametrize("gender", ["Male", "male", "FEMALE", "Other"])
def test_a_gender_may_be_written_in_any_case(gender: str) -> None:
    assert codes_of(body_of(message("user", gender=gender))) == []


@pytest.mark.parametrize("birthday", [True, "1", 10**16, -(10**17), [], 1e300])
def test_a_birthday_is_milliseconds(birthday: object) -> None:
    assert codes_of(body_of(message("user", birthday=birthday))) == ["invalid_field"]


def test_a_birthday_before_1970_is_one() -> None:
    assert codes_of(body_of(message("user", birthday=-86_400_000))) == []


# Identity.


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"5", b'{"sdkId":5}', b'{"sdkId":"' + b"x" * 101 + b'"}', b"\xff"]
)
def test_an_identity_without_an_sdk_id_is_refused(body: bytes) -> None:
    decoded = send(body, {}, "/identity")
    assert (decoded.answer.status, decoded.accepted, decoded.refused) == (400, (), ())


def test_an_identity_is_the_id_that_the_sdk_sends_its_events_under() -> None:
    decoded = send(b'{"sdkId":"abc","customIds":{"phone":"0912"}}', {}, "/identity/")
    assert answer_of(decoded) == {"metrixUserId": "abc"}


# Routes.


def test_the_root_takes_nothing_from_other_paths() -> None:
    table = RouteTable(tuple(protocol_shelf().values()))
    owners = {
        path: found.protocol.name
        for path in ("/", "/v1/messages", "/v1/messages/", "/v1/track", "/v1/batch", "/b",
                     "/inappevent/abc", "/identity", "/push")
        if isinstance(found := table.find("POST", path), Match)
    }  # fmt: skip
    assert owners == {
        "/": "rest", "/v1/messages": "rest", "/v1/messages/": "rest", "/identity": "rest",
        "/v1/track": "tracking", "/v1/batch": "tracking", "/b": "tracking",
        "/inappevent/abc": "s2s", "/push": "push",
    }  # fmt: skip
    for path in ("/nothing", "/v2", "/health/live", "//x", "/v1/messages/x", "/pushes"):
        found = table.find("POST", path)
        assert isinstance(found, Miss) and not found.allow
