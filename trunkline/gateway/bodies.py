"""Reading a body within limits: bytes as sent, bytes decompressed, time, and what all hold.

Three ways, by what the sender says:

- A plain body that is in hand is taken as it is (`is_plain`): the hot path, in the engine.
- One that declares at most 64 KiB is collected: its bytes are counted before they come.
- Any other is read in pieces, each counted as it comes; what nobody has read yet is bounded by the
  server below.

Nothing below cuts a slow body: `cut_slow` cancels the reading task once its time is up.

An answer may be sent before the body was read. Going on to read it for a while lets a client that
writes first and reads afterwards see the answer instead of a reset connection.

A body that starts with gzip's magic bytes is decompressed although no header says so: no JSON text
can begin with them, so the one other choice is to refuse an event over a forgotten header.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Literal, TypeVar

from trunkline.gateway.exchange import Exchange
from trunkline.gateway.inflate import inflate
from trunkline.gateway.limits import InFlight
from trunkline.gateway.wire import Wire, WireClosed
from trunkline.kit.clock import Clock
from trunkline.kit.protocol import Failure, Route

T = TypeVar("T")

COLLECT_BYTES_MAX = 65_536
DISCARD_BYTES_MAX = 8 * 1024 * 1024
DISCARDS_MAX = 256
_THREAD_BYTES_MIN = 65_536  # compressed bodies above this are worth a hop to a thread

_GZIP_MAGIC = b"\x1f\x8b"
_ENCODINGS: dict[str, Literal["gzip", "deflate"]] = {
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
}

BROKEN = Failure(
    "bad_encoding",
    400,
    "The body broke off before its end; nothing of it was stored. Send it whole.",
)
OVERLOADED = Failure(
    "overloaded", 503, "This server holds as much as it may; nothing was stored. Send again.", 1
)


def is_plain(headers: Mapping[str, str], body: bytes, route: Route) -> bool:
    """Say whether a body that is in hand is small and can be taken as it is."""
    if route.method != "POST":
        return True
    return (
        len(body) <= COLLECT_BYTES_MAX
        and len(body) <= route.wire_bytes_max
        and "content-encoding" not in headers
        and body[:2] != _GZIP_MAGIC
    )


class Bodies:
    """Reads bodies for one gateway process."""

    def __init__(self, inflight: InFlight, seconds_max: float, clock: Clock) -> None:
        self._inflight = inflight
        self._seconds_max = seconds_max
        self._clock = clock
        self._loop = asyncio.get_running_loop()  # to ask for the task: finding it is a system call
        # Who reads, and until when. The limit is one for all, so the oldest stands first. The
        # deadline is set by `cut_slow`, not asked of the clock each time: it may be a turn late.
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._cut: set[asyncio.Task[Any]] = set()
        self._deadline = clock.monotonic() + seconds_max
        self._discards = 0
        self._timeout = Failure(
            "timeout",
            408,
            f"The body took more than {seconds_max:g} s to arrive; nothing was stored. Send again.",
        )

    @property
    def reading(self) -> int:
        """How many bodies are being read."""
        return len(self._reading)

    async def read(self, exchange: Exchange, route: Route) -> bytes | Failure:
        """Return the whole body, decompressed, or why there is none."""
        headers = exchange.headers
        declared = headers.get("content-length")
        if declared is None and "transfer-encoding" not in headers:
            return b""
        length = int(declared) if declared is not None else -1
        if length > route.wire_bytes_max:
            return _too_large(f"The body is {length:,} bytes", route.wire_bytes_max)
        if self._inflight.bytes + max(length, 0) > self._inflight.bytes_max:
            return OVERLOADED
        if not 0 <= length <= COLLECT_BYTES_MAX:
            body = await self._gather(exchange, route)
            if isinstance(body, Failure):
                return body
        else:
            self._inflight.bytes += length
            exchange.held += length
            body = await self._within_time(exchange.proto())
            if isinstance(body, Failure):
                return body
        encoding = headers.get("content-encoding")
        if encoding is None and body[:2] != _GZIP_MAGIC:
            return body
        return await self._decompress(exchange, route, body, encoding)

    def may_discard(self, exchange: Exchange) -> bool:
        """Say whether what is left of a body would be read after an early answer."""
        headers = exchange.headers
        # Who asked for 100-continue has sent nothing yet, and will not now.
        return (
            "expect" not in headers
            and int(headers.get("content-length", "0")) <= DISCARD_BYTES_MAX
            and self._discards < DISCARDS_MAX
        )

    async def discard(self, exchange: Exchange) -> None:
        """Read on after an early answer, within bounds, so that the client gets to read it."""
        if not self.may_discard(exchange):
            return
        self._discards += 1
        try:
            await self._within_time(_discard(exchange.proto))
        finally:
            self._discards -= 1

    def cut_slow(self) -> None:
        """End the reading of every body whose time is up. Call it every second or so."""
        now = self._clock.monotonic()
        self._deadline = now + self._seconds_max
        for task, deadline in list(self._reading.items()):
            if deadline > now:
                return
            self._cut_task(task)

    def cut_all(self) -> None:
        """End the reading of every body: the process stops."""
        for task in list(self._reading):
            self._cut_task(task)

    def _cut_task(self, task: asyncio.Task[Any]) -> None:
        if task not in self._cut:
            self._cut.add(task)
            task.cancel()

    async def _gather(self, exchange: Exchange, route: Route) -> bytes | Failure:
        return await self._within_time(self._gather_pieces(exchange, route))

    async def _gather_pieces(self, exchange: Exchange, route: Route) -> bytes | Failure:
        inflight = self._inflight
        body = bytearray()
        async for piece in exchange.proto:
            body += piece
            if len(body) > route.wire_bytes_max:
                return _too_large("The body is too large", route.wire_bytes_max)
            inflight.bytes += len(piece)
            exchange.held += len(piece)
            if inflight.bytes > inflight.bytes_max:
                return OVERLOADED
        return bytes(body)

    async def _decompress(
        self, exchange: Exchange, route: Route, body: bytes, encoding: str | None
    ) -> bytes | Failure:
        name = "gzip" if encoding is None else encoding.strip().lower()
        if name in ("identity", ""):
            return body
        known = _ENCODINGS.get(name)
        if known is None:
            return _unknown_encoding(name)
        bytes_max = route.inflated_bytes_max
        try:
            if len(body) < _THREAD_BYTES_MIN:
                inflated = inflate(body, known, bytes_max)
            else:
                inflated = await asyncio.to_thread(inflate, body, known, bytes_max)
        except ValueError as error:
            return Failure("bad_encoding", 400, f"{str(error).capitalize()}; nothing was stored.")
        if inflated is None:
            return _too_large("The decompressed body is too large", bytes_max)
        self._inflight.bytes += len(inflated)
        exchange.held += len(inflated)
        return inflated

    async def _within_time(self, reading: Awaitable[T]) -> T | Failure:
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._reading[task] = self._deadline
        try:
            return await reading
        except (asyncio.CancelledError, WireClosed) as error:
            return self._explain(task, error)
        finally:
            del self._reading[task]

    def _explain(self, task: asyncio.Task[Any], error: BaseException) -> Failure:
        if isinstance(error, WireClosed):
            return BROKEN
        if task not in self._cut:
            raise error
        self._cut.discard(task)
        task.uncancel()
        return self._timeout


async def _discard(proto: Wire) -> None:
    left = DISCARD_BYTES_MAX
    async for piece in proto:
        left -= len(piece)
        if left <= 0:
            return


def _too_large(what: str, bytes_max: int) -> Failure:
    return Failure(
        "payload_too_large",
        413,
        f"{what}; at most {bytes_max:,} bytes are accepted here. Send fewer or smaller events.",
    )


def _unknown_encoding(name: str) -> Failure:
    return Failure(
        "bad_encoding",
        415,
        f"Content-Encoding `{name[:40]}` is not known; send one of "
        f"{', '.join(_ENCODINGS)}, or no compression.",
    )
