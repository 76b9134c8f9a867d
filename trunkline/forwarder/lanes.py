"""Order in memory: a lane for each user, and which lanes may go now.

A lane is either *ready* (it has events and none of them is under way), or *closed* (a batch holds
it until its outcome is final). Taking, adding and opening again cost the same however many lanes
there are. Without order every event is a lane of its own, and nothing else changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator

from trunkline.forwarder.item import Item


class Lanes:
    """The events of one destination that have not been sent, in lanes."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Item]] = {}
        self._ready: deque[str] = deque()
        self._closed: set[str] = set()

    def __bool__(self) -> bool:
        """Say whether something may go now."""
        return bool(self._ready)

    def add(self, item: Item) -> None:
        """Put an event at the end of its lane."""
        lane = self._lanes.get(item.lane)
        if lane is None:
            self._lanes[item.lane] = deque((item,))
            self._ready.append(item.lane)
        else:
            lane.append(item)

    def take(
        self, events_max: int, bytes_max: int, elsewhere: Container[str], lanes_max: int = 0
    ) -> tuple[list[Item], list[Item]]:
        """Close the next lanes and return their events: (to send, to join a lane `elsewhere`).

        Of so many lanes at most; 0: of any number.

        A lane of `elsewhere` (the waiting table) is not sent: its events stand behind others. Ends
        at the first of them, so that what is sent never overtakes it.
        """
        taken: list[Item] = []
        size = count = 0
        while (
            self._ready
            and (not lanes_max or count < lanes_max)
            and len(taken) < events_max
            and size < bytes_max
        ):
            key = self._ready[0]
            if key in elsewhere:
                if taken:
                    break
                self._ready.popleft()
                return [], list(self._lanes.pop(key))
            self._ready.popleft()
            count += 1
            self._closed.add(key)
            lane = self._lanes[key]
            while lane and len(taken) < events_max and size < bytes_max:
                item = lane.popleft()
                size += item.size
                taken.append(item)
        return taken, []

    def open(self, key: str) -> None:
        """Let a closed lane go again."""
        if key not in self._closed:
            return
        self._closed.discard(key)
        if self._lanes[key]:
            self._ready.append(key)
        else:
            del self._lanes[key]

    def close(self, key: str, items: list[Item]) -> None:
        """Put events of one lane back in front, and keep it closed until `open`."""
        self.put_back(items)
        if key not in self._closed:
            self._closed.add(key)
            self._ready.remove(key)

    def put_back(self, items: list[Item]) -> None:
        """Put events back in front of their lanes, which stay as they are, closed or ready."""
        for item in reversed(items):
            lane = self._lanes.get(item.lane)
            if lane is None:
                self.add(item)
            else:
                lane.appendleft(item)

    def idle(self) -> Iterator[Item]:
        """Yield the events that no batch holds, lane by lane."""
        for lane in self._lanes.values():
            yield from lane

    def heads(self) -> Iterator[Item]:
        """Yield the first event of each lane that may go."""
        for key in self._ready:
            yield self._lanes[key][0]

    def take_one(self, key: str) -> Item:
        """Close a lane that is ready and return its first event."""
        self._ready.remove(key)
        self._closed.add(key)
        return self._lanes[key].popleft()

    def remove(self, offsets: Container[int]) -> None:
        """Forget idle events by their offsets."""
        for key, lane in list(self._lanes.items()):
            kept = deque(item for item in lane if item.offset not in offsets)
            if len(kept) == len(lane):
                continue
            self._lanes[key] = kept
            if not kept and key not in self._closed:
                del self._lanes[key]
        self._ready = deque(key for key in self._ready if key in self._lanes)

    def holds(self, events: int) -> bool:
        """Say whether that many events may go now."""
        count = 0
        for key in self._ready:
            count += len(self._lanes[key])
            if count >= events:
                return True
        return False
