"""Who is to be woken when: one heap for all groups, so that an idle one costs nothing."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

from trunkline.kit.clock import Clock


class Tasks:
    """Running tasks. The first that fails makes `failed` fail, and with it the engine."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def end(self) -> None:
        """Cancel what still runs, and wait for its end."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if not self.failed.done():
            self.failed.cancel()
        elif not self.failed.cancelled():
            self.failed.exception()  # seen: who waits for it has raised it

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)


class Agenda:
    """Calls back at a time, in monotonic seconds."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._sleeps_until = float("inf")

    def at(self, due_at: float, call: Callable[[], None]) -> None:
        """Call at a time, or soon after."""
        self._count += 1
        heapq.heappush(self._entries, (due_at, self._count, call))
        if due_at < self._sleeps_until:
            self._sleep()

    def _sleep(self) -> None:
        due_at = self._entries[0][0]
        self._sleeps_until = due_at
        self._tasks.start(self._wake(due_at))

    async def _wake(self, due_at: float) -> None:
        await self._clock.sleep(max(0.0, due_at - self._clock.monotonic()))
        if due_at != self._sleeps_until:
            return  # another sleeper was set for an earlier time; it looks after the rest
        self._sleeps_until = float("inf")
        now = self._clock.monotonic()
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()
        if self._entries and self._entries[0][0] < self._sleeps_until:
            self._sleep()
