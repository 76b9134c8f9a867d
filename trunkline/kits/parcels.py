"""Events of one batch packed into several requests, without one overtaking another of its user.

A destination whose requests differ from event to event (another URL for `identify`, a header with
the sender's address) cannot put a batch into one request. Packing is greedy and in order: an event
goes into the first parcel of its kind that has room and does not lie before the last parcel of its
user.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Room(NamedTuple):
    """How much goes into a parcel."""

    events: int
    bytes: int


class Entry(NamedTuple, Generic[KeyT]):
    """An event to pack: which parcels it may go into, whose it is, its size in bytes."""

    key: KeyT
    user: str
    size: int


class Parcel(Generic[KeyT]):
    """Positions of the batch that go into one request."""

    def __init__(self, key: KeyT) -> None:
        self.key = key
        self.positions: list[int] = []
        self.bytes = 0

    def has_room(self, size: int, room: Room) -> bool:
        """Say whether one more event of that size goes in."""
        return len(self.positions) < room.events and self.bytes + size <= room.bytes

    def add(self, position: int, size: int) -> None:
        """Put an event in."""
        self.positions.append(position)
        self.bytes += size


def pack(
    entries: Sequence[Entry[KeyT]], room: Callable[[KeyT], Room], parcels_max: int
) -> tuple[list[Parcel[KeyT]], list[int]]:
    """Return the parcels in the order of sending, and the positions that found no place.

    An event larger than its parcel may be gets one to itself.
    """
    parcels: list[Parcel[KeyT]] = []
    rest: list[int] = []
    last: dict[str, int] = {}  # user → its last parcel; behind all of them: it must wait
    for position, entry in enumerate(entries):
        first = last.get(entry.user, 0)
        number = _find(parcels, first, entry, room(entry.key))
        if number == len(parcels) and number < parcels_max:
            parcels.append(Parcel(entry.key))
        if number < len(parcels):
            parcels[number].add(position, entry.size)
        else:
            number = parcels_max
            rest.append(position)
        last[entry.user] = number
    return parcels, rest


def _find(parcels: list[Parcel[KeyT]], first: int, entry: Entry[KeyT], room: Room) -> int:
    for number in range(first, len(parcels)):
        if parcels[number].key == entry.key and parcels[number].has_room(entry.size, room):
            return number
    return max(first, len(parcels))
