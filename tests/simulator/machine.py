"""The node of a run: both gateways, the pipeline and the forwarder, on a disk that may fail.

Every process of it can end alone, all can be killed together, and the power can go. After the last
two everything goes on in another folder, which holds what a disk would hold then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from tests.simulator.configured import KINDS, Catalog
from tests.simulator.journal import Broken, Journal
from tests.simulator.outside import Outside
from tests.support.forwarding import InlineWorker
from tests.support.inline import InlineExecutor
from tests.support.power import PowerVFS
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.forwarder.engine import Forwarder
from trunkline.kit.clock import FakeClock
from trunkline.kit.eventlog import Appender, LogFailure
from trunkline.kit.settings import ForwarderSettings, PipelineSettings
from trunkline.model.record import ACCEPTED
from trunkline.node import protocol_shelf, stamp_base, stamp_from
from trunkline.pipeline.engine import Pipeline
from trunkline.state.home import Home

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
PARTITIONS = (0, 1)
ROLES = ("gateway 0", "gateway 1", "pipeline", "forwarder")
STEP_SECONDS = 2.0  # without a ring the pipeline looks by itself, rarer than in life
AGAIN_SECONDS = 1.0  # after a step that failed
_MEMORY = Path("/dev/shm")  # a run makes and removes many files; nothing of it has to last
_NUMBERS = itertools.count()
_TROUBLE = (LogFailure, apsw.Error, OSError)  # what a bad disk may end an engine with


class Shape:
    """What stays the same in a run: sizes, small so that limits are met, thrown by the dice."""

    def __init__(self, dice: random.Random, sync: str = "FULL") -> None:
        self.sync = sync  # of ACCEPTED; anything but FULL is there to be noticed
        self.segment_bytes = dice.choice((70_000, 300_000))
        self.log_bytes_max = dice.choice((None, 60_000, 150_000))
        self.pipeline = PipelineSettings(batch_events_max=dice.choice((5, 60, 1000)))
        self.forwarder = ForwarderSettings(
            waiting_seconds=dice.choice((2.0, 10.0, 60.0)),
            lane_events_max=dice.choice((15, 60, 1000)),
            readers_max=dice.choice((1, 16)),
        )


class Machine:
    """The node, its disk and its clock."""

    def __init__(self, seed: int, journal_is_loud: bool = False, sync: str = "FULL") -> None:
        self.dice = random.Random(f"machine {seed}")
        self.clock = FakeClock(NOW_MS)
        self.journal = Journal(self.clock, is_loud=journal_is_loud)
        self.vfs = PowerVFS(f"simulator-{next(_NUMBERS)}")
        self.catalog = Catalog(random.Random(f"catalog {seed}"), self.clock, ROLES)
        self.outside = Outside(random.Random(f"outside {seed}"), self.clock)
        self.outside.is_machine_off = lambda: self.vfs.is_off
        self.shape = Shape(self.dice, sync)
        self.restarts = 0
        self.is_caught_up = False  # the pipeline has found nothing more in ACCEPTED
        self.watch: Callable[[], None] = lambda: None  # called after a step that may have appended
        self._forwarder_dice = random.Random(f"forwarder {seed}")
        memory = _MEMORY if _MEMORY.is_dir() else None
        self._root = Path(tempfile.mkdtemp(prefix="simulator-", dir=memory))
        self.journal.root = f"{self._root}/"
        self._homes = 0
        self._pipeline_due = 0.0
        self.home = Home(self._root / "0")

    # Starting and ending

    async def boot(self) -> None:
        """Start everything on what the disk holds."""
        self.home.prepare()
        self.gate_log = self._open_log(self.shape.sync, None)
        self.log = self._open_log("FULL", self._stamp_now)
        self.stamp = stamp_from(stamp_base(self.log, self.clock), self.clock)
        self.appenders: dict[int, Appender] = {}
        for partition in PARTITIONS:
            self.open_gateway(partition)
        self.start_pipeline()
        await self.start_forwarder()

    def _stamp_now(self) -> int:
        return self.stamp()

    def _open_log(self, sync: str, stamp_now: Callable[[], int] | None) -> SqliteEventLog:
        return SqliteEventLog(
            self.home.log_folder,
            self.clock,
            segment_bytes=self.shape.segment_bytes,
            segment_seconds=600,
            reserve_bytes=65_536,
            sync=sync,
            vfs=self.vfs.name,
            stamp_now=stamp_now,
            tidy=InlineExecutor(),
        )

    def open_gateway(self, partition: int) -> None:
        """Start a gateway, after ending it where it runs. On a failing disk it stays closed."""
        before = self.appenders.pop(partition, None)
        if before is not None:
            with contextlib.suppress(*_TROUBLE):
                before.close()
        self.catalog.catch_up(f"gateway {partition}")
        with contextlib.suppress(LogFailure):
            self.appenders[partition] = self.gate_log.appender(ACCEPTED, partition)

    def start_pipeline(self) -> None:
        """Start the pipeline; what it did so far is in its files."""
        self.catalog.catch_up("pipeline")
        self.pipeline = Pipeline(
            log=self.log,
            protocols=protocol_shelf(),
            snapshot=lambda: self.catalog.seen_by("pipeline"),
            home=self.home,
            settings=self.shape.pipeline,
            keep_days=7.0,
            clock=self.clock,
            vfs=self.vfs.name,
        )
        self._pipeline_due = 0.0
        self._is_unsure = True  # what it appended last may be in EVENTS, and may not
        self.is_caught_up = False

    def restart_pipeline(self) -> None:
        """End the pipeline between two steps and start it again."""
        with contextlib.suppress(*_TROUBLE):
            self.pipeline.close()
        self.start_pipeline()

    async def start_forwarder(self) -> None:
        """Start the forwarder."""
        self.catalog.catch_up("forwarder")
        self.outside.settle()
        self.forwarder = Forwarder(
            log=self.log,
            kinds=KINDS,
            sender=self.outside,
            snapshot=lambda: self.catalog.seen_by("forwarder"),
            home=self.home,
            settings=self.shape.forwarder,
            clock=self.clock,
            random=self._forwarder_dice,
            log_bytes_max=self.shape.log_bytes_max,
            vfs=self.vfs.name,
            threads=InlineWorker,
        )
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(self.forwarder.run(self._stop))
        await _turns(5)

    async def crash_forwarder(self) -> None:
        """End the forwarder with all it had not saved, and start it again."""
        await self._end_forwarder()
        await self.start_forwarder()
        self.restarts += 1

    async def stop_forwarder(self) -> None:
        """Stop the forwarder as a deployment does, and start it again."""
        self._stop.set()
        end = self.clock.monotonic() + 15
        while not self._task.done() and self.clock.monotonic() < end and not self.vfs.is_off:
            await self._pass_time(1.0)
            self._work_pipeline()
        if self.vfs.is_off:
            return
        if not self._task.done():
            raise Broken("the forwarder did not stop within 15 s")
        with contextlib.suppress(*_TROUBLE):
            self._task.result()
        await self.start_forwarder()
        self.restarts += 1

    async def _end_forwarder(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await _turns(5)

    async def go_down(self, *, with_power: bool) -> None:
        """Kill everything, or lose the power, and boot again from what is left."""
        self.vfs.is_off = True
        await self._end_forwarder()
        self._close()
        old = self.home.folder
        self._homes += 1
        self.home = Home(self._root / str(self._homes))
        if with_power:
            self.vfs.lose_power(old, self.home.folder, self.dice)
        else:
            self.vfs.kill(old, self.home.folder)
        shutil.rmtree(old)
        self.clock.pause(self.dice.choice((0.3, 5.0, 90.0)))
        self.restarts += 1
        await self.boot()

    async def destroy(self) -> None:
        """Remove every trace of the run."""
        self.vfs.is_off = True
        if hasattr(self, "_task"):
            await self._end_forwarder()
            self._close()
        self.vfs.unregister()
        shutil.rmtree(self._root)

    def _close(self) -> None:
        """Let go of all files, with the power off: each may complain, and none is kept open."""
        closing: list[Any] = [self.pipeline.close]
        closing += [log.close for log in (self.log, self.gate_log) for _ in range(3)]
        for close in closing:
            with contextlib.suppress(*_TROUBLE):
                close()

    # Time

    async def run_for(self, seconds: float) -> None:
        """Let time pass, unless the power goes."""
        end = self.clock.monotonic() + seconds
        while not self.vfs.is_off and (left := end - self.clock.monotonic()) > 1e-9:
            await self._pass_time(left)
            self._work_pipeline()
            await self._look_after_forwarder()

    async def _pass_time(self, seconds_max: float) -> None:
        """Go to the next moment at which anybody does anything."""
        await _turns(3)
        wake = self.clock.next_wake
        due = max(0.0, self._pipeline_due - self.clock.monotonic())
        await self.clock.advance(min(seconds_max, due, seconds_max if wake is None else wake))

    def work_soon(self) -> None:
        """Ring the pipeline's bell."""
        self.is_caught_up = False
        self._pipeline_due = min(self._pipeline_due, self.clock.monotonic() + 0.001)

    def _work_pipeline(self) -> None:
        if self.clock.monotonic() < self._pipeline_due - 1e-9:
            return
        self.is_caught_up = False
        try:
            taken = self.pipeline.step()
        except _TROUBLE as error:
            self.journal.say(f"the pipeline has trouble: {type(error).__name__}")
            self._is_unsure = True
            self._pipeline_due = self.clock.monotonic() + AGAIN_SECONDS
        else:
            if taken or self._is_unsure:
                self.watch()
            self._is_unsure = False
            self.is_caught_up = taken == 0
            self._pipeline_due = self.clock.monotonic() + (0.002 if taken else STEP_SECONDS)

    async def _look_after_forwarder(self) -> None:
        """Start the forwarder again where it ended by itself, as the supervisor does."""
        if not self._task.done() or self.vfs.is_off:
            return
        error = self._task.exception()
        if not isinstance(error, _TROUBLE):
            raise Broken(f"the forwarder ended: {error!r}") from error
        self.journal.say(f"the forwarder ended by itself: {type(error).__name__}: {error}")
        self.clock.pause(AGAIN_SECONDS)
        await self.start_forwarder()
        self.restarts += 1


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
