"""Health: alive while the process runs, ready while an event would become durable.

`ready` writes. A process that runs on a full disk, or whose disk hangs, is alive and not ready. The
write goes through the commit thread, behind the append that runs, just as an event would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkline.gateway.committer import Committer
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import Snapshot

PROBE_SECONDS_MAX = 5.0
CACHE_SECONDS = 1.0


class Health:
    """Answers whether this gateway process can do its work."""

    def __init__(
        self, committer: Committer, snapshot: Callable[[], Snapshot | None], clock: Clock
    ) -> None:
        self._committer = committer
        self._snapshot = snapshot
        self._clock = clock
        self._probing: asyncio.Task[str] | None = None
        self._probed_at = -CACHE_SECONDS
        self._fault = ""
        self.is_stopping = False

    async def find_fault(self) -> str:
        """Return why the process is not ready, or "" where it is."""
        if self.is_stopping:
            return "the gateway is stopping"
        if self._snapshot() is None:
            return "no catalog snapshot is loaded yet"
        if self._clock.monotonic() - self._probed_at < CACHE_SECONDS:
            return self._fault
        if self._probing is None:
            # One probe for all who ask meanwhile. It outlives who asked first: a probe that hangs
            # must not be joined by another one.
            self._probing = asyncio.create_task(self._probe())
        done, _ = await asyncio.wait({self._probing}, timeout=PROBE_SECONDS_MAX)
        if not done:
            return f"a durable write did not return within {PROBE_SECONDS_MAX:g} s"
        return self._fault

    async def _probe(self) -> str:
        failure = await self._committer.probe()
        self._fault = "" if failure is None else f"a durable write failed: {failure}"
        self._probed_at = self._clock.monotonic()
        self._probing = None
        return self._fault
