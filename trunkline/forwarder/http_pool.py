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
SWEEP_SECONDS = 5.0


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
        self._sweeping: asyncio.TimerHandle | None = None
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
        connection = self._take_idle(peer)
        if connection is None:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + timeout_seconds
            connection = await self._connect(peer, min(timeout_seconds, CONNECT_SECONDS_MAX))
            timeout_seconds = deadline - loop.time()
        try:
            return await connection.ask(head, body, timeout_seconds)
        except asyncio.CancelledError:
            connection.end(Closing())  # an answer that nobody waits for must not be the next one's
            raise

    async def close(self) -> None:
        """Cut every connection; requests under way fail with `Closing`."""
        self._is_closed = True
        for connection in list(self._connections):
            connection.end(Closing())
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._tls is not None:
            await asyncio.wait({self._tls})

    # What connections tell: `http_connection.Keeper`.

    def freed(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request."""
        if self._idle_count >= IDLE_MAX or self._is_closed:
            connection.end(Closing())
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(connection.peer, []).append(connection)
        self._idle_count += 1
        if self._sweeping is None:
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep)

    def lost(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        idle = self._idle.get(connection.peer)
        if idle is not None and connection in idle:
            idle.remove(connection)
            self._forget_idle(connection.peer, idle)
        if connection in self._connections:
            self._connections.remove(connection)
            self._count(len(self._connections))

    def _take_idle(self, peer: Peer) -> HttpConnection | None:
        idle = self._idle.get(peer)
        if idle is None:
            return None
        connection = idle.pop()
        self._forget_idle(peer, idle)
        if asyncio.get_running_loop().time() - connection.idle_since > IDLE_SECONDS_MAX:
            connection.end(Closing())  # and the others are older still: the sweep has them soon
            return None
        return connection

    def _forget_idle(self, peer: Peer, idle: list[HttpConnection]) -> None:
        self._idle_count -= 1
        if not idle:
            del self._idle[peer]

    def _sweep(self) -> None:
        """Cut what nobody used for long."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS_MAX
        for idle in list(self._idle.values()):
            for connection in [each for each in idle if each.idle_since < oldest]:
                connection.end(Closing())
        if self._idle:
            self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep)

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
                    server_hostname=peer.host.rstrip(".") if tls else None,
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
