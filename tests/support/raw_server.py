"""A receiver on loopback that answers with whatever bytes a test wants, well formed or not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

Handler = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One connection as the receiver sees it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.number = number  # which of the server's connections: 1 is the first
        self.head = b""

    async def read_head(self) -> None:
        """Read the head of a request, and nothing of its body."""
        self.head = await self._reader.readuntil(b"\r\n\r\n")

    async def read_request(self) -> bytes:
        """Read one request and return its body; the head is kept. `EOFError` at the end."""
        await self.read_head()
        for line in self.head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return await self._reader.readexactly(int(value))
        return b""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int = 200, headers: str = "", body: bytes = b"") -> None:
        await self.send(
            f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
        )

    def reset(self) -> None:
        """Close with a reset instead of an end."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Server:
    """What a test asks of a running receiver."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.asked = asyncio.Event()


@contextlib.asynccontextmanager
async def serve(
    handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Run a receiver; `handler` is called for each connection, which ends with it."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        number = server.connections
        server.asked.set()
        try:
            with contextlib.suppress(EOFError, OSError):
                await handler(Connection(reader, writer, number))
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serve_http(
    status: int = 200, headers: str = "", body: bytes = b"", *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Run a receiver that gives every request the same answer and remembers them."""
    running: list[Server] = []

    async def handle(connection: Connection) -> None:
        while True:
            received = await connection.read_request()
            running[0].requests.append((connection.head, received))
            await connection.answer(status, headers, body)

    async with serve(handle, tls=tls) as server:
        running.append(server)
        yield server
