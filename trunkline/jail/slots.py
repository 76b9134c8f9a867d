"""How many jailed processes may live: past it the one that rested longest makes room."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from trunkline.kit.shaping import CodeHeld
from trunkline.telemetry import jail as telemetry

WAIT_SECONDS_MAX = 5.0


class Resident(ABC):
    """What has a process while it lives."""

    is_busy = False

    @abstractmethod
    def rest(self) -> None:
        """Let go of the process."""


class Slots:
    """The places for jailed processes."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._living: dict[Resident, None] = {}  # in the order of their last use
        self._freed = asyncio.Event()

    async def take(self, resident: Resident) -> None:
        """Take a place. Raises `CodeHeld` where all stay busy."""
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while len(self._living) >= self._places and not self._evict():
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise CodeHeld(
                f"all {self._places} jailed processes are busy; raise workers_max in [jail] of "
                "trunkline.toml"
            ) from None
        self._living[resident] = None
        telemetry.processes_live(len(self._living))

    def _evict(self) -> bool:
        idle = next((resident for resident in self._living if not resident.is_busy), None)
        if idle is None:
            return False
        idle.rest()
        return True

    def used(self, resident: Resident) -> None:
        """Note that a process is idle after work: it is the last to make room."""
        if self._living.pop(resident, self) is None:
            self._living[resident] = None
        self._freed.set()

    def give_back(self, resident: Resident) -> None:
        """Give a place back, where it has one."""
        if self._living.pop(resident, self) is None:
            telemetry.processes_live(len(self._living))
            self._freed.set()
