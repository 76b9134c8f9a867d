"""The client: takes calls, queues them, and has them sent by a thread of its own."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Union

from trunkline_sdk import endings
from trunkline_sdk.calls import Calls
from trunkline_sdk.clock import monotonic
from trunkline_sdk.entry import Entry, tracking_route
from trunkline_sdk.errors import Closed, InvalidSetting, QueueFull
from trunkline_sdk.file_queue import FileQueue
from trunkline_sdk.queues import MemoryQueue, Queue
from trunkline_sdk.sender import Limits, OnRejected, Sender, rejection
from trunkline_sdk.transport import Transport
from trunkline_sdk.wires import TrackingWire, Wire, check_key

WhenFull = Literal["raise", "wait", "reject"]
WHEN_FULL = ("raise", "wait", "reject")
QueuePath = Union[str, "os.PathLike[str]"]


class Trunkline(Calls[str]):
    """Sends events to a Trunkline node. One a process, used from any thread. Raises
    `InvalidSetting`, `QueueFileError`.

    A call returns the event's message id as soon as the event is queued: in memory at once; with a
    `queue_path` when it is on disk, so that no crash loses it. `when_full` says what a call does
    when the queue holds as much as `limits` allow: `raise` QueueFull, `wait` for `wait_seconds`
    first, or `reject`: return, and tell `on_rejected`.

    `on_rejected` is called on the sending thread with what will never be stored; without it that is
    logged. `former_write_keys`: events that still wait under these are sent with the new key.
    """

    def __init__(
        self,
        write_key: str,
        host: str,
        *,
        queue_path: QueuePath | None = None,
        when_full: WhenFull = "raise",
        on_rejected: OnRejected | None = None,
        flush_on_signals: bool = False,
        former_write_keys: Sequence[str] = (),
        compress: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        if when_full not in WHEN_FULL:
            raise InvalidSetting(f"when_full is {when_full!r}; it is one of {WHEN_FULL}")
        self._host, self._compress, self._ssl_context = host, compress, ssl_context
        self._when_full = when_full
        self._on_rejected = on_rejected
        self._limits = limits or Limits()
        wires = _tracking_wires(write_key, former_write_keys)
        self._route = wires[0].route
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last = 0
        self._is_closed = False
        self._ended = threading.Event()
        self._wires: dict[str, Wire] = {wire.route: wire for wire in wires}
        self._sender = self._new_sender(self._open_queue(queue_path))
        endings.keep(self)
        if flush_on_signals:
            endings.flush_on_signals()
        if queue_path is not None:
            self._start()  # what a crash left behind goes on its way without a call

    def batch(self) -> Batch:
        """Return calls that are queued together, all or none, when the `with` block ends well.

        With a `queue_path` they share one sync of the disk.
        """
        return Batch(self)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the node has judged what was queued before; False when time ran out."""
        number = self._last
        if threading.current_thread() is self._thread:
            return False  # on_rejected asks: this thread is the one that would have to send
        is_alive = self._start()
        self.hasten()
        wait = self._sender.wait_until if is_alive else self._sender.send_here
        try:
            return wait(lambda: not self._holds(number), timeout)
        finally:
            self._sender.hurry.clear()

    def close(self, timeout: float | None = None) -> bool:
        """Send what waits and end. Say whether all was sent; later calls raise `Closed`.

        What is left stays in a queue file; what is left in memory goes to `on_rejected`.
        """
        seconds = self._limits.exit_seconds if timeout is None else timeout
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if not is_first:  # a signal and the end of the process may come together
            return self._ended.wait(seconds)
        try:
            return self._close(monotonic() + seconds)
        finally:
            self._ended.set()

    def _close(self, deadline: float) -> bool:
        is_sent = not self._holds(self._last) or self.flush(max(0.0, deadline - monotonic()))
        self._sender.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.1, deadline - monotonic()))
        left = self._queue.leave()
        endings.forget(self)
        message = "the client was closed before the node had answered; it may be stored or not"
        if left:
            self._sender.reject([rejection(one.entry, "not_sent", message) for one in left])
        return is_sent

    def hasten(self) -> None:
        """Send now what waits, without waiting for it."""
        self._sender.hurry.set()
        self._sender.news.set()

    def waiting(self) -> int:
        """Return how many events wait in the queue, those of other processes among them."""
        return self._queue.count()

    def __enter__(self) -> Trunkline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What the calls need

    @property
    def _tracking_route(self) -> str:
        return self._route

    def _register(self, wire: Wire) -> None:
        self._wires[wire.route] = wire

    def _accept(self, entry: Entry) -> str:
        self.put([entry])
        return entry.message_id

    def put(self, entries: Sequence[Entry]) -> None:
        """Queue entries, all or none. Raises `Closed`, `QueueFull`, `QueueFileError`."""
        if self._is_closed:
            raise Closed("the client is closed; make another, or close it later")
        try:
            self._put_or_wait(entries)
        except QueueFull as error:
            if self._when_full != "reject":
                raise
            self._sender.reject([rejection(one, "queue_full", str(error)) for one in entries])

    def _put_or_wait(self, entries: Sequence[Entry]) -> None:
        deadline = monotonic() + self._limits.wait_seconds
        while True:
            try:
                self._last = max(self._last, self._queue.put(entries))
                break
            except QueueFull:
                left = deadline - monotonic()
                if self._when_full != "wait" or left <= 0:
                    raise
                self._start()
                self.hasten()
                with self._sender.progress:
                    self._sender.progress.wait(min(left, 0.05))
        self._sender.news.set()
        self._start()

    def _holds(self, number: int) -> bool:
        return self._queue.holds(number, list(self._wires))

    # Thread and processes

    def _open_queue(self, path: QueuePath | None) -> Queue:
        self._queue: Queue = (
            MemoryQueue(self._limits.queue_events_max)
            if path is None
            else FileQueue(Path(path).absolute(), self._limits.queue_bytes_max)
        )
        return self._queue

    def _new_sender(self, queue: Queue) -> Sender:
        transport = Transport(
            self._host, timeout_seconds=self._limits.timeout_seconds, compress=self._compress,
            ssl_context=self._ssl_context,
        )  # fmt: skip
        sender = Sender(queue, transport, self._limits, self._on_rejected)
        sender.wires = self._wires
        return sender

    def _start(self) -> bool:
        """Have the sending thread run, or say that the interpreter allows no more of them."""
        if self._thread is not None:
            return True
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._sender.run, name="trunkline", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
        return True

    def before_fork(self) -> None:
        """Hold still, so that the child inherits nothing half-done."""
        self._lock.acquire()
        self._queue.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._queue.after_fork_in_parent()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on with a sender of the child's own; the parent sends what waited in memory."""
        self._queue.after_fork_in_child()
        self._thread = None
        self._sender = self._new_sender(self._queue)
        self._lock.release()


class Batch(Calls[str]):
    """Calls that are queued together. Made by `Trunkline.batch()`."""

    def __init__(self, client: Trunkline) -> None:
        self._client = client
        self.entries: list[Entry] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        entries, self.entries = self.entries, []
        if kind is None and entries:
            self._client.put(entries)

    @property
    def _tracking_route(self) -> str:
        return self._client._tracking_route  # pyright: ignore[reportPrivateUsage]

    def _register(self, wire: Wire) -> None:
        self._client._register(wire)  # pyright: ignore[reportPrivateUsage]

    def _accept(self, entry: Entry) -> str:
        self.entries.append(entry)
        return entry.message_id


def _tracking_wires(write_key: str, former: Sequence[str]) -> list[TrackingWire]:
    """Return the wire of the write key, and one for what waits under each former one."""
    if isinstance(former, str):
        raise InvalidSetting("former_write_keys is one text; give a list of keys, as in [key]")
    for key in former:
        check_key(key, "a key of former_write_keys")
    return [
        TrackingWire(write_key),
        *(TrackingWire(write_key, tracking_route(key)) for key in former),
    ]
