"""A workshop without a jail, on the event loop of the test: the real Lua world, at once.

`trouble` is raised where it is set, as a machine without a jail would; `held` pauses the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trunkline.kit.shaping import CodeHeld, Held, Shaper, Work, Workshop
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.lua_world import LuaLoader, LuaWorld
from trunkline.playbook.program import Moment, Shaped


class Unjailed(Workshop):
    """Counts the workers that are open, and what they were asked."""

    def __init__(self) -> None:
        self.held = ""
        self.trouble: Exception | None = None
        self.opened = 0
        self.live: list[Work] = []
        self.calls: list[str] = []

    async def open(self, work: Work) -> Shaper:
        if self.trouble is not None:
            raise self.trouble
        shaper = _Unjailed(self, work)
        self.opened += 1
        self.live.append(work)
        return shaper

    async def close(self) -> None:
        self.live.clear()


class _Unjailed(Shaper):
    def __init__(self, workshop: Unjailed, work: Work) -> None:
        self._workshop = workshop
        self._work = work
        self._program = None
        if work.playbook:
            parsed = parse_playbook(msgspec.json.decode(work.playbook))
            self._program = compile_playbook(parsed, work.params, LuaLoader())
        world = LuaWorld()
        self._code = {
            name: (source.reads, world.expression(source.body, source.reads))
            for name, source in work.code.items()
        }

    async def shape(
        self, events: Sequence[tuple[dict[str, Any], Moment]], *, explain: bool = False
    ) -> Sequence[Shaped | Held]:
        assert self._work in self._workshop.live, "it was let go of"
        if self._workshop.held:
            return [Held(self._workshop.held)] * len(events)
        assert self._program is not None
        return [self._program.shape(event, moment) for event, moment in events]

    async def call(self, name: str, values: dict[str, Any]) -> Any:
        self._workshop.calls.append(name)
        if self._workshop.held:
            raise CodeHeld(self._workshop.held)
        reads, run = self._code[name]
        return run(*(values.get(each) for each in reads), Moment(0, ""))

    async def close(self) -> None:
        self._workshop.live.remove(self._work)
