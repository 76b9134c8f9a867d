"""One connection to a receiver, HTTP/1.1: a request out, its answer in, one at a time.

llhttp parses on the event loop that wrote the request: no thread to wake, no interpreter's lock to
wait for (docs/decisions/0024-http-client.md says what that brought). Its callbacks note what they
saw. What a receiver may send is bounded: the head of an answer in bytes, its body in what is read
of it, all of it in time. A connection is used again only where the answer left nothing open: it was
whole, it said nothing of closing, the request had been taken to its end, and no byte came behind.
"""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

ANSWER_BYTES_MAX = 524_288  # a vendor that tells of 2,000 events one by one needs 250 bytes each
HEAD_BYTES_MAX = 131_072
_JOINED_BYTES_MAX = 65_536  # head and body below it go out as one piece


class Peer(NamedTuple):
    """Where a connection leads. `address` was checked; `host` is whom a certificate must name."""

    host: str
    address: str
    port: int
    is_tls: bool


class HttpAnswer(NamedTuple):
    """What came back. The body is cut at `ANSWER_BYTES_MAX`; interim answers (1xx) are left out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class BadAnswer(Exception):
    """What came is no answer of HTTP/1.1, or its head is too long."""


class Closed(Exception):
    """The receiver ended the connection before its answer was whole."""


class Closing(Exception):
    """We are closing."""


class Keeper(Protocol):
    """Who keeps connections (forwarder/http_pool.py)."""

    def freed(self, connection: HttpConnection) -> None:
        """It may be used again."""
        ...

    def lost(self, connection: HttpConnection) -> None:
        """It is gone."""
        ...


class HttpConnection(asyncio.Protocol):
    """A connection that was made, or is being made. Belongs to its event loop."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_head_bytes",
        "_headers",
        "_is_lost",
        "_keeper",
        "_loop",
        "_parser",
        "_status",
        "_transport",
        "_waiting",
        "deadline",
        "idle_since",
        "peer",
    )

    def __init__(self, peer: Peer, keeper: Keeper, loop: asyncio.AbstractEventLoop) -> None:
        self.peer = peer
        self.deadline = math.inf  # of the request under way, in the loop's time
        self.idle_since = 0.0  # the loop's time; written by its keeper
        self._keeper = keeper
        self._loop = loop
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[HttpAnswer] | None = None
        self._is_lost = False
        self._forget_answer()

    @property
    def is_usable(self) -> bool:
        """Say whether a request may be sent: connected, and not lost."""
        return self._transport is not None and not self._is_lost

    def ask(self, head: bytes, body: bytes, deadline: float) -> asyncio.Future[HttpAnswer]:
        """Send a request and return what becomes its answer.

        It fails with `Closed`, `BadAnswer`, or what the connection was lost by. Who keeps the
        connection ends it past its deadline, and so does who gives up waiting. One at a time.
        """
        assert self._transport is not None and self._waiting is None
        self._forget_answer()
        waiting = self._waiting = self._loop.create_future()
        self.deadline = deadline
        if len(head) + len(body) <= _JOINED_BYTES_MAX:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return waiting

    def end(self, error: Exception) -> None:
        """Cut the connection; the request that waits fails with `error`."""
        if not self._is_lost:
            self._is_lost = True
            self._parser = None  # it knows us: a cycle that a collector would have to find
            if self._transport is not None:
                self._transport.abort()
            self._keeper.lost(self)
        waiting = self._stop_waiting()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if self._is_lost:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        if self._waiting is None:  # nobody asked: whatever it is, it is no answer of ours
            self.end(BadAnswer())
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.end(BadAnswer(str(error)))
            return
        if not self._status:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.end(BadAnswer("its head is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and self._status and exc is None and not self._has_length():
            self._finish(keeps=False)  # the end of the connection is the end of such a body
        self.end(exc or Closed())

    # What the parser tells.

    def on_message_begin(self) -> None:
        if self._waiting is None:  # bytes behind the answer: nobody may take them for the next
            self.end(BadAnswer())

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # what comes later is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None:
            return
        status = parser.get_status_code()
        if status >= 200:
            self._status = status
        else:
            self._headers = []

    def on_body(self, body: bytes) -> None:
        if self._waiting is None:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes >= ANSWER_BYTES_MAX:
            self._finish(keeps=False)  # the rest of a huge answer is never received

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser is not None and self._waiting is not None and self._status:
            self._finish(keeps=parser.should_keep_alive())

    # One answer.

    def _forget_answer(self) -> None:
        self._status = 0  # 0: its head is not whole
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def _finish(self, *, keeps: bool) -> None:
        waiting = self._stop_waiting()
        assert waiting is not None and self._transport is not None
        body = b"".join(self._body) if self._body else b""
        answer = HttpAnswer(self._status, self._headers, body[:ANSWER_BYTES_MAX])
        if keeps and not self._transport.get_write_buffer_size():
            self._keeper.freed(self)
        else:
            self.end(Closed())
        if not waiting.done():
            waiting.set_result(answer)

    def _stop_waiting(self) -> asyncio.Future[HttpAnswer] | None:
        waiting, self._waiting = self._waiting, None
        self.deadline = math.inf
        return waiting

    def _has_length(self) -> bool:
        return any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )
