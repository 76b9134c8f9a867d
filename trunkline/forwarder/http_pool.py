"""The connections that are kept: by host, checked address and port, bounded in number and time.

A connection leads to the address that was checked, so a name that changes its mind (DNS rebinding)
reaches nothing that was not. All destinations of a host share its connections. The one that was
used last is used first, so that the others grow old and go.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import certifi

from trunkline.forwarder.http_connection import Closing, HttpAnswer, HttpConnection, Peer

CONNECT_SECONDS_MAX = 4.0  # then the host's next address gets its chance within the same attempt
IDLE_SECONDS_MAX = 30.0
IDLE_MAX = 512  # in all; what is under way is bounded by the forwarder
LOOK_SECONDS = 0.05  # how late a deadline may be kept: a timer for each request costs 3 µs
SWEEP_SECONDS = 5.0  # how often idle connections are looked at


class ConnectFailed(Exception):
    """No connection was made, so nothing was sent. `cause` is what came in the way."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class HttpPool:
    """Sends requests on connections that it keeps. Belongs to the event loop it is used in.

    `trusted_pem` holds root certificates beside the system's. `count` is told how many connections
    there are, whenever that changed.
    """

    def __init__(
        self, *, trusted_pem: bytes | None = None, count: Callable[[int], None] = lambda _: None
    ) -> None:
        self._trusted_pem = trusted_pem
        self._count = count
        self._idle: dict[Peer, list[HttpConnection]] = {}
        self._idle_count = 0
        self._connections: set[HttpConnection] = set()
        self._tls: asyncio.Task[ssl.SSLContext] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_looking = False  # the timer is for requests, not just for idle connections
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._connections)

    async def send(
        self, peer: Peer, head: bytes, body: bytes, timeout_seconds: float
    ) -> HttpAnswer:
        """Send a request and return its answer.

        Raises `ConnectFailed` where nothing was sent, else as `HttpConnection.ask`, and `Closing`
        where the pool is closed.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + timeout_seconds
        connection = self._take_idle(peer, now)
        if connection is None:
            connection = await self._connect(peer, min(timeout_seconds, CONNECT_SECONDS_MAX))
        if not self._is_looking:
            self._look_later(LOOK_SECONDS)
        try:
            return await connection.ask(head, body, deadline)
        except asyncio.CancelledError:
            connection.end(Closing())  # an answer that nobody waits for must not be the next one's
            raise

    async def close(self) -> None:
        """Cut every connection; requests under way fail with `Closing`."""
        self._is_closed = True
        for connection in list(self._connections):
            connection.end(Closing())
        if self._timer is not None:
            self._timer.cancel()
        if self._tls is not None:
            await asyncio.wait({self._tls})

    # What connections tell: `http_connection.Keeper`.

    def freed(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request."""
        if self._idle_count >= IDLE_MAX or self._is_closed:
            connection.end(Closing())
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(connection.peer, []).append(connection)
        self._idle_count += 1

    def lost(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        idle = self._idle.get(connection.peer)
        if idle is not None and connection in idle:
            idle.remove(connection)
            self._forget_idle(connection.peer, idle)
        if connection in self._connections:
            self._connections.remove(connection)
            self._count(len(self._connections))

    def _take_idle(self, peer: Peer, now: float) -> HttpConnection | None:
        idle = self._idle.get(peer)
        if idle is None:
            return None
        connection = idle.pop()
        self._forget_idle(peer, idle)
        if now - connection.idle_since > IDLE_SECONDS_MAX:
            connection.end(Closing())  # and the others are older still: the next look has them
            return None
        return connection

    def _forget_idle(self, peer: Peer, idle: list[HttpConnection]) -> None:
        self._idle_count -= 1
        if not idle:
            del self._idle[peer]

    def _look_later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_looking = seconds == LOOK_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Cut what is past its deadline, and what nobody used for long."""
        self._timer = None
        self._is_looking = False
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            if connection.deadline <= now:
                connection.end(TimeoutError())
        for idle in list(self._idle.values()):
            for connection in [each for each in idle if now - each.idle_since > IDLE_SECONDS_MAX]:
                connection.end(Closing())
        if len(self._connections) > self._idle_count:
            self._look_later(LOOK_SECONDS)
        elif self._connections:
            self._look_later(SWEEP_SECONDS)

    async def _connect(self, peer: Peer, timeout_seconds: float) -> HttpConnection:
        loop = asyncio.get_running_loop()
        connection = HttpConnection(peer, self, loop)
        try:
            async with asyncio.timeout(timeout_seconds):
                tls = await self._context() if peer.is_tls else None
                await loop.create_connection(
                    lambda: connection,
                    peer.address,
                    peer.port,
                    ssl=tls,
                    server_hostname=peer.host.strip("[]").rstrip(".") if tls else None,
                )
        except (OSError, ValueError) as error:  # a time-out and all of TLS are an OSError, too
            raise ConnectFailed(error) from error
        if self._is_closed:
            connection.end(Closing())
            raise Closing
        self._connections.add(connection)
        self._count(len(self._connections))
        return connection

    async def _context(self) -> ssl.SSLContext:
        """Return what TLS goes by. Made once, on a thread: the root certificates take 10 ms."""
        if self._tls is None:
            making = asyncio.to_thread(_make_context, self._trusted_pem)
            self._tls = asyncio.create_task(making)
        # Shielded: one caller's end must not end the making for the others.
        return await asyncio.shield(self._tls)


def _make_context(trusted_pem: bytes | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:  # a container without the system's
        context.load_verify_locations(certifi.where())
    if trusted_pem is not None:
        context.load_verify_locations(cadata=trusted_pem.decode())
    context.set_alpn_protocols(["http/1.1"])
    return context
