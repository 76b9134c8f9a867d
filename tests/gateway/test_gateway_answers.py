"""What every answer of the gateway has, and what is answered where no protocol decides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gateway_rig import (
    LogFailure,
    Rig,
    make_app,
    make_snapshot,
    running_gateway,
)
from trunkline.gateway.cors import cors_headers
from trunkline.gateway.http1_answers import format_head, format_plain_head
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import LogFull
from trunkline.model.record import AcceptedEvent, AcceptedRefusal
from trunkline.model.snapshot import Rate

EVENT = b'{"users":["1"]}'


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_gateway() as rig:
        yield rig


def test_an_event_is_stored_before_its_answer(rig: Rig) -> None:
    before = rig.appender.stored
    reply = rig.post("/events/wallet", EVENT, "X-Request-Id: mine-1")
    assert (reply.status, reply.headers["x-request-id"]) == (200, "mine-1")
    assert rig.appender.stored == before + 1
    record = rig.appender.appends[-1][-1]
    event = rig.appender.decoded()[-1]
    assert isinstance(event, AcceptedEvent)
    assert (event.app, event.user, event.address) == ("wallet", "u:1", "127.0.0.1")
    assert record.key == b"wallet\0u:1"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "?"])
def test_any_content_type_and_a_trailing_slash_are_fine(rig: Rig, content_type: str) -> None:
    assert rig.post("/events/wallet/", EVENT, f"Content-Type: {content_type}").status == 200


def test_a_wrong_path_is_404_in_the_shape_of_whose_path_it_resembles(rig: Rig) -> None:
    theirs = rig.post("/events/wallet/more", EVENT)
    assert (theirs.status, theirs.json["protocol"], theirs.json["code"]) == (
        404,
        "plain",
        "not_found",
    )
    nobodys = rig.ask("GET", "/favicon.ico")
    assert nobodys.status == 404
    assert nobodys.headers["content-type"] == "application/json"
    assert nobodys.json["success"] is False
    assert nobodys.json["code"] == nobodys.json["error"]["code"] == "not_found"
    assert "/favicon.ico" in nobodys.json["message"]


@pytest.mark.parametrize("bytes_", ["%ff", "a%fe", "%c0%af", "%ed%a0%bd", "%ef%bf"])
def test_a_path_that_is_no_text_is_400_and_nobody_is_asked(rig: Rig, bytes_: str) -> None:
    """What stood in the place of such bytes could be what another's path really holds."""
    asked = len(rig.protocol.requests)
    theirs = rig.post(f"/events/{bytes_}", EVENT)
    nobodys = [rig.ask("GET", f"/{bytes_}"), rig.ask("GET", f"/health/{bytes_}")]
    for reply in (theirs, rig.ask("GET", f"/settings/{bytes_}"), *nobodys):
        assert (reply.status, reply.json["code"]) == (400, "bad_path")
        assert "no UTF-8" in reply.json["message"] and "%C3%A9" in reply.json["message"]
        assert "access-control-allow-origin" in reply.headers
    assert theirs.json["protocol"] == "plain"
    assert len(rig.protocol.requests) == asked
    assert rig.post("/events/%ef%bf%bd", EVENT).status == 200
    assert rig.protocol.requests[-1].params == {"app": "\ufffd"}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/events/wallet", "OPTIONS, POST"),
        ("DELETE", "/settings/x", "GET, HEAD, OPTIONS"),
        ("PUT", "/big", "OPTIONS, POST"),
        ("POST", "/health/live", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(
    rig: Rig, method: str, path: str, allow: str
) -> None:
    reply = rig.ask(method, path, "Content-Length: 0")
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    assert reply.json["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/events/wallet", EVENT, 200),
        ("/events/wallet", b"no json", 400),
        ("/events/wallet", b'{"boom":1}', 503),
        ("/events/wallet", b" " * 70_000, 413),
        ("/nowhere", EVENT, 404),
        ("/settings/x", EVENT, 405),
    ],
)
def test_cors_stands_on_every_answer(rig: Rig, path: str, body: bytes, status: int) -> None:
    reply = rig.post(path, body, "Origin: https://shop.example")
    assert reply.status == status
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert "x-retry-count" in reply.headers["access-control-allow-headers"]
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["vary"] == "Origin"
    assert reply.headers["x-request-id"]
    assert rig.post(path, body).headers["access-control-allow-origin"] == "*"


def test_a_preflight_is_204_with_the_known_and_the_asked_headers(rig: Rig) -> None:
    reply = rig.ask(
        "OPTIONS",
        "/events/wallet",
        "Origin: https://shop.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: X-New-Thing, authorization, bad header",
    )
    assert (reply.status, reply.body) == (204, b"")
    allowed = reply.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "anonymousid", "x-write-key", "x-new-thing"} <= set(allowed)
    assert "bad header" not in allowed
    assert allowed.count("authorization") == 1
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert int(reply.headers["access-control-max-age"]) > 0


@pytest.mark.parametrize("given", ["a" * 129, "no spaces", "<script>", ""])
def test_a_request_id_that_is_not_safe_is_replaced(rig: Rig, given: str) -> None:
    chosen = rig.post("/events/wallet", EVENT, f"X-Request-Id: {given}").headers["x-request-id"]
    assert chosen != given
    assert chosen != rig.post("/events/wallet", EVENT).headers["x-request-id"]


def test_head_is_get_without_its_effects(rig: Rig) -> None:
    before = rig.appender.stored
    head = rig.ask("HEAD", "/settings/abc")
    assert head.status == 200
    assert rig.appender.stored == before
    get = rig.ask("GET", "/settings/abc")
    assert get.json["key"] == "abc"
    assert head.headers["content-length"] == get.headers["content-length"]
    assert rig.appender.stored == before + 1


