"""What a webhook sends: bodies, headers, signature, and which settings it refuses."""

from __future__ import annotations

import gzip
import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from trunkline.destinations.webhook import Webhook, WebhookSettings
from trunkline.kit.destination import Attempt, Mapped, Request, map_event
from trunkline.kit.http_out import OWN_HEADERS

ATTEMPT = Attempt(1_795_170_000_999, 3, "a/d", "delivery-7")
URL = "https://ops.example/hook"


def event(number: int) -> Mapped:
    return map_event({"messageId": f"m-{number}", "app": "a" * 15, "type": "track", "event": "ز"})


def build(count: int, **values: Any) -> Request:
    settings = msgspec.convert({"url": URL, **values}, WebhookSettings)
    return Webhook(settings).build([event(number) for number in range(count)], ATTEMPT)


def headers(request: Request) -> dict[str, str]:
    names = [name.lower() for name, _ in request.headers]
    assert len(names) == len(set(names))
    return dict(request.headers)


def problem(**values: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"url": URL, **values}, WebhookSettings)
    return str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_body_is_an_array_of_the_events_bytes(count: int) -> None:
    body = build(count).body
    assert body == b"[" + b",".join(event(number).body for number in range(count)) + b"]"
    assert len(msgspec.json.decode(body)) == count


def test_with_batches_of_one_the_body_is_the_event_itself() -> None:
    assert build(1, batch_events_max=1).body == event(0).body


def test_the_delivery_is_named_in_both_headers() -> None:
    sent = headers(build(2))
    assert sent["Idempotency-Key"] == sent["X-Trunkline-Delivery"] == "delivery-7"
    assert sent["Content-Type"] == "application/json"
    assert "X-Trunkline-Signature" not in sent


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_signature_covers_the_bytes_as_sent_and_the_second_of_the_attempt(
    is_packed: bool,
) -> None:
    request = build(3, secret="s3cret ☂", gzip=is_packed)
    signed = b"1795170000." + request.body
    expected = hmac.new("s3cret ☂".encode(), signed, hashlib.sha256).hexdigest()
    assert headers(request)["X-Trunkline-Signature"] == f"t=1795170000,v1={expected}"


def test_a_packed_body_unpacks_to_the_plain_one() -> None:
    request = build(50, gzip=True)
    assert headers(request)["Content-Encoding"] == "gzip"
    assert gzip.decompress(request.body) == build(50).body
    assert len(request.body) < len(build(50).body) / 3


def test_headers_of_the_operator_are_sent_beside_ours() -> None:
    request = build(1, headers={"Authorization": "Bearer t", "X-Team": "a\tb"})
    assert headers(request)["Authorization"] == "Bearer t"
    assert headers(request)["X-Team"] == "a\tb"


@pytest.mark.parametrize("name", [*sorted(OWN_HEADERS), "X-Trunkline-Other", "IDEMPOTENCY-key"])
def test_our_own_headers_cannot_be_overridden(name: str) -> None:
    assert "set by Trunkline" in problem(headers={name: "x"})


@pytest.mark.parametrize("name", ["Host", "Content-Length", "transfer-encoding", "Connection"])
def test_headers_of_the_connection_cannot_be_set(name: str) -> None:
    assert "belongs to the connection" in problem(headers={name: "x"})


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X\r\nY", "é", "x" * 129])
def test_a_header_name_that_is_none_is_refused(name: str) -> None:
    assert "no header name" in problem(headers={name: "x"})


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\0b", "é", "x" * 8193])
def test_a_header_value_that_cannot_be_sent_is_refused_without_showing_it(value: str) -> None:
    sentence = problem(headers={"X-Key": value})
    assert "X-Key" in sentence
    assert value not in sentence


def test_too_many_headers_and_one_header_twice_are_refused() -> None:
    assert "at most 64" in problem(headers={f"X-{n}": "x" for n in range(65)})
    assert "twice" in problem(headers={"X-A": "x", "x-a": "y"})


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ops.example/hook", "http:// or https://"),
        ("ftp://ops.example/", "http:// or https://"),
        ("https://", "name a host"),
        ("https:///path", "name a host"),
        ("https://ops.example:99999/", "valid host and port"),
        ("https://ops.example:x/", "valid host and port"),
        ("https://user:hunter2@ops.example/", "user name or password"),
        ("https://ops.example/a b", "space"),
        ("https://ops.example/\r\nX: y", "control character"),
        ("https://ops.example/\\@inside/", "no URL has"),
        ("https://ops.example/#part", "never sent"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_what_is_wrong(url: str, part: str) -> None:
    sentence = problem(url=url)
    assert part in sentence
    assert "hunter2" not in sentence


def test_a_url_is_required() -> None:
    with pytest.raises(msgspec.ValidationError, match="`url`"):
        msgspec.convert({}, WebhookSettings)


def test_methods_are_those_that_carry_a_body() -> None:
    assert build(1, method="PUT").method == "PUT"
    assert "GET" in problem(method="GET")
