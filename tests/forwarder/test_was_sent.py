"""A failed request says whether the vendor may have it: only a certain no is a no."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.support.raw_server import Connection, Handler, serve
from tests.support.sending import HOST, failing, failure, failure_against, names, send
from trunkline.forwarder.failures import SendFailed


async def _never(connection: Connection) -> None:
    await connection.read_request()
    await asyncio.sleep(60)


async def _reset(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def _end(connection: Connection) -> None:
    await connection.read_request()


async def _half(connection: Connection) -> None:
    await connection.read_request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")


@pytest.mark.parametrize("handler", [_never, _reset, _end, _half])
def test_a_request_whose_answer_was_lost_may_have_arrived(handler: Handler) -> None:
    failed = failure_against(handler, timeout_seconds=1.0)
    assert (failed.was_sent, failed.is_unsent) == (True, False)


def _refused() -> SendFailed:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return failure(f"http://{HOST}:{port}/")


UNSENT: list[Callable[[], SendFailed]] = [
    _refused,
    lambda: failure(f"http://{HOST}/", lookup=failing(socket.EAI_AGAIN)),
    lambda: failure(f"http://{HOST}/", lookup=failing(socket.EAI_NONAME)),
    lambda: failure(f"http://{HOST}/", lookup=names("10.0.0.1"), allow_private=False),
    lambda: failure("nonsense"),
    lambda: failure(f"http://{HOST}/{'x' * 40_000}"),
]


@pytest.mark.parametrize("fail", UNSENT)
def test_a_request_that_never_left_did_not_arrive(fail: Callable[[], SendFailed]) -> None:
    assert not fail().was_sent


def test_a_receiver_that_speaks_no_tls_was_sent_nothing() -> None:
    async def garbage(connection: Connection) -> None:
        await connection.send(b"220 mail.example ready\r\n")
        await asyncio.sleep(1)

    async def story() -> SendFailed:
        async with serve(garbage) as server:
            with pytest.raises(SendFailed) as caught:
                await send(f"https://{HOST}:{server.port}/")
            return caught.value

    assert not asyncio.run(story()).was_sent
