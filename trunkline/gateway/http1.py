"""One connection of a client, HTTP/1.1: the order of requests, their answers, and its end.

`http1_intake.py` makes requests of bytes. One at a time is handed to the application, so a client
that pipelines is answered in order, and what it sends is stored in that order, too. A request is
handed over without a task; the application says whether it needs one.

Everything is bounded: heads (in bytes, headers, seconds), what is read of a body before somebody
asks for it, requests that wait, bytes that wait behind them, answers that nobody reads. Where there
is too much the connection is not read, and what cannot be answered any more is cut.

How a connection ends: after an answer that says so, when the client has closed its side and was
answered, by time, or by a fault. Where the client may still be sending it is shut for writing first
and read on for a while, since a reset would take the answer from the client's hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, BinaryIO, Protocol, cast

from trunkline.gateway.http1_answers import CONTINUE, Closings, format_head
from trunkline.gateway.http1_intake import (
    HEAD_SECONDS,
    HEAD_TOO_SLOW,
    TOO_MUCH_HELD,
    Fault,
    Intake,
)
from trunkline.gateway.http1_request import BODY_AHEAD_BYTES, HttpRequest

HELD_BYTES_MAX = 67_108_864  # of heads, bodies ahead and pipelined requests, in all connections
FILE_PIECE_BYTES = 262_144
IDLE_SECONDS = 75.0
UNREAD_SECONDS = 60.0  # how long a client may take nothing of its answer
UNREAD_SECONDS_MAX = 600.0  # how long it may take for all of it
LINGER_SECONDS = 3.0


class Application(Protocol):
    """What answers requests."""

    def begin(self, request: HttpRequest) -> Coroutine[Any, Any, None] | None:
        """Take a request, whose body may still be arriving. Never raises.

        Returns what goes on with it, to be run as a task, or None where its answer was sent or will
        be. The connection goes on when the answer was sent, the body is whole or not wanted, and
        what was returned has ended.
        """
        ...

    def describe_fault(self, fault: Fault) -> tuple[list[tuple[str, str]], bytes]:
        """Return headers and body of the answer to what is no request."""
        ...


class Shared:
    """What the connections of one server have in common. Belongs to its event loop."""

    def __init__(
        self,
        application: Application,
        loop: asyncio.AbstractEventLoop,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        self.application = application
        self.held_bytes_max = held_bytes_max
        self.loop = loop
        self.closings = Closings()
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self.now = 0.0  # seconds, renewed every second or so
        self.held_bytes = 0

    def connection_closed(self) -> None:
        """Called for each; the server that listens puts its own here."""


class Connection(asyncio.Protocol):
    """Keeps the order, answers, and knows when to end. It is the `Channel` of its requests."""

    __slots__ = (
        "_active",
        "_heads",
        "_held",
        "_intake",
        "_is_busy",
        "_is_last",
        "_is_lingering",
        "_is_lost",
        "_is_paused",
        "_is_peer_done",
        "_resumed",
        "_shared",
        "_since",
        "_stalled_since",
        "_transport",
        "_unread",
    )

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport
        self._intake = Intake(self)
        self._active: HttpRequest | None = None
        self._heads = 0  # how many had begun when it was looked after last
        self._held = 0  # how much of `held_bytes` is ours
        self._since = shared.now  # when what it is doing began
        self._stalled_since: float | None = None  # the client does not read what was written
        self._resumed: asyncio.Future[None] | None = None
        self._unread = 0  # of answers, when it was looked after last
        self._is_busy = False
        self._is_last = False  # nothing follows what is there
        self._is_lingering = False
        self._is_lost = False
        self._is_paused = False
        self._is_peer_done = False  # the client has closed its side

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: what uvloop gives is one by its methods only.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
        self._intake.client = f"{host}:{peer[1]}"
        self._shared.connections.add(self)
        if self._shared.is_stopping:
            self.stop_soon()

    def data_received(self, data: bytes) -> None:
        intake = self._intake
        intake.feed(data)
        if intake.waiting or intake.is_deaf:
            self._go_on()
        # The plain case is a request that came whole and was begun.
        if intake.current is not None or intake.in_head or self._held or intake.waiting:
            self._settle_reading()

    def eof_received(self) -> bool:
        """The client has closed its side: what came whole is answered."""
        self._is_peer_done = True
        self._intake.end()
        if self._is_lingering:
            self._transport.close()
        else:
            self._go_on()
        return not self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._is_lost = self._is_last = True
        self._intake.close()
        self._hold(0)
        self.resume_writing()
        self._shared.connections.discard(self)
        self._shared.connection_closed()

    def pause_writing(self) -> None:
        self._stalled_since = self._since = self._shared.now
        self._settle_reading()

    def resume_writing(self) -> None:
        self._stalled_since = None
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        if not self._is_lost:
            self._go_on()
            self._settle_reading()

    # Requests, one after the other.

    def _go_on(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            self._begin_waiting()
        finally:
            self._is_busy = False
        if self._active is not None or self._intake.waiting or self._is_lost:
            return
        if self._intake.fault is not None:
            self._answer_fault(self._intake.fault)
        elif self._is_last or self._intake.is_deaf:
            self._end()

    def _begin_waiting(self) -> None:
        intake = self._intake
        while self._active is None and self._stalled_since is None:
            if not intake.waiting:
                intake.feed_stash()
                if not intake.waiting:
                    return
            request = self._active = intake.waiting.pop(0)
            work = self._shared.application.begin(request)
            if work is not None:
                self._run(request, work)

    def _run(self, request: HttpRequest, work: Coroutine[Any, Any, None]) -> None:
        request.under_way += 1
        task = self._shared.loop.create_task(work)
        self._shared.tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._shared.tasks.discard(task)
            request.under_way -= 1
            if not self._is_lost and (task.cancelled() or task.exception() is not None):
                self._transport.abort()
            else:
                self._look_whether_over(request)

        task.add_done_callback(ended)

    def _look_whether_over(self, request: HttpRequest) -> None:
        if request.under_way or not request.is_answered or self._active is not request:
            return
        self._active = None
        self._since = self._shared.now
        if not request.keeps_alive or not request.is_whole:
            self._end(is_early=not request.is_whole)
        elif self._intake.waiting or self._held or self._is_last or self._intake.is_deaf:
            self._go_on()
            self._settle_reading()

    # What a request asks: `Channel`.

    def write_answer(self, request: HttpRequest, head: str, body: bytes) -> None:
        if not self._is_lost:
            start = (head + self._close_head(request)).encode("latin-1", "replace")
            self._transport.write(start + body if request.method != "HEAD" else start)
        self._look_whether_over(request)

    def write_file(self, request: HttpRequest, head: str, file: BinaryIO, size: int) -> None:
        self._run(request, self._send_file(request, head, file, size))

    def write_continue(self) -> None:
        if not self._is_lost:
            self._transport.write(CONTINUE)

    def body_changed(self) -> None:
        if self._is_paused:
            self._settle_reading()

    def _close_head(self, request: HttpRequest) -> str:
        closings, intake = self._shared.closings, self._intake
        if (self._is_last or intake.is_deaf) and not intake.waiting and intake.fault is None:
            request.keeps_alive = False
        if not request.keeps_alive:
            return closings.closing
        return closings.staying_old if request.is_old else closings.staying

    async def _send_file(self, request: HttpRequest, head: str, file: BinaryIO, size: int) -> None:
        left = 0 if request.method == "HEAD" else size
        with file:
            if self._is_lost:
                return
            self._transport.write((head + self._close_head(request)).encode("latin-1", "replace"))
            while left > 0 and not self._is_lost:
                piece = await asyncio.to_thread(file.read, min(left, FILE_PIECE_BYTES))
                if not piece:
                    self._transport.abort()  # it was promised longer: the client must see that
                    return
                left -= len(piece)
                self._transport.write(piece)
                if self._stalled_since is not None:
                    self._resumed = self._shared.loop.create_future()
                    await self._resumed

    def _answer_fault(self, fault: Fault) -> None:
        self._intake.fault = None
        headers, body = self._shared.application.describe_fault(fault)
        head = format_head(fault.status, headers, len(body)) + self._shared.closings.closing
        self._transport.write(head.encode("latin-1", "replace") + body)
        self._end(is_early=True)

    # Limits, and the end.

    def _settle_reading(self) -> None:
        """Pause or go on reading, and count what is held."""
        if self._is_lost or self._transport.is_closing():
            return
        intake = self._intake
        self._hold(intake.held_bytes)
        ahead = intake.current.ahead if intake.current is not None else 0
        wants_pause = not self._is_lingering and (
            intake.is_full or ahead > BODY_AHEAD_BYTES or self._stalled_since is not None
        )
        if wants_pause is not self._is_paused:
            self._is_paused = wants_pause
            if wants_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _hold(self, size: int) -> None:
        shared, grows = self._shared, size > self._held
        shared.held_bytes += size - self._held
        self._held = size
        if grows and shared.held_bytes > shared.held_bytes_max:
            self._intake.fail(TOO_MUCH_HELD)
            self._hold(0)
            self._go_on()

    def look_after(self, now: float) -> None:
        """End what has gone on for too long. Call it every second."""
        intake, waited = self._intake, now - self._since
        if self._is_lingering or self._transport.is_closing():
            if waited > (LINGER_SECONDS if self._is_lingering else UNREAD_SECONDS):
                self._transport.abort()
        elif self._stalled_since is not None:
            self._look_after_unread(now, now - self._stalled_since)
        elif self._active is not None or intake.waiting:
            return
        elif intake.in_head and self._heads != intake.heads:
            self._heads, self._since = intake.heads, now  # it has begun since we looked
        elif intake.in_head and waited > HEAD_SECONDS:
            intake.fail(HEAD_TOO_SLOW)
            self._go_on()
        elif not intake.in_head and waited > (IDLE_SECONDS if intake.heads else HEAD_SECONDS):
            self._end()

    def _look_after_unread(self, now: float, stalled: float) -> None:
        unread = self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._since = now
        self._unread = unread
        if now - self._since > UNREAD_SECONDS or stalled > UNREAD_SECONDS_MAX:
            self._transport.abort()

    def stop_soon(self) -> None:
        """Answer what was taken, and end. A body that is still arriving is waited for."""
        self._is_last = True
        if self._intake.current is None:
            self._intake.end()
        self._go_on()

    def abort(self) -> None:
        """End now, whatever is lost by it."""
        self._transport.abort()

    def _end(self, is_early: bool = False) -> None:
        """Close. `is_early`: the client may be sending, and must have time to read the answer."""
        if self._is_lost or self._is_lingering or self._transport.is_closing():
            return
        self._is_last = True
        self._intake.end()
        self._since = self._shared.now
        self._hold(0)
        if not is_early or self._is_peer_done:
            self._transport.close()
            return
        self._is_lingering = True
        try:
            self._transport.write_eof()
        except OSError:  # it is gone, and we are about to be told
            self._transport.abort()
        self._settle_reading()
