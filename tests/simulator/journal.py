"""What a run tells: its own lines and those of the engines, at the time of the simulation."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, MutableMapping
from typing import Any

import structlog

from trunkline.kit.clock import FakeClock


class Broken(AssertionError):
    """An invariant does not hold."""


class Journal:
    """The lines of a run. `is_loud`: they are printed as they come."""

    def __init__(self, clock: FakeClock, *, is_loud: bool = False) -> None:
        self.lines: list[str] = []
        self.is_over = False
        self.root = "\0"  # what is left out of paths, so that two runs of a seed read alike
        self._clock = clock
        self._is_loud = is_loud

    def say(self, text: str) -> None:
        """Write a line."""
        if self.is_over:
            return
        line = f"{self._clock.monotonic() - 1000:9.3f}  {text.replace(self.root, '')}"
        self.lines.append(line)
        if self._is_loud:
            print(line, flush=True)

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Take down what the engines log, and give them their logger back afterwards."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._take_down],
            wrapper_class=structlog.make_filtering_bound_logger(0),  # every line, whoever set what
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take_down(self, _logger: Any, _method: str, values: MutableMapping[str, Any]) -> str:
        name = values.pop("event")
        values.pop("exc_info", None)
        self.say(f"    {name} " + " ".join(f"{key}={value}" for key, value in values.items()))
        raise structlog.DropEvent
