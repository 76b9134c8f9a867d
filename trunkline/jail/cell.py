"""The place of one work: has a process when there is something to do, and another when it is lost.

A process lives from the first request until it rested for a minute, until it has used so much CPU
time that a fresh one is due, or until it is lost. Three losses a minute pause the code.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from trunkline.jail.frames import (
    Load,
    Loaded,
    NoJail,
    Ready,
    Run,
    Said,
    Shape,
    TooLong,
    encode_message,
)
from trunkline.jail.inmate import Inmate, Lost, Oversize
from trunkline.jail.kills import PAUSE_SECONDS, Kills
from trunkline.jail.nursery import Nursery, NurseryError
from trunkline.jail.slots import Resident, Slots
from trunkline.kit.clock import Clock
from trunkline.kit.settings import JailSettings
from trunkline.kit.shaping import CodeHeld, Work
from trunkline.playbook.program import PlaybookError, Problem
from trunkline.telemetry import jail as telemetry

CPU_SECONDS_MAX = 300.0  # of one process; what it leaks goes with it
NOTES_PER_MINUTE_MAX = 100
READY_SECONDS_MAX = 5.0
REQUEST_BYTES_MAX = 4_194_304


class Grounds(Struct, frozen=True):
    """What the cells of a node share."""

    nursery: Nursery
    slots: Slots
    settings: JailSettings
    clock: Clock


class Cell(Resident):
    """Runs one work."""

    def __init__(self, work: Work, grounds: Grounds) -> None:
        self.work = work
        self.settings = grounds.settings
        self.kills = Kills(grounds.clock, grounds.settings.kills_per_minute_max)
        self.clock = grounds.clock
        self._nursery = grounds.nursery
        self._slots = grounds.slots
        self._inmate: Inmate | None = None
        self._rested_since = 0.0
        self._notes = 0
        self._notes_since = 0.0
        self.is_busy = False

    @property
    def pid(self) -> int | None:
        """The process's id, where one lives."""
        return self._inmate.pid if self._inmate else None

    async def ask(self, request: Shape | Run, events: Sequence[bytes] = ()) -> Said:
        """Ask the process; `events` are those of a `Shape`, as JSON.

        Raises `Lost`, `Oversize`; `CodeHeld` while there is no process to ask.
        """
        self.is_busy = True
        try:
            return await self._ask(encode_message(request), events)
        finally:
            self.is_busy = False
            self._rested_since = self.clock.monotonic()
            self._slots.used(self)

    async def _ask(self, message: bytes, events: Sequence[bytes]) -> Said:
        size = len(message) + sum(map(len, events))
        if size > REQUEST_BYTES_MAX:
            raise Oversize(f"has {size:,} bytes; code is given at most {REQUEST_BYTES_MAX:,}")
        inmate = await self._living()
        began = self.clock.monotonic()
        try:
            said = await inmate.ask(message, events, self.settings.batch_seconds)
        except Lost as lost:
            if self._inmate is inmate:  # and was not let go of meanwhile
                telemetry.process_lost(self.work.name, lost.cause, str(lost))
                self.rest()
            raise
        telemetry.batch_answered(len(events), self.clock.monotonic() - began)
        if isinstance(said, TooLong):
            limit = self.settings.reply_bytes_max
            raise Oversize(
                f"its output has {said.bytes:,} bytes as JSON; at most {limit:,} are taken"
            )
        self._tell(getattr(said, "notes", ()))
        return said

    def distrust(self, reason: str) -> Lost:
        """Let go of a process that answered what cannot be; return what to raise."""
        lost = Lost("forgery", f"its process {reason}")
        telemetry.process_lost(self.work.name, lost.cause, str(lost))
        self.rest()
        return lost

    async def _living(self) -> Inmate:
        if self.kills.is_paused:
            raise CodeHeld(self.kills.reason)
        if self.kills.resume():
            telemetry.code_resumed(self.work.name)
        if self._inmate is not None and self._is_spent(self._inmate):
            self.rest()
        if self._inmate is None:
            try:
                await self._start()
            except PlaybookError as error:  # it loaded before: it is not the same every time
                self.note_kill(f"does not load: {error}")
                raise CodeHeld(f"the code does not load any more: {error}") from error
        assert self._inmate is not None
        return self._inmate

    def _is_spent(self, inmate: Inmate) -> bool:
        try:
            return inmate.is_lost or inmate.cpu_seconds() > CPU_SECONDS_MAX
        except OSError:
            return True

    async def open(self) -> None:
        """Have a process for the first time. Raises `PlaybookError`, `CodeHeld`."""
        self.is_busy = True  # nobody takes its place from it meanwhile
        try:
            await self._start()
        finally:
            self.is_busy = False

    async def _start(self) -> None:
        await self._slots.take(self)
        try:
            began = self.clock.monotonic()
            inmate = await self._jailed()
            await self._load(inmate)
            telemetry.process_started(self.clock.monotonic() - began)
            self._inmate = inmate
            self._rested_since = self.clock.monotonic()
        except NurseryError as error:
            telemetry.jail_missing(str(error))
            raise CodeHeld(str(error)) from error
        finally:
            if self._inmate is None:
                self._slots.give_back(self)

    async def _jailed(self) -> Inmate:
        """Have a process that has closed its jail; until then it knows nothing of the work."""
        birth = await self._nursery.spawn()
        bytes_max = self.settings.reply_bytes_max
        try:
            inmate, said = await Inmate.meet(birth, bytes_max, READY_SECONDS_MAX)
        except Lost as lost:
            raise NurseryError(f"a process did not get as far as its jail: {lost}") from lost
        if not isinstance(said, Ready):
            inmate.kill()
            raise NurseryError(said.reason if isinstance(said, NoJail) else "it has no jail")
        return inmate

    async def _load(self, inmate: Inmate) -> None:
        settings = self.settings
        load = Load(self.work, settings.heap_bytes, settings.reply_bytes_max)
        try:
            said = await inmate.ask(encode_message(load), (), settings.load_seconds)
        except Lost as lost:
            telemetry.process_lost(self.work.name, "load", str(lost))
            problem = Problem("", f"its code does not load: {lost}")
            raise PlaybookError((problem,)) from lost
        problems = said.problems if isinstance(said, Loaded) else (Problem("", "it said nonsense"),)
        if problems:
            inmate.kill()
            raise PlaybookError(problems)

    def note_kill(self, reason: str) -> None:
        """Count a kill, and pause the code where it was one too many."""
        if self.kills.note(reason):
            telemetry.code_paused(self.work.name, self.kills.reason, PAUSE_SECONDS)

    def rest(self) -> None:
        """Let go of the process; the next request starts another."""
        inmate, self._inmate = self._inmate, None
        if inmate is not None:
            inmate.kill()
        self._slots.give_back(self)

    def rest_if_idle(self) -> None:
        """Let go of the process if it had nothing to do for long enough."""
        rested = self.clock.monotonic() - self._rested_since
        if not self.is_busy and self._inmate and rested >= self.settings.idle_seconds:
            self.rest()

    def _tell(self, notes: tuple[str, ...]) -> None:
        if not notes:
            return
        now = self.clock.monotonic()
        if now - self._notes_since > 60:
            self._notes, self._notes_since = 0, now
        room = max(0, NOTES_PER_MINUTE_MAX - self._notes)
        self._notes += len(notes)
        telemetry.code_said(self.work.name, notes[:room])
        telemetry.code_unsaid(max(0, len(notes) - room))


async def rest_idle(cells: set[Cell], clock: Clock, idle_seconds: float) -> None:
    """Let cells rest that are idle, for ever."""
    while True:
        await clock.sleep(min(idle_seconds / 4, 15.0))
        for cell in list(cells):
            cell.rest_if_idle()
