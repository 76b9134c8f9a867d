"""The client for asyncio: the same calls, awaited. Nothing of it ever stops the event loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from trunkline_sdk.calls import Calls
from trunkline_sdk.client import Batch, QueuePath, Trunkline, WhenFull
from trunkline_sdk.entry import Entry
from trunkline_sdk.sender import Limits, OnRejected
from trunkline_sdk.wires import Wire


class AsyncTrunkline(Calls["Awaitable[str]"]):
    """`Trunkline` for asyncio; the same settings. A call takes its place in the queue when it is
    made; awaiting it says that it is queued (with a `queue_path`: on disk), or why not.

    Cancelling the wait does not take the event back. `on_rejected` is called on the sending thread:
    use `loop.call_soon_threadsafe` there.
    """

    def __init__(
        self,
        write_key: str = "",
        host: str = "",
        *,
        client: Trunkline | None = None,
        queue_path: QueuePath | None = None,
        when_full: WhenFull = "raise",
        on_rejected: OnRejected | None = None,
        flush_on_signals: bool = False,
        former_write_keys: Sequence[str] = (),
        compress: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Make one. `client`: speak through this one instead, a `TestClient` for example."""
        self._client = client or Trunkline(
            write_key, host, queue_path=queue_path, when_full=when_full, on_rejected=on_rejected,
            flush_on_signals=flush_on_signals, former_write_keys=former_write_keys,
            compress=compress, ssl_context=ssl_context, limits=limits,
        )  # fmt: skip
        # One thread keeps the order of the calls. Where a call cannot wait, none is needed.
        self._may_wait = queue_path is not None or when_full == "wait" or client is not None
        self._line: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def batch(self) -> AsyncBatch:
        """Return calls that are queued together, all or none, when the `async with` ends well."""
        return AsyncBatch(self, self._client)

    async def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the node has judged what was queued before; False when time ran out."""
        await self._after_calls()
        return await asyncio.to_thread(self._client.flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:
        """Send what waits and end; as `Trunkline.close`."""
        await self._after_calls()
        is_sent = await asyncio.to_thread(self._client.close, timeout)
        if self._line is not None:
            self._line.shutdown(wait=False)
        return is_sent

    async def __aenter__(self) -> AsyncTrunkline:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _tracking_route(self) -> str:
        return self._client._tracking_route  # pyright: ignore[reportPrivateUsage]

    def _register(self, wire: Wire) -> None:
        self._client._register(wire)  # pyright: ignore[reportPrivateUsage]

    def _accept(self, entry: Entry) -> Awaitable[str]:
        return self.put([entry], entry.message_id)

    def put(self, entries: Sequence[Entry], answer: str) -> asyncio.Future[str]:
        """Queue entries, all or none; the future is `answer`, or the error of the queue."""
        loop = asyncio.get_running_loop()

        def queue() -> str:
            self._client.put(entries)
            return answer

        if self._may_wait:
            return loop.run_in_executor(self._open_line(), queue)
        done: asyncio.Future[str] = loop.create_future()
        try:
            done.set_result(queue())
        except Exception as error:
            done.set_exception(error)
        return done

    def _open_line(self) -> ThreadPoolExecutor:
        if self._line is None or self._process != os.getpid():  # a thread does not survive a fork
            self._line, self._process = ThreadPoolExecutor(1, "trunkline-calls"), os.getpid()
        return self._line

    async def _after_calls(self) -> None:
        if self._line is not None:
            await asyncio.get_running_loop().run_in_executor(self._open_line(), int)


class AsyncBatch(Batch):
    """Calls that are queued together. Made by `AsyncTrunkline.batch()`."""

    def __init__(self, line: AsyncTrunkline, client: Trunkline) -> None:
        super().__init__(client)
        self._line = line

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        entries, self.entries = self.entries, []
        if kind is None and entries:
            await self._line.put(entries, "")
