"""Connections to receivers: what is used again, what never is, and what bounds them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.certificates import self_signed
from tests.support.raw_server import Connection, Handler, Server, serve, serve_http
from tests.support.sending import HOST, against, failure, names, send
from trunkline.forwarder import http_pool
from trunkline.forwarder.http import HttpSender
from trunkline.forwarder.http_connection import ANSWER_BYTES_MAX, HttpConnection, Peer
from trunkline.forwarder.http_pool import HttpPool
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Request, Response
from trunkline.model.outcome import Retry

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[object]], object]:
    """Either event loop: a node has uvloop, `trunkline destination test` may not."""
    return request.param


class _Sending:
    """A sender and one receiver, for several requests in a row."""

    def __init__(self, sender: HttpSender, server: Server, scheme: str = "http") -> None:
        self.sender = sender
        self.server = server
        self._url = f"{scheme}://{HOST}:{server.port}/"

    async def post(self, body: bytes = b"{}", method: str = "POST") -> Response:
        asked = Request(method, self._url, (), body)
        return await self.sender.send(asked, timeout_seconds=10, allow_private=True)

    async def until_empty(self) -> None:
        """Wait until no connection is left."""
        for _ in range(3000):
            if not len(self.pool):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.pool)} connections are left")

    @property
    def pool(self) -> HttpPool:
        return self.sender._pool  # pyright: ignore[reportPrivateUsage]


async def _with(
    handler: Handler, story: Callable[[_Sending], Awaitable[object]], **options: object
) -> None:
    sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))
    async with serve(handler, **options) as server:  # pyright: ignore[reportArgumentType]
        try:
            await story(_Sending(sender, server))
        finally:
            await sender.close()


def _answering(*answers: bytes) -> Handler:
    """A receiver that gives these, one for each request of a connection, and then the last."""

    async def handle(connection: Connection) -> None:
        given = list(answers)
        while True:
            await connection.read_request()
            await connection.send(given.pop(0) if len(given) > 1 else given[0])

    return handle


def test_requests_one_after_the_other_share_a_connection(
    run: Callable[[Awaitable[object]], object],
) -> None:
    async def story(to: _Sending) -> None:
        for number in range(5):
            assert (await to.post(b"x" * number)).body == b"ok"
        assert (to.server.connections, len(to.pool)) == (1, 1)

    run(_with(_answering(OK), story))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 500 Surprise\r\nContent-Length: 0\r\n\r\n",
        OK + b"\r\n\r\njunk",
    ],
    ids=["close", "HTTP/1.0", "a second answer", "junk behind"],
)
def test_a_connection_that_left_something_open_is_not_used_again(
    answer: bytes, run: Callable[[Awaitable[object]], object]
) -> None:
    async def story(to: _Sending) -> None:
        for _ in range(3):
            response = await to.post()
            assert (response.status, response.body) == (200, b"ok")
        assert to.server.connections == 3
        assert len(to.pool) == 0

    run(_with(_answering(answer), story))


def test_a_connection_that_the_receiver_closed_meanwhile_is_not_used() -> None:
    async def once(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK)

    async def story(to: _Sending) -> None:
        for number in range(1, 4):
            assert (await to.post()).status == 200
            await to.until_empty()
            assert to.server.connections == number

    uvloop.run(_with(once, story))


def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    async def chatty(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(OK)
        await asyncio.sleep(0.05)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asyncio.sleep(30)

    async def story(to: _Sending) -> None:
        assert (await to.post()).body == b"ok"
        await to.until_empty()
        assert (await to.post()).body == b"ok"
        assert to.server.connections == 2

    uvloop.run(_with(chatty, story))


def test_an_interim_answer_is_not_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"

    async def story(to: _Sending) -> None:
        for _ in range(2):
            response = await to.post()
            assert (response.status, response.body) == (200, b"ok")
            assert dict(response.headers) == {"content-length": "2"}
        assert to.server.connections == 1

    uvloop.run(_with(_answering(interim + OK), story))


def test_a_switch_of_protocols_is_no_answer() -> None:
    switch = b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"

    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(switch)
        await asyncio.sleep(30)

    async def story() -> None:
        async with serve(handle) as server:
            failed = await asyncio.to_thread(failure, f"http://{HOST}:{server.port}/")
            assert failed.outcome == Retry("bad answer")

    uvloop.run(story())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nRetry-After: 9\r\n\r\n",
            b"abcde",
        ),
    ],
    ids=["until the end", "204", "chunked"],
)
def test_a_body_ends_where_its_framing_says(answer: bytes, body: bytes) -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        await connection.send(answer)

    response = against(handle)
    assert (response.body, response.after_seconds) == (body, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=12), st.binary(max_size=300))
def test_however_an_answer_is_cut_into_pieces_it_is_the_same(cuts: list[int], body: bytes) -> None:
    head = f"HTTP/1.1 207 Multi\r\nX-A: 1\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body

    async def story() -> None:
        connection, transport = HttpConnection(PEER, _Keeper(), asyncio.get_running_loop()), _Wire()
        connection.connection_made(transport)
        asked = connection.ask(b"POST / HTTP/1.1\r\n\r\n", b"", 9e9)
        at = 0
        for cut in [*cuts, len(whole)]:
            if at < len(whole):
                connection.data_received(whole[at : at + cut])
                at += cut
        answer = await asked
        assert (answer.status, answer.body) == (207, body)
        assert answer.headers[0] == (b"X-A", b"1")
        connection.end(ConnectionResetError())

    asyncio.run(story())


def test_an_answer_before_the_request_is_out_is_taken_and_the_connection_is_not_used_again() -> (
    None
):
    async def hasty(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(30)

    async def story(to: _Sending) -> None:
        for number in (1, 2):
            assert (await to.post(b"x" * 30_000_000)).status == 413
            assert (to.server.connections, len(to.pool)) == (number, 0)

    uvloop.run(_with(hasty, story))


def test_a_large_body_arrives_whole(run: Callable[[Awaitable[object]], object]) -> None:
    body = bytes(range(256)) * 40_000

    async def story() -> None:
        sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))
        async with serve_http() as server:
            assert (await _Sending(sender, server).post(body)).status == 200
            assert server.requests[0][1] == body
            await sender.close()

    run(story())


def test_who_gives_up_takes_the_connection_along() -> None:
    async def late(connection: Connection) -> None:
        await connection.read_request()
        if connection.number == 1:
            await asyncio.sleep(0.3)
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        await connection.send(OK)

    async def story(to: _Sending) -> None:
        given_up = asyncio.create_task(to.post())
        await to.server.asked.wait()
        await asyncio.sleep(0.05)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert len(to.pool) == 0
        assert (await to.post()).body == b"ok"

    uvloop.run(_with(late, story))


def test_connections_over_tls_are_used_again(
    tmp_path: Path, run: Callable[[Awaitable[object]], object]
) -> None:
    async def story() -> None:
        tls, pem = self_signed(tmp_path, HOST)
        sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"), trusted_pem=pem)
        async with serve_http(200, body=b"y" * 70_000, tls=tls) as server:
            to = _Sending(sender, server, "https")
            for _ in range(3):
                assert (await to.post(b"x" * 200_000)).body == b"y" * 70_000
            assert server.connections == 1
            await sender.close()

    run(story())


def test_idle_connections_are_bounded_and_grow_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "IDLE_MAX", 3)
    monkeypatch.setattr(http_pool, "SWEEP_SECONDS", 0.05)

    async def story(to: _Sending) -> None:
        for _ in range(2):
            await asyncio.gather(*(to.post() for _ in range(8)))
            assert len(to.pool) == 3
        monkeypatch.setattr(http_pool, "IDLE_SECONDS_MAX", 0.0)
        await to.until_empty()
        assert (await to.post()).status == 200

    uvloop.run(_with(_answering(OK), story))


def test_headers_of_the_connection_are_ours_and_an_operator_may_set_the_others() -> None:
    headers = (
        ("Connection", "upgrade"),
        ("Content-Length", "999"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "virtual.example"),
        ("User-Agent", "shop/1"),
        ("X-Twice", "a"),
        ("x-twice", "b"),
        ("X-Name", "سلام"),
    )

    async def story() -> bytes:
        async with serve_http() as server:
            url = f"http://{HOST}:{server.port}/"
            await send(url, given=Request("PUT", url, headers, b"abc"))
            return server.requests[0][0]

    lines = uvloop.run(story()).decode().split("\r\n")
    assert lines[0] == "PUT / HTTP/1.1"
    assert sorted(filter(None, lines[1:]), key=str.lower) == [
        "accept: */*",
        "content-length: 3",
        "Host: virtual.example",
        "User-Agent: shop/1",
        "X-Name: سلام",
        "X-Twice: a",
        "x-twice: b",
    ]


def test_a_request_without_a_body_says_so_where_one_is_expected() -> None:
    async def story() -> list[bytes]:
        async with serve_http() as server:
            sender = HttpSender(SystemClock(), lookup=names("127.0.0.1"))
            for method in ("GET", "POST"):
                await _Sending(sender, server).post(b"", method)
            await sender.close()
            return [head for head, _ in server.requests]

    get, post = uvloop.run(story())
    assert b"content-length" not in get
    assert b"content-length: 0\r\n" in post


def test_half_a_mebibyte_in_one_piece_is_cut_too() -> None:
    async def handle(connection: Connection) -> None:
        await connection.read_request()
        size = ANSWER_BYTES_MAX + 1000
        await connection.answer(200, "", b"z" * size)

    assert against(handle).body == b"z" * ANSWER_BYTES_MAX


PEER = Peer(HOST, "127.0.0.1", 80, False)


class _Keeper:
    def freed(self, connection: HttpConnection) -> None: ...

    def lost(self, connection: HttpConnection) -> None: ...


class _Wire(asyncio.Transport):
    def write(self, data: object) -> None: ...

    def abort(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0
