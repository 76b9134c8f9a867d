"""The gateway's HTTP server by itself, with an application that says what it was asked.

Served in a thread, on the event loop of a node or on the standard one, with a clock that tests own.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from tests.support.gateway_rig import Client, Reply
from trunkline.gateway.http1 import HELD_BYTES_MAX
from trunkline.gateway.http1_intake import Fault
from trunkline.gateway.http1_request import HttpRequest
from trunkline.gateway.http1_server import HttpServer
from trunkline.gateway.wire import WireClosed
from trunkline.kit.clock import FakeClock

T = TypeVar("T")

WAIT_SECONDS = 60.0


class Asked:
    """The application: most paths are told what was asked.

    `/held` is read and answered when `gate` is set, `/unread` before its body, `/pieces` with the
    number of bytes that came in pieces, `/long` with a megabyte, `/file` with `file`. Of a body
    above a megabyte the size is told. What is whole is answered without a task, as a gateway does.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.requests: list[tuple[str, str, bytes]] = []
        self.broken = 0
        self.gate = asyncio.Event()
        self.file = Path()

    def begin(self, request: HttpRequest) -> Coroutine[Any, Any, None] | None:
        self.begun.append(request.path)
        if request.path == "/file":
            request.response_file(200, [], str(self.file))
            return None
        if request.path in ("/held", "/unread", "/pieces") or request.whole_body is None:
            return self._answer_later(request)
        self._tell(request, request.whole_body)
        return None

    def describe_fault(self, fault: Fault) -> tuple[list[tuple[str, str]], bytes]:
        return [("content-type", "application/json")], json.dumps(fault._asdict()).encode()

    async def _answer_later(self, request: HttpRequest) -> None:
        try:
            if request.path == "/held":
                await self.gate.wait()
            if request.path == "/unread":
                self._tell(request, b"")
                return
            if request.path == "/pieces":
                count = 0
                async for piece in request:
                    count += len(piece)
                self._tell(request, b"%d" % count)
                return
            body = await request()
            self._tell(request, body if len(body) < 1_000_000 else b"%d" % len(body))
        except WireClosed:
            self.broken += 1
            request.end_after()
            request.response_bytes(400, [], b"it broke off")

    def _tell(self, request: HttpRequest, body: bytes) -> None:
        self.requests.append((request.method, request.path, body))
        if request.path == "/long":
            request.response_bytes(200, [], b"x" * 1_048_576)
            return
        said = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string,
            "headers": request.headers,
            "client": request.client,
            "body": body.decode("latin-1"),
        }
        request.response_bytes(
            200, [("content-type", "application/json")], json.dumps(said).encode()
        )


class Http1Rig:
    """A server that runs."""

    def __init__(self, is_uvloop: bool, connections_max: int | None, held_bytes_max: int) -> None:
        self.clock = FakeClock()
        self.port = 0
        self.app: Asked
        self.server: HttpServer
        self.complaints: list[dict[str, Any]] = []
        self._limits = (connections_max, held_bytes_max)
        self._loop = uvloop.new_event_loop() if is_uvloop else asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._ready = threading.Event()
        self._clients: list[Client] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(WAIT_SECONDS)

    def client(self) -> Client:
        client = Client(self.port, WAIT_SECONDS)
        self._clients.append(client)
        return client

    def exchange(self, raw: bytes) -> tuple[list[Reply], bool]:
        """Send bytes, close our side, and return all answers; whether the server closed, too."""
        client = self.client()
        # The server may have had enough before all was sent.
        with suppress(ConnectionError):
            client.send(raw)
        with suppress(OSError):  # and then there is no connection any more
            client.socket.shutdown(socket.SHUT_WR)
        return self.rest(client)

    def rest(self, client: Client) -> tuple[list[Reply], bool]:
        """Return all answers until the server closes."""
        data = b""
        with suppress(ConnectionResetError):
            while piece := client.socket.recv(65_536):
                data += piece
        client.close()
        return split_replies(data), True

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """Call in the server's loop."""

        async def calling() -> T:
            return function()

        return self.run(calling())

    def advance(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        tick = threading.Event()
        for _ in range(int(WAIT_SECONDS * 100)):
            if self.call(is_so):
                return
            tick.wait(0.01)
        raise AssertionError(f"waited in vain: {what}")

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self._thread.is_alive():
            self.call(self._ended.set)
            self._thread.join(WAIT_SECONDS)
        assert not self.complaints, self.complaints

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _main(self) -> None:
        self._ended = asyncio.Event()
        self.app = Asked()
        self.server = HttpServer(self.app, self.clock, *self._limits)
        self.port = self.server.listen("127.0.0.1", 0)
        self._ready.set()
        await self._ended.wait()
        await self.server.close()
        assert await self.server.wait_empty(WAIT_SECONDS)


def split_replies(data: bytes) -> list[Reply]:
    """Split what a server sent into its answers; each says how long it is."""
    replies: list[Reply] = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark, head
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}
        size = int(headers.get("content-length", "0"))
        assert len(data) >= size, (head, len(data))
        replies.append(Reply(int(first.split()[1]), headers, data[:size]))
        data = data[size:]
    return replies


@contextmanager
def running_http1(
    is_uvloop: bool = True,
    connections_max: int | None = None,
    held_bytes_max: int = HELD_BYTES_MAX,
) -> Iterator[Http1Rig]:
    """Serve for the time of a `with`; nothing may have been thrown into the event loop."""
    rig = Http1Rig(is_uvloop, connections_max, held_bytes_max)
    rig.start()
    try:
        yield rig
    finally:
        rig.close()