def test_a_defect_is_503_with_a_time_to_come_back(rig: Rig) -> None:
    reply = rig.post("/events/wallet", b'{"boom":1}')
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert (reply.json["protocol"], reply.json["code"]) == ("plain", "internal")
    assert rig.post("/events/wallet", EVENT).status == 200


def test_a_header_that_came_twice_is_joined(rig: Rig) -> None:
    rig.post("/events/wallet", EVENT, "X-Thing: 1", "X-Thing: 2")
    assert rig.protocol.requests[-1].headers["x-thing"] == "1, 2"


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = rig.client()
    for number in range(5):
        client.post("/events/wallet", EVENT, f"X-Request-Id: p{number}")
    ids = [client.reply().headers["x-request-id"] for _ in range(5)]
    client.close()
    assert ids == ["p0", "p1", "p2", "p3", "p4"]


def test_live_is_yes_and_ready_needs_a_snapshot_and_a_durable_write() -> None:
    with running_gateway(clock=FakeClock()) as rig:
        assert rig.ask("GET", "/health/live").json == {"status": "live"}
        assert rig.ask("GET", "/health/ready").json == {"status": "ready"}
        assert rig.ask("HEAD", "/health/ready").status == 200
        assert rig.appender.probes == 1  # cached for a second
        rig.appender.failure = LogFull("the disk is full")
        rig.advance(1.5)
        unready = rig.ask("GET", "/health/ready")
        assert unready.status == 503
        assert "the disk is full" in unready.json["reason"]
        rig.appender.failure = None
        rig.advance(1.5)
        assert rig.ask("GET", "/health/ready").status == 200
        rig.snapshot = None
        assert "snapshot" in rig.ask("GET", "/health/ready").json["reason"]
        assert rig.ask("GET", "/health/live").status == 200
        assert rig.ask("GET", "/health/other").status == 404
        assert rig.appender.stored == 0


def test_without_a_snapshot_events_are_told_to_come_again() -> None:
    with running_gateway() as rig:
        rig.snapshot = None
        reply = rig.post("/events/wallet", EVENT)
        assert (reply.status, reply.json["code"]) == (503, "not_loaded")
        assert int(reply.headers["retry-after"]) > 0


def test_a_failing_log_refuses_its_events_and_nothing_else() -> None:
    with running_gateway() as rig:
        rig.appender.failure = LogFailure("broken")
        reply = rig.post("/events/wallet", EVENT)
        assert (reply.status, reply.json["code"]) == (503, "unavailable")
        assert reply.headers["retry-after"] == str(LogFailure.retry_after_seconds)
        assert rig.ask("GET", "/health/live").status == 200
        assert rig.post("/events/wallet", b"no json").status == 400
        rig.appender.failure = ValueError("a defect of the log")
        assert rig.post("/events/wallet", EVENT).status == 503
        rig.appender.failure = None
        assert rig.post("/events/wallet", EVENT).status == 200
        assert rig.appender.stored == 1


def test_the_rate_of_an_app_is_429_with_whole_seconds_and_recorded() -> None:
    app = make_app("slow", Rate(events_per_second_max=2, burst=3))
    with running_gateway(clock=FakeClock(), snapshot=make_snapshot(app, make_app())) as rig:
        assert rig.post("/events/slow", b'{"users":["1","2","3"]}').status == 200
        reply = rig.post("/events/slow", b'{"users":["4"]}')
        assert (reply.status, reply.json["code"]) == (429, "rate_limited")
        assert reply.headers["retry-after"] == "1"
        assert rig.post("/events/wallet", EVENT).status == 200
        rig.advance(0.6)
        assert rig.post("/events/slow", b'{"users":["4"]}').status == 200
        rig.until(lambda: rig.appender.stored == 6, "the refusal is recorded")
        refusals = [r for r in rig.appender.decoded() if isinstance(r, AcceptedRefusal)]
        assert [(r.app, r.code, r.count) for r in refusals] == [("slow", "rate_limited", 1)]


def test_refusals_are_stored_without_the_answer_waiting_for_them() -> None:
    with running_gateway() as rig:
        rig.appender.gate.clear()
        reply = rig.post("/events/wallet", b'{"refuse":2}')
        assert reply.status == 400
        rig.appender.gate.set()
        rig.until(lambda: rig.appender.stored == 2, "both refusals are stored")
        rig.appender.failure = LogFailure("broken")
        assert rig.post("/events/wallet", b'{"refuse":1}').status == 400
        rig.until(lambda: not rig.gateway.inflight.requests, "idle")
        rig.appender.failure = None
        assert rig.post("/events/wallet", EVENT).status == 200
        rig.until(lambda: rig.appender.stored == 4, "the refusal came along with a later append")


def test_the_quick_head_is_the_one_that_every_other_answer_has() -> None:
    request_id, length = "7cb8b3f334b6-1", 157
    headers = [
        ("content-type", "application/json"),
        ("x-request-id", request_id),
        *cors_headers(None),
    ]
    assert format_plain_head(request_id, length) == format_head(200, headers, length)


@pytest.mark.parametrize("origin", [None, "https://shop.example"])
def test_a_yes_names_the_request_and_who_may_read_it(rig: Rig, origin: str | None) -> None:
    given = ("X-Request-Id: mine-2", *([f"Origin: {origin}"] if origin else []))
    reply = rig.post("/events/wallet", EVENT, *given)
    assert (reply.status, reply.headers["x-request-id"]) == (200, "mine-2")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["access-control-allow-origin"] == (origin or "*")
    assert reply.headers.get("vary") == ("Origin" if origin else None)
