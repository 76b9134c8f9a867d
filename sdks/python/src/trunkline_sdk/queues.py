"""What a queue promises, and the queue in memory.

One lock guards a queue and is held across a fork, so that a child never inherits a half-made one.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice

from trunkline_sdk.entry import Entry, RouteState, Waiting
from trunkline_sdk.errors import QueueFull


class Queue(ABC):
    """Entries in the order they came. Safe to use from any thread."""

    look_seconds = 60.0  # how often to look without news: only this process puts anything in

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @abstractmethod
    def put(self, entries: Sequence[Entry]) -> int:
        """Add all or none, and return the number of the last. Raises `QueueFull`."""

    @abstractmethod
    def head(self, route: str, count_max: int, bytes_max: int) -> list[Waiting]:
        """Return the oldest entries of a route within limits; at least one where one waits."""

    @abstractmethod
    def remove(self, done: Sequence[Waiting]) -> None:
        """Take entries of one route out."""

    @abstractmethod
    def routes(self) -> list[RouteState]:
        """Return the routes on which something waits."""

    @abstractmethod
    def pause(self, route: str, failures: int, not_before_ms: int) -> None:
        """Remember that a route failed; zeros when it works again."""

    @abstractmethod
    def holds(self, number_max: int, routes: Collection[str]) -> bool:
        """Say whether an entry up to this number waits on one of these routes."""

    @abstractmethod
    def count(self) -> int:
        """Return how many entries wait."""

    @abstractmethod
    def leave(self) -> list[Waiting]:
        """Close it, and return the entries that are lost by that: none of a file."""

    def claim(self, route: str) -> bool:  # noqa: ARG002
        """Become the one sender of a route, or say that another is."""
        return True

    def release(self, route: str) -> None:  # noqa: B027
        """Let another send."""

    def before_fork(self) -> None:
        """Hold still."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """Go on as a process of its own."""


class MemoryQueue(Queue):
    """Entries in memory, at most `events_max`. They end with the process."""

    def __init__(self, events_max: int) -> None:
        super().__init__()
        self._events_max = events_max
        self._lanes: dict[str, deque[Waiting]] = {}
        self._states: dict[str, RouteState] = {}
        self._count = 0
        self._last = 0

    def put(self, entries: Sequence[Entry]) -> int:
        with self._lock:
            if self._count + len(entries) > self._events_max:
                raise QueueFull(
                    f"{self._count:,} events wait and the queue takes {self._events_max:,}; "
                    "nothing was queued. Is the node reachable? Raise Limits.queue_events_max, "
                    "or give a queue_path"
                )
            for entry in entries:
                self._last += 1
                lane = self._lanes.setdefault(entry.route, deque())
                lane.append(Waiting(self._last, entry))
            self._count += len(entries)
            return self._last

    def head(self, route: str, count_max: int, bytes_max: int) -> list[Waiting]:
        with self._lock:
            lane = self._lanes.get(route, ())
            return within_bytes(list(islice(lane, count_max)), bytes_max)

    def remove(self, done: Sequence[Waiting]) -> None:
        if not done:
            return
        route, gone = done[0].entry.route, {waiting.number for waiting in done}
        with self._lock:
            lane = self._lanes.get(route, deque())
            self._count -= _remove_near_the_head(lane, gone)
            if not lane:
                self._lanes.pop(route, None)

    def routes(self) -> list[RouteState]:
        with self._lock:
            return [self._states.get(route, RouteState(route, 0, 0)) for route in self._lanes]

    def pause(self, route: str, failures: int, not_before_ms: int) -> None:
        with self._lock:
            self._states[route] = RouteState(route, failures, not_before_ms)

    def holds(self, number_max: int, routes: Collection[str]) -> bool:
        with self._lock:
            lanes = (self._lanes[route] for route in routes if route in self._lanes)
            return any(lane[0].number <= number_max for lane in lanes)

    def count(self) -> int:
        with self._lock:
            return self._count

    def leave(self) -> list[Waiting]:
        with self._lock:
            left = [waiting for lane in self._lanes.values() for waiting in lane]
            self._clear()
            return sorted(left, key=lambda waiting: waiting.number)

    def after_fork_in_child(self) -> None:
        # The parent sends what waits; the child would send it a second time.
        self._clear()
        self._lock.release()

    def _clear(self) -> None:
        self._lanes.clear()
        self._count = 0


def within_bytes(waiting: list[Waiting], bytes_max: int) -> list[Waiting]:
    """Return the beginning of a list that fits into so many bytes; at least one."""
    total = 0
    for index, one in enumerate(waiting):
        total += len(one.entry.body) + 1
        if total > bytes_max and index:
            return waiting[:index]
    return waiting


def _remove_near_the_head(lane: deque[Waiting], gone: set[int]) -> int:
    """Take entries out of a lane and say how many; they are done in nearly their order."""
    before, last = len(lane), max(gone)
    kept: list[Waiting] = []
    while lane and lane[0].number <= last:
        first = lane.popleft()
        if first.number not in gone:
            kept.append(first)
    lane.extendleft(reversed(kept))
    return before - len(lane)
