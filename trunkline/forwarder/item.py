"""What a group carries: an event on its way to one destination, and the batch it travels in."""

from __future__ import annotations

from trunkline.kit.destination import Mapped
from trunkline.kit.identifiers import device_of
from trunkline.model.record import StoredEvent
from trunkline.model.snapshot import Order

ITEM_BYTES = 600  # what an event takes in memory beside its bytes


class Item:
    """One event on its way to one destination.

    `lane` is what order is kept by: the user, the device, or something unique to the event. `row`
    is its id in the waiting table, 0 while it is in the log. `first_ms` is the first attempt in
    the destination's own time (0: none yet), `first_at` the same in monotonic seconds. `seen` is
    the event as the destination may see it, during an attempt, where that is not all of it.
    """

    __slots__ = (
        "app",
        "attempts",
        "first_at",
        "first_ms",
        "lane",
        "mapped",
        "offset",
        "received_ms",
        "row",
        "seen",
        "size",
    )

    def __init__(
        self,
        mapped: Mapped,
        lane: str,
        offset: int,
        received_ms: int,
        *,
        row: int = 0,
        attempts: int = 0,
        first_ms: int = 0,
    ) -> None:
        self.mapped = mapped
        self.app = mapped.app
        self.lane = lane
        self.offset = offset
        self.received_ms = received_ms
        self.size = len(mapped.body) + ITEM_BYTES
        self.row = row
        self.attempts = attempts
        self.first_ms = first_ms
        self.first_at = 0.0
        self.seen: Mapped | None = None

    @property
    def shown(self) -> Mapped:
        """The event as the destination may see it."""
        return self.seen or self.mapped

    def rest(self) -> None:
        """Forget what can be made again, while it waits for its next attempt."""
        vars(self.mapped).clear()


class Batch:
    """Events that go in one request, and what is left of the batch they were split from.

    A chain is carried in one go: `items` now, then the parts in `later`, last first. All lanes of
    the chain stay closed until its end, so a split keeps the order. `number` is the attempt of this
    composition that comes next, `due_at` when, in monotonic seconds.
    """

    __slots__ = ("due_at", "is_waiting", "items", "lanes", "later", "number")

    def __init__(self, items: list[Item], *, is_waiting: bool = False) -> None:
        self.items = items
        self.later: list[list[Item]] = []
        self.lanes: dict[str, None] = dict.fromkeys([item.lane for item in items])
        self.number = 1 + max([item.attempts for item in items])
        self.due_at = 0.0
        self.is_waiting = is_waiting

    def split(self) -> None:
        """Go on with the first half; the second comes after it."""
        middle = len(self.items) // 2
        self.later.append(self.items[middle:])
        self.items = self.items[:middle]

    def advance(self) -> bool:
        """Go on with the next part; False at the end of the chain."""
        if not self.later:
            return False
        self.items = self.later.pop()
        return True

    def rest(self) -> list[Item]:
        """Return what comes after `items`, in order."""
        return [item for part in reversed(self.later) for item in part]


def item_of(stored: StoredEvent, mapped: Mapped, offset: int, order: Order) -> Item:
    """Make the item of a record of EVENTS."""
    return Item(mapped, lane_of(stored, order) or f"o:{offset}", offset, stored.received_ms)


def lane_of(stored: StoredEvent, order: Order) -> str:
    """Return what an event is in order with; "" where that is nothing.

    An event that names no device is in order with its user's others of that kind.
    """
    if order == "none":
        return ""
    if order == "device" and (device := device_of(stored.event)):
        return f"d:{device}"
    return stored.user


def mapped_of(stored: StoredEvent) -> Mapped:
    """Return an event as every destination of its app is given it."""
    return Mapped(
        stored.message_id, stored.app, stored.user, stored.type, stored.name, stored.event
    )
