"""Bodies that may be larger than memory: streamed to a file as they come, a few at a time.

Bytes are gathered to a MiB and written on a thread, so that a slow disk holds up nobody else and a
body takes a few MiB of memory, whatever its size. A body that breaks off, stalls, grows past the
limit or finds no room leaves nothing. Events go first: an upload ends while there is still room for
them, not when the disk is full.

The file stays held until it is closed; who wants it puts its name into the books before
(`state/spool.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from trunkline.gateway.bodies import BROKEN
from trunkline.gateway.exchange import Exchange
from trunkline.gateway.wire import WireClosed
from trunkline.kit.clock import Clock
from trunkline.kit.desk import ImportOrdered, Inquiry
from trunkline.kit.protocol import Decoded, Failure
from trunkline.state.spool import SpoolFile, free_bytes

T = TypeVar("T")

UPLOADS_MAX = 4  # at a time, of one gateway process
STALL_SECONDS = 60.0  # no byte for so long ends an upload
SECONDS_MAX = 6 * 3600.0  # all of it
FREE_BYTES_MIN = 268_435_456  # what an upload leaves for events
_PIECE_BYTES = 1_048_576
_THREADS = 2

_BUSY = Failure(
    "overloaded",
    503,
    f"{UPLOADS_MAX} files are being received already, and nothing of this one was stored. "
    "Send it again.",
    30,
)
_STALLED = Failure(
    "timeout",
    408,
    f"No byte came for {STALL_SECONDS:g} s, or the whole took over {SECONDS_MAX / 3600:g} h; "
    "nothing of the file was stored. Send it again.",
)
_STOPPING = Failure(
    "unavailable", 503, "This server stops; nothing of the file was stored. Send it again.", 5
)
_NO_ROOM = Failure(
    "unavailable",
    507,
    "There is no room for the file on this server; nothing of it was stored. "
    "Send it in smaller files, or ask who runs this server to make room.",
)
_OFF = Failure("unavailable", 503, "This server takes no files; ask another one.", 60)


class _Upload:
    """A body on its way in: the task that reads it, and since when it has waited for a byte."""

    def __init__(self, task: asyncio.Task[object], now: float) -> None:
        self.task = task
        self.until = now + SECONDS_MAX
        self.waits_since = now
        self.is_waiting = False
        self.cut: Failure | None = None

    def end(self, why: Failure) -> None:
        """End it, now where it waits for bytes, else when it would wait again."""
        if self.cut is None:
            self.cut = why
            if self.is_waiting:
                self.task.cancel()


class Spool:
    """Receives files for one gateway process. Make it inside the event loop."""

    def __init__(
        self,
        folder: Path | None,
        bytes_max: int,
        clock: Clock,
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> None:
        """Without a folder every file is refused."""
        self._folder = folder
        self._bytes_max = bytes_max
        self._clock = clock
        self._free_bytes_min = free_bytes_min
        self._uploads: set[_Upload] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="spool")

    @property
    def uploads(self) -> int:
        """How many files are being received."""
        return len(self._uploads)

    async def receive(self, exchange: Exchange) -> SpoolFile | Failure:
        """Return the whole body as a file, durable and held; or why there is none."""
        if self._folder is None:
            return _OFF
        obstacle = self._find_obstacle(exchange, self._folder)
        if obstacle is not None:
            return obstacle
        task = asyncio.current_task()
        assert task is not None
        upload = _Upload(task, self._clock.monotonic())
        self._uploads.add(upload)
        try:
            return await self._receive(exchange, upload, self._folder)
        finally:
            self._uploads.discard(upload)

    def cut_stalled(self) -> None:
        """End what brought no byte for too long. Call it every second or so."""
        now = self._clock.monotonic()
        for upload in self._uploads:
            is_stalled = upload.is_waiting and now - upload.waits_since >= STALL_SECONDS
            if is_stalled or now >= upload.until:
                upload.end(_STALLED)

    def cut_all(self) -> None:
        """End all of them: the process stops."""
        for upload in self._uploads:
            upload.end(_STOPPING)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False)

    def _find_obstacle(self, exchange: Exchange, folder: Path) -> Failure | None:
        declared = int(exchange.headers.get("content-length", "0"))
        if declared > self._bytes_max:
            return self._too_large()
        if len(self._uploads) >= UPLOADS_MAX:
            return _BUSY
        if free_bytes(folder) - declared < self._free_bytes_min:
            return _NO_ROOM
        return None

    async def _receive(
        self, exchange: Exchange, upload: _Upload, folder: Path
    ) -> SpoolFile | Failure:
        file: SpoolFile | None = None
        is_whole = False
        try:
            file = SpoolFile(folder)
            failure = await self._fill(file, exchange, upload)
            if failure is not None:
                return failure
            await self._in_thread(file.seal)
            is_whole = True
            return file
        except OSError:  # no room by a quota or by others, or a disk that fails: all the same here
            return _NO_ROOM
        finally:
            if file is not None and not is_whole:
                file.remove()
                file.close()

    async def _fill(self, file: SpoolFile, exchange: Exchange, upload: _Upload) -> Failure | None:
        """Write the body into a file; return why it is not whole."""
        gathered = bytearray()
        pieces = aiter(exchange.proto)
        while True:
            piece = await self._next(pieces.__anext__, upload)
            if isinstance(piece, Failure):
                return piece
            if piece is None:
                break
            gathered += piece
            if len(gathered) >= _PIECE_BYTES:
                failure = await self._write(file, gathered)
                if failure is not None:
                    return failure
                gathered = bytearray()
        failure = await self._write(file, gathered)
        declared = exchange.headers.get("content-length")
        is_short = declared is not None and file.size != int(declared)
        return failure or (BROKEN if is_short else None)

    async def _next(
        self, read: Callable[[], Awaitable[bytes]], upload: _Upload
    ) -> bytes | Failure | None:
        """Return the next piece, None at the end, or why no more is read."""
        if upload.cut is not None:
            return upload.cut
        upload.waits_since = self._clock.monotonic()
        upload.is_waiting = True
        try:
            return await read()
        except StopAsyncIteration:
            return None
        except WireClosed:
            return BROKEN
        except asyncio.CancelledError:
            if upload.cut is None:
                raise
            upload.task.uncancel()
            return upload.cut
        finally:
            upload.is_waiting = False

    async def _write(self, file: SpoolFile, data: bytearray) -> Failure | None:
        if file.size + len(data) > self._bytes_max:
            return self._too_large()
        if free_bytes(file.path.parent) - len(data) < self._free_bytes_min:
            return _NO_ROOM
        await self._in_thread(lambda: file.write(bytes(data)))
        return None

    async def _in_thread(self, call: Callable[[], T]) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait({working})  # nobody closes a file under the thread's hands
            raise

    def _too_large(self) -> Failure:
        return Failure(
            "payload_too_large",
            413,
            f"The file is larger than {self._bytes_max:,} bytes, the most that is taken at a time; "
            "nothing of it was stored. Send it in several, or compressed.",
        )


def with_file(decoded: Decoded, file: SpoolFile) -> Decoded:
    """Return what a request came to, its order with the file that was received."""
    inquiry = decoded.inquiry
    assert inquiry is not None and isinstance(inquiry.question, ImportOrdered)
    order = structs.replace(inquiry.question, file=file.path, digest=file.digest)
    return structs.replace(decoded, inquiry=Inquiry(order, inquiry.tell))
