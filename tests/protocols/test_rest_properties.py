"""The REST API against everything: any bytes and any JSON get an answer, and what is accepted can
be shaped, stored and written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rest import PROTOCOL, TIME, answer_of, headers_of, send
from tests.support.tracking_apps import SNAPSHOT
from trunkline.kit.protocol import Decoded
from trunkline.kit.rest_checks import MESSAGE_TYPES, USER_TEXTS
from trunkline.kit.times import parse_time_ms
from trunkline.model.event import encode_event
from trunkline.model.record import decode_accepted, encode_record

PATHS = [route.path for route in PROTOCOL.routes]
KEYS = [
    ("wk_backend", "shop"),
    ("wk_phone", "shop"),
    ("wk_web", "shop"),
    ("wk_flag", "flagged"),
    ("wk_block", "blocked"),
    ("wk_fenced", "fenced"),
    ("wk_nobody", "shop"),
    ("", ""),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
IDS = st.sampled_from(["u-1", "", "null", None, 5, 5.5]) | JSON
NAMES = st.sampled_from(["ordrc", "prchs", "oldev", "Order Completed", "Seen"]) | JSON
MAPS = st.dictionaries(st.sampled_from([*USER_TEXTS, "revenue", "a"]) | st.text(), JSON, max_size=3)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*MESSAGE_TYPES, "beep", None]),
        "id": st.text(min_size=1, max_size=9) | IDS,
        "time": st.just(TIME) | JSON,
    },
    optional={
        "name": NAMES,
        "customName": NAMES,
        "attributes": MAPS | JSON,
        "revenue": st.floats() | JSON,
        "currency": st.sampled_from(["IRR", "EUR", "XXX"]) | JSON,
        "orderId": IDS,
        **{field: st.text() | st.none() for field in USER_TEXTS},
        "gender": st.sampled_from(["male", "Other", "none", None]),
        "birthday": st.integers() | JSON,
        "customAttributes": MAPS | JSON,
        "event": NAMES,
        "action": NAMES,
        "subscription": MAPS | st.just({"endpoint": "https://push.example/1"}),
        "status": JSON,
        "token": st.text() | JSON,
        "platform": st.text() | JSON,
        "app": JSON,
        "source": JSON,
        "extra": JSON,
    },
)
META = st.dictionaries(
    st.sampled_from(["device", "app", "browser", "location", "ip", "userAgent", "consent"]),
    MAPS | JSON | st.just("198.51.100.1"),
    max_size=4,
)
ENVELOPES = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGES | JSON, max_size=4)},
    optional={
        "customUserId": st.just("u-42") | IDS,
        "metrixUserId": IDS,
        "automationUserId": IDS,
        "metaData": META | JSON,
        "sdkId": IDS,
        "extra": JSON,
    },
)
HEADERS = st.builds(
    lambda key, more: headers_of(*key) | more,
    st.sampled_from(KEYS),
    st.fixed_dictionaries(
        {},
        optional={
            "origin": st.sampled_from(["https://shop.example", "null"]),
            "user-agent": st.text(),
            "mtx-sdk-version": st.sampled_from(["1.3.0", "x" * 99]) | st.text(),
            "x-api-key": st.text(),
        },
    ),
)


def check(body: bytes, headers: dict[str, str], path: str) -> Decoded:
    decoded = send(body, headers, path)
    answer = answer_of(decoded)
    assert decoded.answer.status in (200, 400, 403, 413)
    for refused in decoded.refused:
        assert decode_accepted(encode_record(refused)) == refused
    if "accepted" in answer:
        assert answer["accepted"] == len(decoded.accepted)
        assert len(answer["rejected"]) == len(decoded.refused)
    else:
        assert not decoded.accepted
    for record in decoded.accepted:
        assert decode_accepted(encode_record(record)) == record
        for app in (SNAPSHOT.apps_by_id[record.app], None):
            shaped = PROTOCOL.normalise(record, app)
            assert shaped == PROTOCOL.normalise(record, app)
            written: Any = msgspec.json.decode(encode_event(shaped.event, shaped.extra))
            assert written["userId"] == record.user.removeprefix("u:")
            assert parse_time_ms(written["timestamp"]) is not None
            assert written["type"] == "identify" or written["event"]
            assert None not in [written.get(name) for name in written]
    return decoded


@given(st.binary(max_size=200), HEADERS, st.sampled_from(PATHS))
def test_any_bytes_get_an_answer(body: bytes, headers: dict[str, str], path: str) -> None:
    check(body, headers, path)


@given(JSON, HEADERS, st.sampled_from(PATHS))
def test_any_json_gets_an_answer(value: Any, headers: dict[str, str], path: str) -> None:
    check(msgspec.json.encode(value), headers, path)


@pytest.mark.slow
@given(ENVELOPES, HEADERS, st.sampled_from(PATHS))
def test_any_request_gets_an_answer_and_what_is_taken_can_be_shaped(
    value: Any, headers: dict[str, str], path: str
) -> None:
    check(msgspec.json.encode(value), headers, path)


@pytest.mark.slow
@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_each_message_is_judged_as_if_it_stood_alone(messages: list[Any]) -> None:
    def ids(*some: Any) -> list[str]:
        body = msgspec.json.encode({"customUserId": "u", "messages": some})
        return [record.message_id for record in send(body).accepted]

    assert ids(*messages) == [one for message in messages for one in ids(message)]
