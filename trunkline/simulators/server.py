"""HTTP for a simulator: a small server on loopback that can also break off, drip and hang.

It speaks HTTP/1.1 over plain sockets, because a reset after the last byte, half an answer or none
at all is what a web server is made never to do. Below `/_simulator` it tells what came:

    GET  /_simulator               counts, and the last complaints
    GET  /_simulator/taken?last=20 the last events taken
    POST /_simulator/faults        {"script": "throttled*3"}: what goes wrong from now on
    POST /_simulator/reset         as if nothing had come; the script ends
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

import msgspec
from msgspec import Struct

from trunkline.kit.clock import Clock
from trunkline.simulators.faults import Fault, Script, ScriptError, Served, serve
from trunkline.simulators.simulator import Ask, Complaint, Reply, Simulator
from trunkline.simulators.wire import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    Head,
    WireError,
    ask_of,
    bytes_of,
    read_head,
)

CONTROL = "/_simulator"
CONNECTIONS_MAX = 512
IDLE_SECONDS = 75.0  # a connection that says nothing is closed
HANG_SECONDS = 130.0  # longer than any destination waits
DRIP_SECONDS = 0.25  # from byte to byte
_COMPLAINTS_TOLD = 100
_TAKEN_TOLD = 1_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, no time: closing resets


class Seen(Struct, frozen=True):
    """A request that was dealt with. `status` is 0 where no whole answer was given."""

    method: str
    path: str
    status: int
    fault: str
    taken: int
    duplicates: int
    complaints: tuple[Complaint, ...]


class SimulatorServer:
    """Serves one simulator. `on_seen` is told of each request, on the server's event loop.

    `moment_ms`, where it is set, is the vendor's time instead of the clock's.
    """

    def __init__(
        self,
        simulator: Simulator,
        clock: Clock,
        *,
        script: str = "",
        moment_ms: int | None = None,
        on_seen: Callable[[Seen], None] | None = None,
    ) -> None:
        """Raises `ScriptError` where the script cannot be read."""
        self.simulator = simulator
        self.script = Script(script, simulator.own_faults)
        self.moment_ms = moment_ms
        self.requests = 0
        self.url = ""
        self._clock = clock
        self._on_seen = on_seen
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> str:
        """Listen on loopback, on any free port where 0 is given; return the URL."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", port, limit=HEAD_BYTES_MAX
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        """Stop listening, and end the connections that are open."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def set_script(self, text: str) -> None:
        """Let other requests go wrong from now on. Raises `ScriptError`."""
        self.script = Script(text, self.simulator.own_faults)

    def reset(self) -> None:
        """Forget all that came, and let nothing go wrong."""
        self.simulator = type(self.simulator)()
        self.script = Script()
        self.requests = 0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(EOFError, OSError, TimeoutError):
                while await self._serve_one(reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Deal with one request; say whether another may follow on this connection."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                head = await _read_head(reader)
                body = await _read_body(reader, writer, head)
            now_ms = self._clock.now_ms() if self.moment_ms is None else self.moment_ms
            ask = ask_of(head, body, now_ms)
        except WireError as error:
            self.simulator.complain("http", "request", str(error))
            reply = Reply(error.status, {"error": str(error)})
            await _send(writer, bytes_of(reply, closes=True))
            return False
        served = self._control(ask) if ask.path.startswith(CONTROL) else self._judge(ask)
        closes = served.manner != "whole" or not head.keeps_alive
        await self._give(writer, served, closes=closes)
        return not closes

    def _judge(self, ask: Ask) -> Served:
        """Ask the simulator, and tell what came of it."""
        vendor = self.simulator
        fault = None if ask.path in vendor.token_paths else self.script.next()
        before = (len(vendor.taken), vendor.duplicates, len(vendor.complaints))
        self.requests += 1
        try:
            served = serve(vendor, ask, fault)
        except Exception as error:  # a simulator's own mistake: told, and no reason to end
            vendor.complain("simulator", ask.path, f"{type(error).__name__}: {error}")
            served = Served(Reply(500, {"error": "the simulator failed in its own code"}))
        if self._on_seen is not None:
            self._on_seen(self._seen(ask, fault, served, before))
        return served

    def _seen(
        self, ask: Ask, fault: Fault | None, served: Served, before: tuple[int, int, int]
    ) -> Seen:
        vendor = self.simulator
        return Seen(
            ask.method,
            ask.path,
            served.reply.status if served.manner == "whole" else 0,
            fault.name if fault is not None else "",
            len(vendor.taken) - before[0],
            vendor.duplicates - before[1],
            tuple(vendor.complaints[before[2] :]),
        )

    def _control(self, ask: Ask) -> Served:
        match (ask.method, ask.path.removeprefix(CONTROL).strip("/")):
            case ("GET", ""):
                return Served(Reply(200, self._counts()))
            case ("GET", "taken"):
                last = ask.first("last")
                count = min(int(last), _TAKEN_TOLD) if last.isdigit() else _TAKEN_TOLD
                return Served(Reply(200, self.simulator.taken[-count:] if count else []))
            case ("POST", "faults"):
                return Served(self._take_script(ask))
            case ("POST", "reset"):
                self.reset()
                return Served(Reply(200, self._counts()))
            case _:
                return Served(Reply(404, {"error": f"no {ask.method} {ask.path}"}))

    def _counts(self) -> dict[str, object]:
        vendor = self.simulator
        return {
            "vendor": vendor.vendor,
            "requests": self.requests,
            "taken": len(vendor.taken),
            "duplicates": vendor.duplicates,
            "complaints": vendor.complaints[-_COMPLAINTS_TOLD:],
        }

    def _take_script(self, ask: Ask) -> Reply:
        try:
            self.set_script(msgspec.json.decode(ask.body, type=_NewScript).script)
        except (msgspec.MsgspecError, ScriptError) as error:
            return Reply(400, {"error": str(error)})
        return Reply(200, {"steps": self.script.left})

    async def _give(self, writer: asyncio.StreamWriter, served: Served, *, closes: bool) -> None:
        """Answer in the manner of the day."""
        data = bytes_of(served.reply, closes=closes)
        match served.manner:
            case "whole":
                await _send(writer, data)
            case "cut":
                await _send(writer, data[: len(data) // 2])
            case "drip":
                for byte in data[: int(HANG_SECONDS / DRIP_SECONDS)]:
                    await _send(writer, bytes([byte]))
                    await self._clock.sleep(DRIP_SECONDS)
            case "hang":
                await self._clock.sleep(HANG_SECONDS)
            case "reset":
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()


class _NewScript(Struct, frozen=True, forbid_unknown_fields=True):
    script: str


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _read_head(reader: asyncio.StreamReader) -> Head:
    try:
        return read_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError as error:
        raise WireError(431, f"the headers are above {HEAD_BYTES_MAX} bytes") from error


async def _read_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head
) -> bytes:
    length = head.length
    if head.headers.get("expect", "").lower() == "100-continue":
        await _send(writer, b"HTTP/1.1 100 Continue\r\n\r\n")
    return await _read_chunks(reader) if head.is_chunked else await reader.readexactly(length)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while True:
        line = (await _line_of(reader)).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError as error:
            raise WireError(400, f"{line[:20]!r} is no size of a chunk") from error
        if size < 0 or len(found) + size > BODY_BYTES_MAX:
            raise WireError(413, f"more than {BODY_BYTES_MAX} bytes of body")
        if size == 0:
            break
        found += await reader.readexactly(size)
        await _line_of(reader)
    while await _line_of(reader) != b"\r\n":  # trailers, which nobody reads
        pass
    return bytes(found)


async def _line_of(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError as error:
        raise WireError(431, "a line of a chunked body is too long") from error
    if not line.endswith(b"\n"):
        raise EOFError
    return line
