"""The node's end of one jailed process: asks, waits no longer than the deadline, kills.

Nothing that the other end does can hold up the event loop: it is read as it comes, and cut off
at the first byte that is not due.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Sequence
from typing import cast

from trunkline.jail.frames import HEADER, Broken, Frame, Said, decode_said, frame_of
from trunkline.jail.nursery import Birth
from trunkline.telemetry.jail import Cause

# The deadline is the process's own CPU time, so that a busy machine kills no innocent code; a
# process that does nothing at all is killed after this many times the deadline.
PATIENCE = 4
_LOOK_SECONDS = 0.01


class Lost(Exception):
    """The process was killed, or died."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause: Cause = cause


class Oversize(Exception):
    """A request or an answer is larger than it may be; the process goes on."""


class Inmate(asyncio.Protocol):
    """One jailed process. One request at a time."""

    def __init__(self, birth: Birth, reply_bytes_max: int) -> None:
        self.pid = birth.pid
        self._handle = birth.handle
        self._reply_bytes_max = reply_bytes_max
        self._cpu_clock = ~birth.pid << 3 | 2  # as clock_getcpuclockid(3) makes it
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._number = 0
        self._waiting: asyncio.Future[Frame] | None = None
        self._lost: Lost | None = None

    @classmethod
    async def meet(cls, birth: Birth, reply_bytes_max: int, seconds: float) -> tuple[Inmate, Said]:
        """Take over a new process and hear what it says first. Raises `Lost`."""
        inmate = cls(birth, reply_bytes_max)
        answer = inmate._expect(0)
        try:
            await inmate._loop.create_unix_connection(lambda: inmate, sock=birth.socket)
            return inmate, await inmate._hear(answer, seconds)
        except BaseException:
            inmate.kill()
            raise

    @property
    def is_lost(self) -> bool:
        """Say whether it can be asked no more."""
        return self._lost is not None

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used. Raises `OSError` where it is gone."""
        return time.clock_gettime(self._cpu_clock)

    async def ask(self, message: bytes, parts: Sequence[bytes], seconds: float) -> Said:
        """Ask and return the answer. Raises `Lost`, now and ever after."""
        if self._lost is not None or self._transport is None:
            raise self._lost or Lost("death", "its process died")
        # A number that nobody guesses, so that no code can answer what was not asked yet.
        answer = self._expect(secrets.randbits(32))
        self._transport.write(frame_of(self._number, message, parts))
        return await self._hear(answer, seconds)

    def _expect(self, number: int) -> asyncio.Future[Frame]:
        self._number = number
        self._waiting = self._loop.create_future()
        return self._waiting

    async def _hear(self, answer: asyncio.Future[Frame], seconds: float) -> Said:
        watch = _Watch(self, answer, seconds)
        try:
            frame = await answer
            said = decode_said(frame.message, frame.parts)
        except ValueError as error:
            raise self._lose("forgery", f"its process said nonsense: {error}") from error
        except BaseException:  # also where the caller is cancelled: the answer would be astray
            self.kill()
            raise
        finally:
            watch.end()
        if isinstance(said, Broken):
            raise self._lose("death", f"its process broke down: {said.reason}")
        return said

    def late(self, seconds: float) -> None:
        """Be killed for not having answered."""
        self._lose("deadline", f"took longer than {seconds:g} s")

    def _lose(self, cause: Cause, reason: str) -> Lost:
        if self._lost is None:
            self._lost = Lost(cause, reason)
        self.kill()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._lost)
        self._waiting = None
        return self._lost

    def kill(self) -> None:
        """End the process, at once."""
        self._lost = self._lost or Lost("death", "its process was ended")
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            os.close(self._handle)
            self._handle = -1
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's name
        """End (asyncio): the process closed its end, or we did."""
        self._lose("death", "its process died (out of memory?)")

    def data_received(self, data: bytes) -> None:
        """Take what came (asyncio)."""
        if self._lost is not None:
            return
        if self._waiting is None:
            self._lose("forgery", "its process spoke without being asked")
        elif self._buffer or len(data) < HEADER.size:
            self._buffer += data
            if len(self._buffer) >= HEADER.size:
                self._look_at_frame(self._buffer, self._waiting)
        else:
            self._look_at_frame(data, self._waiting)

    def _look_at_frame(self, came: bytes | bytearray, waiting: asyncio.Future[Frame]) -> None:
        size, number, message_size = HEADER.unpack_from(came)
        end = HEADER.size + size
        if size > self._reply_bytes_max:
            self._lose("forgery", f"its process announced an answer of {size:,} bytes")
        elif number != self._number or len(came) > end or message_size > size:
            self._lose("forgery", "its process gave an answer to no question")
        elif len(came) < end:
            if came is not self._buffer:
                self._buffer += came
        else:
            parts_at = HEADER.size + message_size
            frame = Frame(number, bytes(came[HEADER.size : parts_at]), bytes(came[parts_at:]))
            self._buffer = bytearray()
            self._waiting = None
            if not waiting.done():
                waiting.set_result(frame)


class _Watch:
    """Kills an inmate at its deadline."""

    def __init__(self, inmate: Inmate, answer: asyncio.Future[Frame], seconds: float) -> None:
        self._inmate = inmate
        self._answer = answer
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._latest = self._loop.time() + seconds * PATIENCE
        self._began = self._cpu()
        self._timer = self._loop.call_later(seconds, self._look)

    def _cpu(self) -> float:
        try:
            return self._inmate.cpu_seconds()
        except OSError:  # it is gone; its socket says so in a moment
            return 0.0

    def _look(self) -> None:
        if self._answer.done():
            return
        left = self._seconds - (self._cpu() - self._began)
        if left <= _LOOK_SECONDS or self._loop.time() >= self._latest:
            self._inmate.late(self._seconds)
        else:
            self._timer = self._loop.call_later(left, self._look)

    def end(self) -> None:
        """Watch no more."""
        self._timer.cancel()
