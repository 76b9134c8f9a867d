"""Listening, and looking after all connections of one gateway process.

The listeners of several processes share the port with `SO_REUSEPORT`, so the kernel spreads
connections over them. Connections are accepted here, not by the event loop: at the limit it stops
accepting, and who comes waits in the kernel's queue instead of being turned away.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket

from trunkline.gateway.http1 import HELD_BYTES_MAX, Application, Connection, Shared
from trunkline.kit.addresses import ListenError
from trunkline.kit.clock import Clock
from trunkline.telemetry import gateway as telemetry

BACKLOG = 2048
CONNECTIONS_MAX = 65_536
TURN_SECONDS = 1.0
_SPARE_FILES = 128  # descriptors left to the log, bells and metrics
_ACCEPTED_A_TURN = 64


class HttpServer:
    """Serves an application on one port. Make it in the event loop that serves it."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        connections_max: int | None = None,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        """`connections_max` None: as many as there are descriptors for, at most 65,536."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._shared = Shared(application, self._loop, held_bytes_max)
        self._shared.connection_closed = self._connection_closed
        self._connections_max = connections_max or _count_descriptors()
        self._listener: socket.socket | None = None
        self._is_accepting = False
        self._opening: set[asyncio.Task[object]] = set()
        self._turns: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._take_time()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._shared.connections) + len(self._opening)

    @property
    def held_bytes(self) -> int:
        """What heads and requests that wait hold, in all connections."""
        return self._shared.held_bytes

    def listen(self, address: str, port: int) -> int:
        """Begin to take connections, and return the port. Raises `ListenError`."""
        try:
            self._listener = _listen(address, port)
        except OSError as error:
            raise ListenError(
                f"gateway.listen: {address}:{port} cannot be listened on ({error}); stop what "
                "uses it, or set another address"
            ) from error
        self._turns = self._loop.create_task(self._take_turns())
        self._go_on_accepting()
        return int(self._listener.getsockname()[1])

    def stop_soon(self) -> None:
        """Take no more connections, close idle ones, end the others when they are answered."""
        self._shared.is_stopping = True
        self._pause_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._shared.connections):
            connection.stop_soon()
        self._connection_closed()

    async def wait_empty(self, seconds_max: float) -> bool:
        """Wait until no connection is left; False where some are after so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds_max)
        return self._empty.is_set()

    async def close(self) -> None:
        """End what is left, at once."""
        self.stop_soon()
        for connection in list(self._shared.connections):
            connection.abort()
        tasks = {*self._shared.tasks, *self._opening, *({self._turns} if self._turns else ())}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=0.5)

    def look_after(self) -> None:
        """Do what is due once a second: the time, connections that take too long, new ones."""
        self._take_time()
        now = self._shared.now
        for connection in list(self._shared.connections):
            connection.look_after(now)
        self._go_on_accepting()

    def _take_time(self) -> None:
        self._shared.now = self._clock.monotonic()
        self._shared.closings.renew(self._clock.now_ms() / 1000)

    async def _take_turns(self) -> None:
        while True:
            await self._clock.sleep(TURN_SECONDS)
            try:
                self.look_after()
            except Exception as error:  # the edge of the loop: told, and the next turn is tried
                telemetry.housekeeping_broke(error)

    # Accepting.

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            if self._listener is None or not self._is_accepting:
                return
            if self.connections >= self._connections_max:
                self._pause_accepting()
                return
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._pause_accepting()  # no descriptor or memory is left: again in a second
                return
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        opening = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: Connection(self._shared), accepted)
        )
        self._opening.add(opening)
        opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled():
            opening.exception()  # the client is gone again: nobody needs to be told
        self._connection_closed()

    def _connection_closed(self) -> None:
        if self._shared.is_stopping:
            if not self.connections:
                self._empty.set()
        elif not self._is_accepting:
            self._go_on_accepting()

    def _go_on_accepting(self) -> None:
        if (
            self._listener is not None
            and not self._is_accepting
            and self.connections < self._connections_max
        ):
            self._is_accepting = True
            self._loop.add_reader(self._listener, self._accept)

    def _pause_accepting(self) -> None:
        if self._is_accepting and self._listener is not None:
            self._is_accepting = False
            self._loop.remove_reader(self._listener)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _count_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(CONNECTIONS_MAX, soft - _SPARE_FILES))
