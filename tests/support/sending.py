"""Sending one request through the real sender, to a receiver on loopback or to nowhere."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest
import uvloop

from tests.support.raw_server import Handler, serve
from trunkline.forwarder.http import HttpSender, SendFailed
from trunkline.forwarder.resolver import Lookup
from trunkline.kit.clock import SystemClock
from trunkline.kit.destination import Request, Response

HOST = "hook.example"


def names(*addresses: str) -> Lookup:
    return lambda name: list(addresses)


def failing(code: int) -> Lookup:
    def lookup(name: str) -> Sequence[str]:
        raise socket.gaierror(code, "as told")

    return lookup


def request(url: str, body: bytes = b'{"a":1}', method: str = "POST") -> Request:
    return Request(method, url, (("Content-Type", "application/json"),), body)


async def send(
    url: str,
    *,
    lookup: Lookup | None = None,
    timeout_seconds: float = 5.0,
    allow_private: bool = True,
    given: Request | None = None,
) -> Response:
    sender = HttpSender(SystemClock(), lookup=lookup or names("127.0.0.1"))
    try:
        return await sender.send(
            given or request(url), timeout_seconds=timeout_seconds, allow_private=allow_private
        )
    finally:
        await sender.close()


def failure(url: str, **options: object) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        uvloop.run(send(url, **options))  # pyright: ignore[reportArgumentType]
    return caught.value


def against(handler: Handler, **options: object) -> Response:
    """Return what the sender makes of a receiver."""

    async def story() -> Response:
        async with serve(handler) as server:
            return await send(f"http://{HOST}:{server.port}/hook", **options)  # pyright: ignore[reportArgumentType]

    return uvloop.run(story())


def failure_against(handler: Handler, **options: object) -> SendFailed:
    with pytest.raises(SendFailed) as caught:
        against(handler, **options)
    return caught.value
