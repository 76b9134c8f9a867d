"""A client for the tests of those who use this library: it checks like the real one and records."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trunkline_sdk.client import Trunkline
from trunkline_sdk.entry import Entry
from trunkline_sdk.errors import Closed

Event = Mapping[str, Any]


class TestClient(Trunkline):
    """Stands where a `Trunkline` is expected; sends nothing. `AsyncTrunkline(client=…)` takes it.

    Calls are checked as always. Each event is recorded as it would be sent; S2S events and REST
    messages too, those with what names their user beside.
    """

    __test__ = False  # its name makes pytest look for tests in it

    def __init__(self) -> None:
        super().__init__("test", "http://test.invalid")
        self._changed = threading.Condition()
        self._events: list[Event] = []

    @property
    def events(self) -> list[Event]:
        """What was called, in its order."""
        with self._changed:
            return list(self._events)

    def named(self, name: str) -> list[Event]:
        """Return the events of this name: a tracked event's, a slug, or a custom name."""
        keys = ("event", "eventSlug", "name", "customName")
        return [event for event in self.events if name in [event.get(key) for key in keys]]

    def wait_for(
        self, is_it: Callable[[Event], bool] = bool, *, count: int = 1, timeout: float = 10.0
    ) -> list[Event]:
        """Wait until so many events fit, and return them. Raises `TimeoutError`, with what came."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: [e for e in self._events if is_it(e)][count - 1 :] and True, timeout
            )
            fitting = [event for event in self._events if is_it(event)]
            if not found:
                raise TimeoutError(
                    f"{len(fitting)} of {count} events came within {timeout:g} s; "
                    f"recorded so far: {self._events!r:.2000}"
                )
            return fitting

    def clear(self) -> None:
        """Forget what was recorded."""
        with self._changed:
            self._events.clear()

    def put(self, entries: Sequence[Entry]) -> None:
        """Record entries."""
        if self._is_closed:
            raise Closed("the client is closed; make another, or close it later")
        with self._changed:
            for entry in entries:
                beside: Event = json.loads(entry.group) if entry.group else {}
                self._events.append({**beside, **json.loads(entry.body)})
            self._changed.notify_all()

    def flush(self, timeout: float = 10.0) -> bool:  # noqa: ARG002
        """Return True: there is nothing to wait for."""
        return True
