"""The one place that reads the time and sleeps. Engines take a `Clock`, so tests own time."""

from __future__ import annotations

import asyncio
import heapq
import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """Time as the engines see it."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return Unix time in milliseconds, UTC. It may jump."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return seconds that never go back; the zero means nothing."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abstractmethod
    def pause(self, seconds: float) -> None:
        """Wait, blocking the thread."""


class SystemClock(Clock):
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock(Clock):
    """A clock that stands still until it is advanced; sleepers wake in the order of their time."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = float(now_ms)
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._count, future))
        await future

    def pause(self, seconds: float) -> None:
        self._monotonic += seconds
        self._now_ms += seconds * 1000

    def jump(self, seconds: float) -> None:
        """Move the wall clock only, as an administrator or NTP does."""
        self._now_ms += seconds * 1000

    @property
    def next_wake(self) -> float | None:
        """Seconds until the first sleeper wakes, or None where nobody sleeps."""
        live = [entry for entry in self._sleepers if not entry[2].done()]
        return max(0.0, min(live)[0] - self._monotonic) if live else None

    async def advance(self, seconds: float) -> None:
        """Move on, waking each sleeper at its own time and letting it run."""
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._now_ms += max(0.0, due - self._monotonic) * 1000
            self._monotonic = max(self._monotonic, due)
            if not future.done():
                future.set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self._now_ms += (end - self._monotonic) * 1000
        self._monotonic = end
        for _ in range(5):
            await asyncio.sleep(0)
