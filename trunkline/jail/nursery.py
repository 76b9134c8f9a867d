"""The node's end of the zygote: starts it when it is first needed, and again when it is lost."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.jail.zygote import MESSAGE_BYTES_MAX, Failed, Spawn, Told
from trunkline.telemetry import jail as telemetry

START_SECONDS_MAX = 20.0
SPAWN_SECONDS_MAX = 5.0
_ENVIRONMENT = {  # all of it
    "PYTHONHASHSEED": "0",  # sets of text in one order, so that a retry equals the try
    "PYTHONPATH": str(Path(__file__).parent.parent.parent),  # the code that we are, from anywhere
}


class NurseryError(Exception):
    """No process could be had. The message says why."""


class Birth(Struct, frozen=True):
    """A process that was just forked: its id, its handle (a pidfd), our end of its socket."""

    pid: int
    handle: int
    socket: socket.socket


class Nursery:
    """Forks jailed processes off one zygote. One event loop, one caller at a time."""

    def __init__(self, machine: str, address_space_bytes: int) -> None:
        self._order = msgspec.json.encode(Spawn(machine, address_space_bytes))
        self._turn = asyncio.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The zygote's process id, where it runs."""
        return self._zygote.pid if self._zygote else None

    async def spawn(self) -> Birth:
        """Have a process forked. Raises `NurseryError`."""
        async with self._turn:
            try:
                return await self._spawn()
            except OSError as error:  # it was lost since the last time: once more, with a new one
                telemetry.zygote_failed(str(error) or type(error).__name__)
                await self._stop()
            try:
                return await self._spawn()
            except OSError as error:
                await self._stop()
                raise NurseryError(f"its process cannot be started: {error}") from error

    async def _spawn(self) -> Birth:
        control = self._control or await self._start()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            socket.send_fds(control, [self._order], [theirs.fileno()])
            told, handle = await _hear(control, SPAWN_SECONDS_MAX)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        if isinstance(told, Failed) or handle is None:
            ours.close()
            raise NurseryError(told.reason if isinstance(told, Failed) else "it has no handle")
        return Birth(told.pid, handle, ours)

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        with theirs:
            self._zygote = _start_zygote(theirs)
        told, _ = await _hear(ours, START_SECONDS_MAX)
        if isinstance(told, Failed):
            await self._stop()
            raise NurseryError(f"the jail's zygote does not start: {told.reason}")
        return ours

    async def close(self) -> None:
        """End the zygote, and with it every process that it forked."""
        async with self._turn:
            await self._stop()

    async def _stop(self) -> None:
        zygote, self._zygote = self._zygote, None
        control, self._control = self._control, None
        if control is not None:
            control.close()
        if zygote is not None:
            zygote.kill()
            await asyncio.to_thread(zygote.wait)


def _start_zygote(control: socket.socket) -> subprocess.Popen[bytes]:
    """Start it on this thread, which is the main one: it dies with the thread that made it."""
    program = [sys.executable, "-s", "-P", "-B", "-m", "trunkline.jail.zygote"]
    return subprocess.Popen(
        [*program, str(control.fileno()), str(os.getpid())],
        pass_fds=[control.fileno()],
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def _hear(control: socket.socket, seconds: float) -> tuple[Told, int | None]:
    """Wait for what the zygote says. Raises `OSError` when it is lost or late."""
    try:
        async with asyncio.timeout(seconds):
            await _readable(control)
    except TimeoutError:
        raise OSError(f"the zygote did not answer within {seconds:.0f} s") from None
    text, handles, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, 1)
    if not text:
        raise OSError("the zygote is gone")
    return msgspec.json.decode(text, type=Told), handles[0] if handles else None


async def _readable(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(control.fileno(), _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(control.fileno())


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
