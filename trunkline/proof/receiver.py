"""A receiver of webhooks that remembers what it got, and that can be told to misbehave."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any, Protocol

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server

from trunkline.kit.addresses import free_port

Headers = list[tuple[str, str]]

_ORDER = re.compile(r"/answer/([2-5][0-9][0-9])")
_EVENTS = msgspec.json.Decoder(list[dict[str, Any]])


class HttpProtocol(Protocol):
    """The part of Granian's RSGI protocol that is used here."""

    async def __call__(self) -> bytes:
        """Return the body."""
        ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer."""
        ...


class Receiver:
    """Counts the events it is sent, by messageId.

    `status` is what it answers; `fail_every` n above 0 answers every nth request 503 instead. What
    was answered with a failure is not counted as received. `POST /answer/503` from outside changes
    what it answers from then on.
    """

    def __init__(self, status: int = 200, fail_every: int = 0) -> None:
        self.status = status
        self.fail_every = fail_every
        self.requests = 0
        self.received: Counter[str] = Counter()
        self.last: dict[str, Any] | None = None
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self, port: int = 0) -> str:
        """Listen on loopback and return the URL to send to."""
        port = port or free_port("127.0.0.1")
        self._server = Server(
            self._handle, "127.0.0.1", port, interface=Interfaces.RSGI, websockets=False,
            log_enabled=False,
        )  # fmt: skip
        self._task = asyncio.create_task(self._server.serve())
        self.url = f"http://127.0.0.1:{port}/hook"
        await asyncio.sleep(0.2)  # noqa: TID251  Granian tells nobody when it listens
        return self.url

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None and self._task is not None:
            self._server.stop()
            await self._task
            self._server = None

    async def _handle(self, scope: Any, protocol: HttpProtocol) -> None:
        body = await protocol()
        order = _ORDER.fullmatch(scope.path)
        if order:
            self.status = int(order[1])
            say = f"answers {self.status} from now on\n".encode()
            protocol.response_bytes(200, [("content-type", "text/plain")], say)
            return
        self.requests += 1
        status = self.status
        if self.fail_every and self.requests % self.fail_every == 0:
            status = 503
        if 200 <= status < 300:
            self._remember(body)
        protocol.response_bytes(status, [("content-type", "text/plain")], b"ok\n")

    def _remember(self, body: bytes) -> None:
        for event in _EVENTS.decode(body if body[:1] == b"[" else b"[" + body + b"]"):
            # What a playbook made may hold no messageId; it is counted without a name.
            self.received[str(event.get("messageId", ""))] += 1
            self.last = event
