"""How many events a group has in memory: enough to send without a pause, few while it is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.forwarder.parking import Standing
from trunkline.forwarder.place import Place
from trunkline.forwarder.shared import BYTES_MAX, Shared

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

QUEUE_EVENTS_MAX = 5000  # in memory, of one group
QUEUE_EVENTS_MIN = 1000  # half of it is what one chunk of the log fills (reading.py)
QUEUE_BYTES_MAX = 16_777_216
HELD_EVENTS_MAX = 200  # while nothing is sent: enough to probe with
HELD_BYTES_MAX = 524_288


class Room:
    """The room of one group."""

    def __init__(self, shared: Shared, standing: Standing, place: Place) -> None:
        self._shared = shared
        self._standing = standing
        self._place = place
        self._queue_max = HELD_EVENTS_MAX

    def fit(self, events_asked: int) -> None:
        """Make room for as many events, within limits, while it runs."""
        self._queue_max = min(max(events_asked, QUEUE_EVENTS_MIN), QUEUE_EVENTS_MAX)

    @property
    def is_worth_reading(self) -> bool:
        """Say whether it is worth reading on: half of the room is free."""
        return len(self._place.open) <= self._events_max() // 2 and not self.is_full

    @property
    def is_full(self) -> bool:
        """Say whether there is no room for an event. There is for the first, whatever its size."""
        place = self._place
        if not place.open:
            return False
        bytes_max = QUEUE_BYTES_MAX if self._standing.runs else HELD_BYTES_MAX
        return (
            len(place.open) >= self._events_max()
            or place.bytes >= bytes_max
            or self._shared.bytes >= BYTES_MAX
        )

    def _events_max(self) -> int:
        return self._queue_max if self._standing.runs else HELD_EVENTS_MAX


def let_go(group: Group) -> None:
    """Let go of all but a few of the events that no batch holds, because the group is held."""
    idle = sorted(group.lanes.idle(), key=lambda item: item.offset)
    size = 0
    kept = 0
    for item in idle[:HELD_EVENTS_MAX]:
        size += item.size
        if kept and size > HELD_BYTES_MAX:
            break
        kept += 1
    if idle[kept:]:
        group.lanes.remove({item.offset for item in idle[kept:]})
        if group.book.place.is_at_head:
            group.shared.leave_head(group, group.shared.head)
        group.shared.bytes -= sum(item.size for item in idle[kept:])
        group.book.place.put_off(idle[kept:])
