"""The contract between whoever sends events and whatever shapes them: a playbook, in a jail or not.

A playbook that is data runs in the process that asks. One that holds code of an operator runs whole
in a jailed worker: the `Workshop` opens those, and a test or a machine without a jail has none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from trunkline.playbook.program import Moment, Shaped


class Held(Struct, frozen=True):
    """The code is paused, or its worker cannot start: the event waits. `reason` says what to do."""

    reason: str


class CodeSource(Struct, frozen=True):
    """Code of an operator: the names of the values that it reads, and where it stands."""

    lang: str
    body: str
    reads: tuple[str, ...]
    path: str


class Work(Struct, frozen=True):
    """What one worker loads: a playbook (its JSON; empty for none), its params, and named code.

    `name` is the destination's (`app/id`), for logs and messages.
    """

    name: str
    playbook: bytes = b""
    params: Mapping[str, str] = {}
    code: Mapping[str, CodeSource] = {}


class Shaper(ABC):
    """Shapes the events of one destination."""

    @abstractmethod
    async def shape(
        self, events: Sequence[tuple[dict[str, Any], Moment]], *, explain: bool = False
    ) -> Sequence[Shaped | Held]:
        """Shape events, one answer for each, in order. Never raises for what events hold."""

    @abstractmethod
    async def call(self, name: str, values: dict[str, Any]) -> Any:
        """Run named code over values. Raises `CodeError`; `CodeHeld` where the code is paused."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the worker."""


class CodeHeld(Exception):
    """The code is paused: try again later."""


class Workshop(ABC):
    """Opens jailed workers."""

    @abstractmethod
    async def open(self, work: Work) -> Shaper:
        """Start a worker and load the work. Raises `PlaybookError`; `CodeHeld` without a jail."""

    @abstractmethod
    async def close(self) -> None:
        """End all workers."""
