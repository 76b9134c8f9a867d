"""Bad days as a script: which requests go wrong and how; after them all is well again.

    throttled*3, reset, good*2, unavailable     in this order, one step a request
    throttled:5*2                               429, `Retry-After: 5`, twice
    every:3=unavailable                         each third request, without end

A vendor's own faults stand in a script by their names. Requests for tokens use up no step.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from typing import Literal

from msgspec import Struct

from trunkline.simulators.simulator import Ask, Reply, Simulator

STEPS_MAX = 10_000
AFTER_SECONDS = 1  # what `throttled` says where the script does not

Manner = Literal["whole", "drip", "reset", "hang", "cut"]

FAULTS = {
    "good": "nothing goes wrong: a request in between",
    "throttled": "429 with Retry-After, of one second or as many as stand behind a colon",
    "throttled_bare": "429 without Retry-After",
    "unavailable": "503",
    "drip": "the events are taken, the answer comes a byte at a time",
    "reset": "the events are taken, then the connection is reset without an answer",
    "hang": "the events are taken, and no answer comes",
    "cut": "the events are taken, the answer ends in its middle",
}
_MANNERS: dict[str, Manner] = {"drip": "drip", "reset": "reset", "hang": "hang", "cut": "cut"}
_STEP = re.compile(r"([a-z][a-z0-9_]*)(?::([0-9]{1,6}))?(?:\*([0-9]{1,5}))?")
_EVERY = re.compile(r"every:([0-9]{1,5})=(.+)")


class ScriptError(ValueError):
    """A script of faults that cannot be read; the message says which step and what is expected."""


class Fault(Struct, frozen=True):
    """One thing that goes wrong. `number` is what stood behind the colon, or None."""

    name: str
    number: int | None = None


class Script:
    """Faults in order, each used up by one request; beside them one that comes every nth time."""

    def __init__(self, text: str = "", own: Collection[str] = ()) -> None:
        """Read a script. `own` are the names of the vendor's faults. Raises `ScriptError`."""
        self._every: tuple[int, Fault] | None = None
        self._steps: list[Fault] = []
        self._asked = 0
        names = [*FAULTS, *own]
        for part in filter(None, re.split(r"[,\s]+", text)):
            if every := _EVERY.fullmatch(part):
                self._every = (max(1, int(every[1])), _steps_of(every[2], names)[0])
            else:
                self._steps += _steps_of(part, names)
        if len(self._steps) > STEPS_MAX:
            raise ScriptError(f"{len(self._steps)} steps; at most {STEPS_MAX} make a script")
        self._rest: Iterator[Fault] = iter(self._steps)
        self.left = len(self._steps)

    def next(self) -> Fault | None:
        """Return what goes wrong with the next request, or None."""
        self._asked += 1
        found = next(self._rest, None)
        if found is not None:
            self.left -= 1
        elif self._every is not None and self._asked % self._every[0] == 0:
            found = self._every[1]
        return None if found is None or found.name == "good" else found


class Served(Struct, frozen=True):
    """What becomes of a request: the answer, and in which manner it is given or withheld."""

    reply: Reply
    manner: Manner = "whole"


def serve(simulator: Simulator, ask: Ask, fault: Fault | None) -> Served:
    """Return what becomes of a request on a good day (None) or a bad one."""
    name = "" if fault is None else fault.name
    if fault is None or name in _MANNERS:
        return Served(simulator.answer(ask), _MANNERS.get(name, "whole"))
    if name == "throttled":
        after = AFTER_SECONDS if fault.number is None else fault.number
        return Served(simulator.throttled(ask, after))
    if name == "throttled_bare":
        return Served(simulator.throttled(ask, None))
    if name == "unavailable":
        return Served(simulator.unavailable(ask))
    return Served(simulator.misbehave(name, ask))


def _steps_of(part: str, names: Collection[str]) -> list[Fault]:
    found = _STEP.fullmatch(part)
    if found is None:
        raise ScriptError(
            f"{part!r} is no step of a script; expected NAME, NAME:SECONDS, NAME*TIMES or "
            "every:N=NAME, for example throttled:5*2"
        )
    name, number, times = found.groups()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise ScriptError(f"there is no fault {name!r}{meant} There are: {', '.join(names)}")
    count = int(times or 1)
    if not 1 <= count <= STEPS_MAX:
        raise ScriptError(f"{part!r}: {count} steps; 1 to {STEPS_MAX} make a script")
    return [Fault(name, int(number) if number else None)] * count
