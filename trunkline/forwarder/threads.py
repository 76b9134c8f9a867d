"""Blocking work beside the event loop: one thread, one thing at a time, in order.

Engines take a `Threads` as they take a clock, so that the simulator runs everything in one thread.
The threads are daemons: one that hangs in somebody else's library cannot keep a node from stopping.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Worker(ABC):
    """Runs functions one after the other, away from the event loop."""

    @abstractmethod
    async def run(self, job: Callable[[], T]) -> T:
        """Run a function and return what it returns, or raise what it raises."""

    @abstractmethod
    def close(self) -> None:
        """Take nothing more."""


Threads = Callable[[str], Worker]


class WorkThread(Worker):
    """A worker on a thread of its own, started at its first job."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, job: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = job()
            except BaseException as error:
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(work)
        return await future

    def close(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            work()


def _tell(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[T],
    result: T | None,
    error: BaseException | None,
) -> None:
    def settle() -> None:
        if future.done():
            return  # who waited was cancelled
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # pyright: ignore[reportArgumentType] T may hold None

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
