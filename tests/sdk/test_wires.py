"""Every answer that a node or something before it may give has one meaning."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trunkline_sdk.entry import Entry, Waiting, tracking_route
from trunkline_sdk.sender import retry_wait
from trunkline_sdk.transport import Answer
from trunkline_sdk.wires import (
    Held,
    NotNow,
    Refusal,
    RestWire,
    S2SWire,
    Stored,
    Suspect,
    TrackingWire,
    Verdict,
    Wire,
    Wrong,
)

NOW = 1_795_169_730_000
TRACKING, S2S, REST = TrackingWire("tls_key"), S2SWire("app", "dev"), RestWire("app", "tls_key")


def waiting(*bodies: bytes, group: str = "") -> list[Waiting]:
    return [Waiting(n, Entry("r", group, str(n), body, 1)) for n, body in enumerate(bodies)]


def answer(status: int, value: Any = None, **headers: str) -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
    return Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


CASES: list[tuple[Wire, Answer, Verdict]] = [
    (TRACKING, answer(200, {"success": True}), Stored([])),
    (
        TRACKING,
        answer(200, {"success": True, "rejected": [
            {"index": 1, "messageId": "m", "code": "too_large", "message": "so"}]}),
        Stored([Refusal(1, "too_large", "so")]),
    ),
    (REST, answer(200, {"status": "success", "accepted": 1, "rejected": []}), Stored([])),
    (S2S, answer(200, {"status": "success", "messageId": "m"}), Stored([])),
    (TRACKING, answer(503, {"message": "later"}, retry_after="7"), NotNow("HTTP 503 later", 7)),
    (TRACKING, answer(429, b"", retry_after="x"), NotNow("HTTP 429", 0)),
    (TRACKING, answer(502, b"<html>"), NotNow("HTTP 502", 0)),
    (TRACKING, answer(408), NotNow("HTTP 408", 0)),
    (TRACKING, answer(400, {"code": "c", "message": "m"}), Wrong("c", "HTTP 400 m")),
    (TRACKING, answer(400, b"<html>"), Held("HTTP 400")),
    (TRACKING, answer(413, b"<html>"), Wrong("413", "HTTP 413")),
    (S2S, answer(400, {"type": "MALFORMED_JSON"}), Wrong("MALFORMED_JSON", "HTTP 400")),
    (TRACKING, answer(413, {"code": "c", "message": "m"}), Wrong("c", "HTTP 413 m")),
    (TRACKING, answer(401, {"code": "unknown_key", "message": "m"}), Held("HTTP 401 m")),
    (TRACKING, answer(403, {"message": "m"}), Held("HTTP 403 m")),
    (TRACKING, answer(404, b"not here"), Held("HTTP 404")),
    (TRACKING, answer(302, b""), Held("HTTP 302")),
    (TRACKING, answer(204, b""), Held("HTTP 204")),
    (S2S, answer(403, {"type": "INVALID_PARAMETERS", "description": "d"}),
     Suspect("INVALID_PARAMETERS", "HTTP 403 d")),
    (S2S, answer(403, {"type": "S2S_FEATURE_NOT_AVAILABLE", "description": "d"}),
     Held("HTTP 403 d")),
    (S2S, answer(404, {"type": "EVENT_TYPE_DOES_NOT_EXIST", "description": "d"}),
     Wrong("EVENT_TYPE_DOES_NOT_EXIST", "HTTP 404 d")),
    (S2S, answer(404, b"nginx"), Held("HTTP 404")),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "given_answer", "verdict"), CASES)
def test_an_answer_has_one_meaning(wire: Wire, given_answer: Answer, verdict: Verdict) -> None:
    assert wire.judge(given_answer, NOW) == verdict


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"{}", b'{"success":false}', b"\xff"])
def test_a_200_that_is_no_node_s_stores_nothing(body: bytes) -> None:
    assert isinstance(TRACKING.judge(Answer(200, body), NOW), NotNow)


def test_retry_after_may_be_a_date() -> None:
    later = Answer(503, b"", {"retry-after": "Fri, 20 Nov 2026 10:16:00 GMT"})
    assert later.retry_after_seconds(NOW) == 30
    assert later.retry_after_seconds(NOW + 60_000) == 0


def test_requests_golden() -> None:
    request = TRACKING.pack(waiting(b'{"a":1}', b'{"b":2}'), NOW)
    assert request.path == "/v1/batch"
    assert request.body == b'{"sentAt":"2026-11-20T10:15:30.000Z","batch":[{"a":1},{"b":2}]}'
    assert b64decode(request.headers["Authorization"].split()[1]) == b"tls_key:"
    request = S2SWire("a/b", "dev").pack(waiting(b'{"a":1}'), NOW)
    assert request.path == "/inappevent/a%2Fb" and request.body == b'{"a":1}'
    assert request.headers == {"Authorization": "dev"}
    request = REST.pack(waiting(b'{"a":1}', b'{"b":2}', group='{"customUserId":"u"}'), NOW)
    assert request.body == b'{"customUserId":"u","messages":[{"a":1},{"b":2}]}'
    assert request.headers == {"X-Application-Id": "app", "X-API-Key": "tls_key"}


def test_messages_of_one_user_share_a_request_and_keep_their_order() -> None:
    mixed = [*waiting(b"1", b"2", group="u"), *waiting(b"3", group="v"), *waiting(b"4", group="u")]
    parts = [[one.entry.body for one in part] for part in REST.parts(mixed)]
    assert parts == [[b"1", b"2"], [b"3"], [b"4"]]


def test_a_route_tells_no_key() -> None:
    assert "tls_key" not in tracking_route("tls_key") == TRACKING.route
    assert tracking_route("tls_key") != tracking_route("tls_kez")


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 10**6), st.floats(0.5, 300))
def test_a_wait_is_bounded_and_never_below_what_was_asked(
    failures: int, asked: float, most: float
) -> None:
    wait = retry_wait(failures, asked, most)
    assert min(asked, 3600) <= wait <= max(min(asked, 3600), most)
    assert wait >= min(most, 0.5) / 2
