"""What one revision makes of events for one destination, and the code its connection calls.

An attempt holds the shaping it began with until its end, so that each is shaped wholly by one
revision; a shaping that was replaced is let go when the last of them is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trunkline.forwarder.item import Item
from trunkline.forwarder.parking import Cause
from trunkline.kit.destination import Mapped
from trunkline.kit.shapers import InProcess, describe_failure, encode_output, moment_of
from trunkline.kit.shaping import CodeHeld, CodeSource, Held, Shaper, Work, Workshop
from trunkline.model.outcome import Filtered, Unsent, Unshaped
from trunkline.model.snapshot import Destination as Configured
from trunkline.playbook.program import Failure, Moment, PlaybookError, Shaped

if TYPE_CHECKING:
    from trunkline.forwarder.shared import Shared

SHAPED_AT_ONCE = 100  # by a playbook that is data: a few ms of the event loop
FILTERED = "playbook"
NO_JAIL = "it holds code, and this node has no jail to run it in; see trunkline doctor"


class CannotShape(Exception):
    """No event can be shaped now: the destination parks with this cause."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause: Cause = cause
        self.reason = reason


class Made(NamedTuple):
    """What became of one event: what is sent of it, or why nothing is."""

    sent: Sequence[Mapped]
    unsent: Unsent | None


class Jailed(Shaper):
    """A worker of the workshop, opened by the first who asks."""

    def __init__(self, workshop: Workshop, work: Work) -> None:
        self._workshop = workshop
        self._work = work
        self._turn = asyncio.Lock()
        self._shaper: Shaper | None = None

    async def shape(
        self, events: Sequence[tuple[dict[str, Any], Moment]], *, explain: bool = False
    ) -> Sequence[Shaped | Held]:
        return await (await self._open()).shape(events, explain=explain)

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        return await (await self._open()).call(name, values)

    async def close(self) -> None:
        async with self._turn:
            shaper, self._shaper = self._shaper, None
        if shaper is not None:
            await shaper.close()

    async def _open(self) -> Shaper:
        """Open it once. Raises `PlaybookError` where the work does not load, `CodeHeld`."""
        async with self._turn:
            if self._shaper is None:
                self._shaper = await self._workshop.open(self._work)
            return self._shaper


class Shaping:
    """One revision at work. Without a playbook events stay as they are."""

    def __init__(
        self, config: Configured, shared: Shared, shaper: Shaper | None, caller: Shaper | None
    ) -> None:
        self.revision = config.revision
        self._name = f"{config.app}/{config.id}"
        self._shared = shared
        self._shaper = shaper
        self._caller = caller
        self._users = 0
        self._is_retired = False

    @contextlib.contextmanager
    def hold(self) -> Generator[None]:
        """Keep it open for an attempt."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_done()

    def retire(self) -> None:
        """Let go of it as soon as no attempt has it."""
        self._is_retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_retired and not self._users:
            self._is_retired = False
            self._shared.tasks.start(self._close())

    async def _close(self) -> None:
        for shaper in {self._shaper, self._caller}:
            if shaper is not None:
                await shaper.close()

    async def shape(self, items: Sequence[Item], now_ms: int) -> list[Shaped]:
        """Shape the events of an attempt. Raises `CannotShape`."""
        if self._shaper is None:
            return [Shaped((item.shown.value,)) for item in items]
        shaped: list[Shaped] = []
        for first in range(0, len(items), SHAPED_AT_ONCE):
            if first:
                await self._shared.clock.sleep(0)  # others are served in between
            shaped += await self._shape(items[first : first + SHAPED_AT_ONCE], now_ms)
        return shaped

    async def _shape(self, items: Sequence[Item], now_ms: int) -> list[Shaped]:
        assert self._shaper is not None
        events = [
            (item.shown.value, moment_of(self._name, item.shown.message_id, now_ms))
            for item in items
        ]
        try:
            answers = await self._shaper.shape(events)
        except (PlaybookError, CodeHeld) as error:
            raise _cannot(error) from error
        held = next((answer for answer in answers if isinstance(answer, Held)), None)
        if held is not None:
            raise CannotShape("code", held.reason)
        return [answer for answer in answers if isinstance(answer, Shaped)]

    def map(self, item: Item, shaped: Shaped) -> Made:
        """Turn what the playbook made of an event into what is sent, or into why nothing is."""
        if self._shaper is None:
            return Made((item.shown,), None)
        if shaped.failure is not None:
            return Made((), unshaped(shaped.failure))
        if not shaped.outputs:
            return Made((), Filtered(f"{FILTERED}: {shaped.filtered or 'nothing was made of it'}"))
        sent: list[Mapped] = []
        for output in shaped.outputs:
            body = encode_output(output)
            if isinstance(body, str):
                return Made((), unshaped(Failure("", 0, body, "", None)))
            sent.append(msgspec.structs.replace(item.shown, body=body, origin=item.shown.body))
        return Made(sent, None)

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        """Run code that the connection calls. Raises `CodeError` or `CannotShape`."""
        if self._caller is None:
            raise CannotShape("settings", f"{self._name} asks for the code {name!r}; it has none")
        try:
            return await self._caller.call(name, values)
        except (PlaybookError, CodeHeld) as error:
            raise _cannot(error) from error


def _cannot(error: PlaybookError | CodeHeld) -> CannotShape:
    return CannotShape("settings" if isinstance(error, PlaybookError) else "code", str(error))


def unshaped(failure: Failure) -> Unshaped:
    """Return the outcome of an event that the playbook failed for."""
    partial, where = describe_failure(failure)
    return Unshaped(failure.sentence, partial, where)


def make_shaping(
    config: Configured, params: Mapping[str, str], code: Mapping[str, CodeSource], shared: Shared
) -> Shaping | None:
    """Make what shapes a destination's events; None where they go as they are.

    Raises `ValueError` with a sentence where the playbook cannot be used.
    """
    if not config.playbook and not code and not config.shadow:
        return None
    shaper = make_shaper(config, config.playbook, params, code, shared) if config.playbook else None
    caller = shaper
    if code and not isinstance(shaper, Jailed):
        caller = _jailed(Work(f"{config.app}/{config.id}", b"", params, code), shared)
    return Shaping(config, shared, shaper, caller)


def make_shaper(
    config: Configured,
    playbook: bytes,
    params: Mapping[str, str],
    code: Mapping[str, CodeSource],
    shared: Shared,
) -> Shaper:
    """Make what runs a playbook: here where it is data, in a jail where it holds code.

    Raises `ValueError` with a sentence.
    """
    name = f"{config.app}/{config.id}"
    try:
        program = shared.programs.find(playbook, params)
    except (PlaybookError, msgspec.DecodeError) as error:
        raise ValueError(f"the playbook of {name} cannot be used: {error}") from error
    if program is not None:
        return InProcess(program)
    return _jailed(Work(name, playbook, params, code), shared)


def _jailed(work: Work, shared: Shared) -> Jailed:
    if shared.workshop is None:
        raise ValueError(f"the playbook of {work.name} cannot be run: {NO_JAIL}")
    return Jailed(shared.workshop, work)
