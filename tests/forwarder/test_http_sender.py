"""The HTTP sender against real receivers on loopback, good and bad."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from tests.support.raw_server import Connection, Handler, Server, serve, serve_http
from tests.support.sending import (
    HOST,
    against,
    failure,
    failure_against,
    names,
    request,
    send,
)
from trunkline.forwarder.http import ANSWER_BYTES_MAX, HttpSender, SendFailed
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.destination import Request, Response
from trunkline.model.outcome import Blocked, Retry


def test_a_request_arrives_as_it_was_built_and_its_answer_comes_back() -> None:
    async def story() -> tuple[Response, Server]:
        async with serve_http(201, "X-Id: 7\r\nSet-Cookie: a=b\r\nX-Id: 8\r\n", b"thanks") as s:
            url = f"http://{HOST}:{s.port}/hook?x=%20y"
            first = await send(url)
            return first, s

    response, server = uvloop.run(story())
    assert (response.status, response.body) == (201, b"thanks")
    assert response.headers["x-id"] == "7, 8"
    head, body = server.requests[0]
    assert body == b'{"a":1}'
    assert head.startswith(b"POST /hook?x=%20y HTTP/1.1\r\n")
    sent = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:] if line}
    assert sent == {b"content-type", b"content-length", b"user-agent", b"accept", b"host"}
    assert f"\r\nhost: {HOST}:".encode() in head.lower()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_never_followed(status: int) -> None:
    async def story() -> tuple[Response, int]:
        async with serve_http() as target:
            location = f"Location: http://127.0.0.1:{target.port}/\r\n"
            async with serve_http(status, location) as server:
                response = await send(f"http://{HOST}:{server.port}/")
            return response, target.connections

    response, connections = uvloop.run(story())
    assert (response.status, connections) == (status, 0)


def test_no_proxy_of_the_environment_and_no_cookie_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def story() -> list[bytes]:
        async with serve_http(200, "Set-Cookie: a=b; Path=/\r\n") as server:
            sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))
            for _ in range(2):
                url = f"http://{HOST}:{server.port}/"
                await sender.send(request(url), timeout_seconds=5, allow_private=True)
            await sender.close()
            return [head.lower() for head, _ in server.requests]

    first, second = uvloop.run(story())
    assert b"cookie" not in first + second


def test_a_packed_answer_is_not_unpacked() -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        assert b"accept-encoding" not in connection.head.lower()
        await connection.answer(200, "Content-Encoding: gzip\r\n", b"\x1f\x8bnot really")

    assert against(handle).body == b"\x1f\x8bnot really"


def test_a_receiver_that_never_answers_is_cut_at_the_timeout() -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await asyncio.sleep(30)

    begun = time.monotonic()
    assert failure_against(handle, timeout_seconds=0.3).outcome == Retry("timeout")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_a_receiver_that_drips_is_cut_at_the_timeout(head: bytes) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(head)
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 100:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.05)

    begun = time.monotonic()
    assert failure_against(handle, timeout_seconds=0.4).outcome == Retry("timeout")
    assert time.monotonic() - begun < 2


def test_of_a_huge_answer_half_a_mebibyte_is_read_and_the_rest_is_never_received() -> None:
    sent = 0

    async def handle(connection: Connection) -> None:
        nonlocal sent
        await connection.read_request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await connection.send(b"z" * 65_536)
            sent += 65_536

    response = against(handle)
    assert response.body == b"z" * ANSWER_BYTES_MAX
    assert sent < 50_000_000


async def _reset_after_read(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def _end_after_read(connection: Connection) -> None:
    await connection.read_request()


async def _end_within_body(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")


async def _end_within_chunk(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhalf")


async def _garbage(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b"SMTP ready, and the words Connection refused mean nothing here\r\n\r\n")


async def _endless_head(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await connection.send(b"X-More: " + b"y" * 60_000 + b"\r\n")


@pytest.mark.parametrize(
    ("handler", "causes"),
    [
        (_reset_after_read, {"connection reset"}),
        (_end_after_read, {"connection closed"}),
        (_end_within_body, {"connection closed"}),
        (_end_within_chunk, {"connection closed", "bad answer"}),
        (_garbage, {"bad answer"}),
        (_endless_head, {"bad answer"}),
    ],
)
def test_an_incomplete_or_senseless_answer_is_a_retry(handler: Handler, causes: set[str]) -> None:
    failed = failure_against(handler)
    assert failed.cause in causes
    assert failed.outcome == Retry(failed.cause)


def test_a_header_that_is_no_text_spoils_nothing() -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(
            b"HTTP/1.1 503 X\r\nX-Bad: \xff\xfe\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n"
        )

    response = against(handle)
    assert (response.status, response.after_seconds) == (503, 9.0)
    assert "x-bad" not in response.headers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("17", 17.0), ("Fri, 20 Nov 2026 10:21:00 GMT", 60.0), ("never", 0.0), ("999999", 86_400.0)],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str, seconds: float) -> None:
    async def story() -> float:
        async with serve_http(429, f"Retry-After: {value}\r\n") as server:
            sender = HttpSender(FakeClock(1_795_170_000_000), lookup=names("127.0.0.1"))
            url = f"http://{HOST}:{server.port}/"
            response = await sender.send(request(url), timeout_seconds=5, allow_private=True)
            await sender.close()
            return response.after_seconds

    assert uvloop.run(story()) == seconds


def test_a_header_that_cannot_be_sent_blocks_without_showing_it() -> None:
    given = Request("POST", f"http://{HOST}/", (("X-Key", "hunter2\r\nEvil: 1"),), b"")
    failed = failure("", given=given)
    assert failed.cause == "invalid request"
    assert isinstance(failed.outcome, Blocked)
    assert "hunter2" not in repr(failed) + str(failed.outcome)


def test_connections_are_shared_by_all_who_send_to_a_host() -> None:
    async def story() -> None:
        async with serve_http() as server:
            sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))

            async def one(i: int) -> None:
                url = f"http://{HOST}:{server.port}/destination/{i}"
                await sender.send(request(url), timeout_seconds=5, allow_private=True)

            for _ in range(5):
                await asyncio.gather(*(one(i) for i in range(20)))
            assert len(server.requests) == 100
            assert server.connections <= 20
            assert len(sender._pool) == server.connections  # pyright: ignore[reportPrivateUsage]
            await sender.close()

    uvloop.run(story())


def test_closing_ends_what_is_under_way_with_a_retry() -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await asyncio.sleep(30)

    async def story() -> SendFailed:
        async with serve(handle) as server:
            sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))
            url = f"http://{HOST}:{server.port}/"
            sending = asyncio.create_task(
                sender.send(request(url), timeout_seconds=20, allow_private=True)
            )
            await server.asked.wait()
            await sender.close()
            with pytest.raises(SendFailed) as caught:
                await sending
            return caught.value

    assert uvloop.run(story()).outcome == Retry("closing")
