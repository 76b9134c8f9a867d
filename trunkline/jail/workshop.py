"""Opens jailed processes for works: `JailWorkshop` is what a node gives its forwarder.

    JailWorkshop ── Nursery ── zygote (a process that imported everything)
      └ JailShaper ── Cell ── Inmate ══ socket ══ worker (forked off the zygote, jailed, one work)

A process ends when its work is let go of, when the zygote dies, and the zygote when we do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from trunkline.jail.cell import Cell, Grounds, rest_idle
from trunkline.jail.nursery import Nursery
from trunkline.jail.shaper import JailShaper
from trunkline.jail.slots import Slots
from trunkline.kit.clock import Clock
from trunkline.kit.settings import JailSettings
from trunkline.kit.shaping import CodeHeld, Shaper, Work, Workshop
from trunkline.telemetry import jail as telemetry


class JailWorkshop(Workshop):
    """Jailed processes on this machine. Belongs to one event loop, on a process's main thread."""

    def __init__(
        self, settings: JailSettings, clock: Clock, nursery: Nursery | None = None
    ) -> None:
        self._nursery = nursery or Nursery(os.uname().machine, settings.address_space_bytes)
        self._grounds = Grounds(self._nursery, Slots(settings.workers_max), settings, clock)
        self._cells: set[Cell] = set()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's process id, where it runs."""
        return self._nursery.pid

    async def open(self, work: Work) -> Shaper:
        """Start a worker and load the work. Raises `PlaybookError`; `CodeHeld` without a jail."""
        _want_linux()
        cell = Cell(work, self._grounds)
        await cell.open()
        self._cells.add(cell)
        if self._sweeper is None:
            idle = self._grounds.settings.idle_seconds
            self._sweeper = asyncio.create_task(rest_idle(self._cells, self._grounds.clock, idle))
        return JailShaper(cell, self._cells.discard)

    async def close(self) -> None:
        """End all workers."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        for cell in list(self._cells):
            cell.rest()
        self._cells.clear()
        await self._nursery.close()


async def why_no_jail(settings: JailSettings, clock: Clock) -> str:
    """Return why this machine runs no code of operators; empty where it does."""
    workshop = JailWorkshop(settings, clock)
    try:
        await workshop.open(Work("doctor"))
    except CodeHeld as held:
        return str(held)
    finally:
        await workshop.close()
    return ""


def _want_linux() -> None:
    if sys.platform != "linux":
        reason = (
            f"no jail on {sys.platform}: code of operators runs on Linux only. Run the node there, "
            "or use a playbook without code"
        )
        telemetry.jail_missing(reason)
        raise CodeHeld(reason)
