"""The S2S protocol beyond its golden cases: totality, the order of its checks, ids, secrets."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.s2s import (
    DEV_KEY,
    HEADERS,
    NOW_MS,
    SNAPSHOT,
    SNAPSHOT_WITHOUT_S2S,
    WALLET,
    make_request,
)
from trunkline.kit.protocol import Decoded, Failure, FailureCode, Request
from trunkline.model.event import EVENT_TYPES, encode_event
from trunkline.model.record import AcceptedEvent, decode_accepted, encode_record
from trunkline.model.snapshot import Snapshot
from trunkline.protocols.s2s import S2SProtocol, content_id

PROTOCOL = S2SProtocol(Random(7))
APP = SNAPSHOT.apps_by_id[WALLET]
GOOD: dict[str, Any] = {
    "metrixUserId": "c0bcf71e-a027-4cfa-974a-e90e040e5c3a",
    "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "eventSlug": "taqsq",
    "eventTime": NOW_MS - 1000,
}


def send(event: dict[str, Any], **headers: str) -> Decoded:
    request = make_request(json.dumps(event).encode(), headers={**HEADERS, **headers})
    return PROTOCOL.decode(request, SNAPSHOT)


def accepted(decoded: Decoded) -> AcceptedEvent:
    assert decoded.answer.status == 200, decoded.answer.body
    (record,) = decoded.accepted
    return record


def check_whole(decoded: Decoded) -> None:
    """What holds for every answer: JSON, storable records, and an event where one was accepted."""
    body = json.loads(decoded.answer.body)
    assert len(decoded.accepted) + len(decoded.refused) <= 1
    assert (decoded.answer.status == 200) == bool(decoded.accepted)
    for refusal in decoded.refused:
        assert decode_accepted(encode_record(refusal)) == refusal
        assert refusal.code == body["type"] == body["message"]
        assert refusal.message == body["description"]
        assert len(refusal.body) <= 2048
    for record in decoded.accepted:
        stored = decode_accepted(encode_record(record))
        assert isinstance(stored, AcceptedEvent)
        assert stored == record
        assert body["messageId"] == record.message_id
        assert 1 <= len(record.message_id) <= 100
        check_event(stored)


def check_event(record: AcceptedEvent) -> None:
    first = encode_event(PROTOCOL.normalise(record, APP).event)
    assert encode_event(PROTOCOL.normalise(record, APP).event) == first
    encode_event(PROTOCOL.normalise(record, None).event)
    event = json.loads(first)
    assert msgspec.json.decode(first) == event
    assert event["type"] in EVENT_TYPES
    assert event["userId"] == event["anonymousId"] == record.user.removeprefix("u:")
    assert event["receivedAt"].endswith("Z")
    assert None not in event.values()
    assert DEV_KEY.encode() not in first


@given(st.binary(max_size=400))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    check_whole(PROTOCOL.decode(make_request(body), SNAPSHOT))


ODD = st.recursive(
    st.sampled_from(
        [None, "", "null", True, False, 0, -1, 1.5, -0.0, 10**30, 10**400, float("nan")]
        + [float("inf"), 1570274953412, "1570274953412", 1570274953, "x" * 513, "é" * 257, "\ud83d"]
        + ["taqsq", "aewqd", "ctvta", "USD", "203.0.113.1", "::1", "4111111111111111", "a\0b", []]
    )
    | st.text(max_size=8)
    | st.integers()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_revenue", "_currency", "_order_id", "password", "\udc00", "x" * 513, ""]
            )
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [*GOOD, "idfa", "oaid", "metrixSessionId", "customAttributes", "customMetrics", "deviceIp"]
    + ["messageId", "unknown", "_revenue"]
)


@given(ODD)
def test_any_json_gets_an_answer(value: Any) -> None:
    body = json.dumps(value).encode()
    check_whole(PROTOCOL.decode(make_request(body), SNAPSHOT))


@given(st.dictionaries(FIELDS, ODD, max_size=3), st.booleans())
def test_any_odd_event_gets_an_answer_and_becomes_an_event_when_accepted(
    odd: dict[str, Any], is_ascii: bool
) -> None:
    text = json.dumps({**GOOD, **odd}, ensure_ascii=is_ascii)
    body = text.encode("utf-8", "surrogatepass")
    check_whole(PROTOCOL.decode(make_request(body), SNAPSHOT))


NAMES = st.text(max_size=20).filter(lambda name: name not in ("_currency", "_order_id"))
PAIRS = st.dictionaries(NAMES, st.text(max_size=40), max_size=6)
METRICS = st.dictionaries(
    NAMES | st.just("_revenue"), st.integers() | st.floats(-1.7e308, 1.7e308), max_size=6
)


@given(PAIRS, METRICS, st.none() | st.text(min_size=1, max_size=100))
@example({"revenue": ""}, {"_revenue": 0}, None)
def test_every_good_event_is_accepted_with_all_that_it_says(
    attributes: dict[str, str], metrics: dict[str, float], given_id: str | None
) -> None:
    event = {**GOOD, "customAttributes": attributes, "customMetrics": metrics}
    decoded = send({**event, "messageId": given_id} if given_id else event)
    check_whole(decoded)
    properties = PROTOCOL.normalise(accepted(decoded), APP).event.properties or {}
    expected: dict[str, Any] = {**attributes, **metrics}
    if "_revenue" in metrics:  # its copies win over what else was called so
        expected |= {"revenue": metrics["_revenue"], "currency": APP.currency}
    assert {key: properties[key] for key in expected} == expected


@given(st.text(), st.text(), st.text(), st.text())
def test_any_header_and_path_get_an_answer(a: str, b: str, c: str, d: str) -> None:
    names = ("authorization", "idempotency-key", "user-agent")
    for headers in (dict(zip(names, (a, b, c), strict=True)), {**HEADERS, "idempotency-key": b}):
        for app_id in (WALLET, d):
            request = make_request(json.dumps(GOOD).encode(), app_id, headers, address=c)
            check_whole(PROTOCOL.decode(request, SNAPSHOT))


def test_headers_with_half_an_emoji_can_be_stored() -> None:
    decoded = send(GOOD, **{"idempotency-key": "order-\ud83d", "user-agent": "\udc00"})
    check_whole(decoded)
    assert accepted(decoded).message_id == "order-\ufffd"


# The order of the checks: of two defects the earlier one answers.

Patch = Callable[[Request, Snapshot, dict[str, Any]], tuple[Request, Snapshot]]


def with_app(app_id: str) -> Patch:
    def patch(
        request: Request, snapshot: Snapshot, event: dict[str, Any]
    ) -> tuple[Request, Snapshot]:
        return msgspec.structs.replace(request, params={"appId": app_id}), snapshot

    return patch


def with_headers(**headers: str) -> Patch:
    def patch(
        request: Request, snapshot: Snapshot, event: dict[str, Any]
    ) -> tuple[Request, Snapshot]:
        return msgspec.structs.replace(request, headers={**request.headers, **headers}), snapshot

    return patch


def without_plan(
    request: Request, snapshot: Snapshot, event: dict[str, Any]
) -> tuple[Request, Snapshot]:
    return request, SNAPSHOT_WITHOUT_S2S


def with_fields(**fields: Any) -> Patch:
    def patch(
        request: Request, snapshot: Snapshot, event: dict[str, Any]
    ) -> tuple[Request, Snapshot]:
        event.update(fields)
        return request, snapshot

    return patch


# The fence is the one app whose list of addresses the test's address is not in.
DEFECTS: list[tuple[str, Patch]] = [
    ("the dev key in the Authorization", with_headers(authorization="wrong")),
    ("plan does not include", without_plan),
    ("from the address", with_app("fencedinapplica")),
    ("the body cannot be taken", with_fields(broken=float("nan"))),
    ("no device id", with_fields(advertisingId="null")),
    ("more than one device id", with_fields(idfa="1", oaid="2")),
    ("metrixUserId is missing", with_fields(metrixUserId="")),
    ("metrixSessionId is 5", with_fields(metrixSessionId=5)),
    ("eventTime is", with_fields(eventTime="soon")),
    ("customAttributes is", with_fields(customAttributes=[])),
    ("customMetrics._revenue is", with_fields(customMetrics={"_revenue": "1"})),
    ("deviceIp is", with_fields(deviceIp="here")),
    ("messageId is", with_fields(messageId={})),
    ("wild holds a number", with_fields(wild=10**400)),
    ("no event with the slug", with_fields(eventSlug="nnnnn")),
]
EXCLUSIVE = {("no device id", "more than one device id")}  # no event has both


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pair
        for pair in itertools.combinations(DEFECTS, 2)
        if (pair[0][0], pair[1][0]) not in EXCLUSIVE
    ],
    ids=lambda defect: defect[0],
)
def test_of_two_defects_the_earlier_check_answers(
    first: tuple[str, Patch], second: tuple[str, Patch]
) -> None:
    event = dict(GOOD)
    request, snapshot = make_request(b"", address="198.51.100.7"), SNAPSHOT
    for _, patch in (second, first):
        request, snapshot = patch(request, snapshot, event)
    request = msgspec.structs.replace(request, body=json.dumps(event).encode())
    decoded = PROTOCOL.decode(request, snapshot)
    assert first[0] in json.loads(decoded.answer.body)["description"]


# Keys.


def test_unknown_app_wrong_key_and_missing_key_get_the_same_bytes_and_keep_nothing() -> None:
    body = json.dumps(GOOD).encode()
    answers = {
        PROTOCOL.decode(make_request(body, app_id, headers), SNAPSHOT)
        for app_id, headers in (
            ("nosuchapplicati", HEADERS),
            ("", HEADERS),
            ("withoutanykeyap", HEADERS),
            ("withoutanykeyap", {}),
            (WALLET, {"authorization": "wrong"}),
            (WALLET, {"authorization": DEV_KEY[:-1]}),
            (WALLET, {"authorization": "Basic " + DEV_KEY}),
            (WALLET, {"authorization": ""}),
            (WALLET, {}),
        )
    }
    (refused,) = answers
    assert refused.answer.status == 403
    assert not refused.refused


# Message ids: retries must not count twice.


def test_the_same_request_sent_again_has_the_same_id() -> None:
    assert accepted(send(GOOD)).message_id == accepted(send(GOOD)).message_id


@pytest.mark.parametrize("time", [None, "", "null", 1570274953, "1570274953"])
def test_two_equal_events_without_milliseconds_are_two_events(time: Any) -> None:
    event = {**GOOD, "eventTime": time}
    assert accepted(send(event)).message_id != accepted(send(event)).message_id


def test_any_difference_makes_another_id() -> None:
    variants = [
        GOOD,
        {**GOOD, "eventTime": NOW_MS - 999},
        {**GOOD, "eventTime": str(NOW_MS - 1000)},
        {**GOOD, "x": 1},
        {**GOOD, "x": 1.0},
        {**GOOD, "x": "1"},
        {**GOOD, "x": None},
    ]
    ids = {accepted(send(event)).message_id for event in variants}
    assert len(ids | {content_id("another", GOOD)}) == len(variants) + 1


def test_ids_of_equal_dice_are_equal_and_shaped_as_uuids() -> None:
    body = json.dumps({**GOOD, "eventTime": None}).encode()
    one, two = (
        accepted(S2SProtocol(Random(3)).decode(make_request(body), SNAPSHOT)) for _ in range(2)
    )
    assert one.message_id == two.message_id
    assert UUID(one.message_id).version == 4


GOLDEN_IDS = [  # app, body, its canonical form, the id
    (
        "zcmwmxbkmuodelu",
        "{}",
        "{}",
        "87c73ecd1dddee3f498d9a8295005783823e6e959017db639919ecd89d8ac481",
    ),
    (
        "zcmwmxbkmuodelu",
        '{"b": 1, "a": "x"}',
        '{"a":"x","b":1}',
        "5330a2ca00e693a1d1b03e9585689bba10c64a349b3a67b11437eb421ae9d746",
    ),
    (
        "lcqmfsnvhzznvhe",
        '{"b": {"d": null, "c": true}, "a": false}',
        '{"a":false,"b":{"c":true,"d":null}}',
        "ba10ee43f1c4d09643180cb0a1a76772d237835de809f9428b8f6ea5b7ae540e",
    ),
    (
        "zcmwmxbkmuodelu",
        '{"é": "شهر 🛒", "z": ["\\u0001\\"\\\\\\/\\n\\u007f"]}',
        '{"z":["\\u0001\\"\\\\/\\n\x7f"],"é":"شهر 🛒"}',
        "376bcf9996d2ab4b987498aac8a2142346847383a6e9ce5ff57f63a9e8067487",
    ),
    (
        "zcmwmxbkmuodelu",
        '{"n": [1, 1.0, 1e2, 1e16, 1e-5, 1e-6, 1.5E+300, -0, -0.0, 53.700]}',
        '{"n":[1,1.0,100.0,1e16,0.00001,1e-6,1.5e300,0,-0.0,53.7]}',
        "5489318349221d8b2f0b2ad85399d45fc847315d2c7088e77341f65d73c58949",
    ),
    (
        "zcmwmxbkmuodelu",
        '{"n": [123456789012345678901234567890, 1.7976931348623157e308]}',
        '{"n":[123456789012345678901234567890,1.7976931348623157e308]}',
        "0fc6d6949fc6f15e5c5dd385928c111103b0aa7a0d97fab0cde717c45c119ec1",
    ),
]


@pytest.mark.parametrize(("app", "body", "form", "expected"), GOLDEN_IDS)
def test_content_ids_never_change(app: str, body: str, form: str, expected: str) -> None:
    event = msgspec.json.decode(body)
    assert canonical(event) == form
    assert content_id(app, event) == expected


def canonical(value: Any) -> str:
    """The canonical JSON of `content_id`'s definition, written a second time without a library."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: [ord(ch) for ch in pair[0]])
        return "{" + ",".join(f"{canonical(k)}:{canonical(v)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    if isinstance(value, str):
        short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f"}
        short |= {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
        shown = (short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value)
        return '"' + "".join(shown) + '"'
    if isinstance(value, float):
        return canonical_double(value)
    return {None: "null", True: "true", False: "false"}[value] if _is_word(value) else str(value)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def canonical_double(value: float) -> str:
    if value == 0 or 1e-5 <= abs(value) < 1e16:
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else text + ".0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    shown = [str(digit) for digit in digits]
    tail = "." + "".join(shown[1:]) if shown[1:] else ""
    return f"{'-' if sign else ''}{shown[0]}{tail}e{int(exponent) + len(digits) - 1}"


CONTENT = st.dictionaries(
    st.text(max_size=6),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=10)
        # The boundaries of the notations, and everything else.
        | st.sampled_from([1e-5, 9.999e-6, 1e15, 1e16, 9007199254740993.0, 1e22, 5e-324, -0.0])
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=5,
)


@given(CONTENT)
def test_content_ids_follow_their_definition(event: dict[str, Any]) -> None:
    expected = hashlib.sha256(WALLET.encode() + b"\0" + canonical(event).encode()).hexdigest()
    assert content_id(WALLET, event) == expected


# Canonical events.


def test_an_event_whose_definition_or_app_is_gone_keeps_its_slug_as_its_name() -> None:
    record = accepted(send({**GOOD, "customMetrics": {"_revenue": 1}}))
    gone = msgspec.structs.replace(APP, events=())
    for app in (gone, None):
        normalised = PROTOCOL.normalise(record, app)
        assert normalised.event.event == "taqsq"
        assert "no longer defined" in normalised.notes[-1]


def test_a_mended_body_is_stored_so_that_the_fast_decoder_takes_it() -> None:
    body = b"\xef\xbb\xbf" + json.dumps({**GOOD, "x": "\ud83d"}).encode()
    record = accepted(PROTOCOL.decode(make_request(body), SNAPSHOT))
    assert msgspec.json.decode(record.body) == {**GOOD, "x": "\ufffd"}


def test_a_good_body_is_stored_untouched() -> None:
    body = json.dumps({**GOOD, "x": 1.50}, indent=3).encode()
    assert accepted(PROTOCOL.decode(make_request(body), SNAPSHOT)).body == body


# Failures outside `decode`.


@pytest.mark.parametrize("code", msgspec.inspect.type_info(FailureCode).values)
def test_every_failure_of_the_gateway_is_said_in_the_shape_that_callers_parse(code: Any) -> None:
    answer = PROTOCOL.failure("/inappevent/x", Failure(code, 503, "a sentence", 7))
    body = json.loads(answer.body)
    assert answer.status == body["status"] == 503
    assert body["type"] == body["message"]
    assert body["description"] == "a sentence"
    assert answer.headers == (("Retry-After", "7"),)


# What may stand in a field, as JSON text: mostly what is plain, else what only the checks know.
_TEXTS = ('""', '"null"', "null", '"' + "é" * 200 + '"', '"\\ud800"', '"IRR"', '"XAU"', '"é"')
_NUMBERS = ("true", "1e400", "9" * 320, "18446744073709551616", "-0", '"5"', "[1]", "null", "-2.50")
_TIMES = (f'"{NOW_MS}"', str(NOW_MS // 1000), str(NOW_MS * 2), "1", "null", "1.5", "true")


def _mostly(plain: str, others: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from((plain,) * (6 * len(others)) + others)


def _object(keys: tuple[str, ...], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(st.sampled_from(keys), values), max_size=4)
    return pairs.map(lambda found: "{" + ",".join(f'"{k}":{v}' for k, v in found) + "}")


_FIELDS = st.fixed_dictionaries(
    {
        "metrixUserId": _mostly('"user-1"', _TEXTS),
        "eventSlug": _mostly('"taqsq"', ('"gone"', "null", "7")),
        "eventTime": _mostly(str(NOW_MS), _TIMES),
        "advertisingId": _mostly('"A-1"', _TEXTS),
    },
    optional={
        "idfa": st.sampled_from(("null", '""', '"null"', '"A-1"')),
        "metrixSessionId": _mostly('"s"', _TEXTS),
        "customAttributes": _object(
            ("_currency", "_currency", "_order_id", "k" * 130, "\\u0061", "_revenue"),
            _mostly('"IRR"', _TEXTS),
        ),
        "customMetrics": _object(
            ("_revenue", "_revenue", "items", "_currency", "\\u0061"), _mostly("53.75", _NUMBERS)
        ),
        "deviceIp": _mostly('"1.2.3.4"', ('"::1"', '"x"', '""', "null")),
        "messageId": _mostly('"m-1"', ('""', '"null"', "7", "null", f'"{"m" * 101}"')),
        "unknown": st.sampled_from(("1", "[[]]", '"é"')),
    },
)


@given(_FIELDS)
def test_the_plain_way_answers_and_stores_what_the_checks_do(fields: dict[str, str]) -> None:
    body = ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()

    def judge(headers: dict[str, str]) -> Decoded:
        request = make_request(body, headers={**HEADERS, **headers})
        return S2SProtocol(Random(7)).decode(request, SNAPSHOT)

    # A request that names no id in the header for one is sent through all checks.
    assert judge({}) == judge({"idempotency-key": ""})
