"""Shapes the events of one work: in batches, and one by one where a batch was lost.

An event is to blame when its process is killed at the deadline with that event alone, or dies of it
twice, the second time with nothing before it. So one poison event costs only itself, code that
tampers with its own process hurts no later event, and a process that the system killed hurts none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from trunkline.jail.cell import Cell
from trunkline.jail.frames import CodeFailed, Run, Said, Shape, Value
from trunkline.jail.hearing import is_deep, shaped_of
from trunkline.jail.inmate import Lost, Oversize
from trunkline.jail.places import code_path
from trunkline.kit.shaping import CodeHeld, Held, Shaper
from trunkline.playbook.program import CodeError, Failure, Moment, Shaped
from trunkline.telemetry import jail as telemetry

EVENTS_MAX = 20
INPUT_CHARACTERS_MAX = 2048

_ENCODE = msgspec.json.Encoder().encode

T = TypeVar("T")
Event = tuple[dict[str, Any], Moment]


class JailShaper(Shaper):
    """A `Shaper` whose code runs in a jailed process."""

    def __init__(self, cell: Cell, forget: Callable[[Cell], None]) -> None:
        self.cell = cell
        self._forget = forget
        self._turn = asyncio.Lock()
        self._events_max = EVENTS_MAX
        self._path = code_path(cell.work.playbook)
        self._is_closed = False

    async def shape(
        self, events: Sequence[Event], *, explain: bool = False
    ) -> Sequence[Shaped | Held]:
        """Shape events, one answer for each, in order. Never raises for what events hold."""
        answers: list[Shaped | Held] = []
        async with self._turn:
            while len(answers) < len(events):
                batch = tuple(events[len(answers) : len(answers) + self._events_max])
                answers += await self._batch(batch, explain)
        return answers

    async def _batch(self, batch: tuple[Event, ...], explain: bool) -> Sequence[Shaped | Held]:
        if len(batch) == 1:
            return [await self._alone(batch[0], explain)]
        try:
            return await self._shaped(batch, explain)
        except CodeHeld as held:
            return [Held(str(held))] * len(batch)
        except Oversize:
            return [await self._alone(event, explain) for event in batch]
        except Lost as lost:
            self.cell.note_kill(str(lost))
            return await self._one_by_one(batch, explain, lost)

    async def _one_by_one(
        self, batch: tuple[Event, ...], explain: bool, lost: Lost
    ) -> Sequence[Shaped | Held]:
        answers = [await self._alone(event, explain) for event in batch]
        if lost.cause == "deadline" and all(_is_fine(answer) for answer in answers):
            self.cell.kills.forgive()
            self._events_max = max(1, len(batch) // 2)
            telemetry.batches_halved(self.cell.work.name, self._events_max)
        return answers

    async def _alone(self, event: Event, explain: bool) -> Shaped | Held:
        try:
            return (await self._surely(lambda: self._shaped((event,), explain)))[0]
        except CodeHeld as held:
            return Held(str(held))
        except (Lost, Oversize) as error:
            text = _ENCODE(event[0]).decode()[:INPUT_CHARACTERS_MAX]
            return Shaped(failure=Failure(self._path, 0, str(error), text, None))

    async def _shaped(self, batch: tuple[Event, ...], explain: bool) -> Sequence[Shaped]:
        """Ask for a batch. Raises `Lost`, `Oversize`, `CodeHeld`."""
        texts = [_ENCODE(event) for event, _ in batch]
        moments = tuple([moment for _, moment in batch])
        said = await self._ask(Shape(tuple(map(len, texts)), moments, explain), texts)
        shaped = shaped_of(said, len(batch))
        if shaped is None:
            raise self.cell.distrust("gave no answer that can be used")
        return shaped

    async def _surely(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask about one event. Raises `Lost` only where the event is to blame, and counts it."""
        try:
            return await ask()
        except Lost as lost:
            if lost.cause == "deadline":
                self.cell.note_kill(str(lost))
                raise
        try:
            return await ask()  # in a process where nothing came before, and nobody else's bad luck
        except Lost as lost:
            self.cell.note_kill(str(lost))
            raise

    async def _ask(self, request: Shape | Run, events: Sequence[bytes] = ()) -> Said:
        if not self._is_closed:
            try:
                return await self.cell.ask(request, events)
            except Lost:
                if not self._is_closed:
                    raise
        raise CodeHeld("its code was let go of")

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        """Run named code over values. Raises `CodeError`; `CodeHeld` where the code is paused."""
        moment = Moment(self.cell.clock.now_ms(), f"{self.cell.work.name}\0{name}")
        async with self._turn:
            try:
                said = await self._surely(lambda: self._ask(Run(name, values, moment)))
            except (Lost, Oversize) as error:
                raise CodeError(str(error)) from error
        if isinstance(said, CodeFailed):
            raise CodeError(said.message, said.line)
        if not isinstance(said, Value) or is_deep(said.value):
            raise CodeError(str(self.cell.distrust("gave no answer that can be used")))
        return said.value

    async def close(self) -> None:
        """Let go of the worker, whatever it does. Who waits for an answer is told `Held`."""
        self._is_closed = True
        self.cell.rest()
        self._forget(self.cell)


def _is_fine(answer: Shaped | Held) -> bool:
    return isinstance(answer, Shaped) and answer.failure is None
