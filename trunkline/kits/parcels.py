"""Events of one batch packed into several requests, without one overtaking another of its user.

A destination whose requests differ from event to event (another URL for `identify`, a header with
the sender's address) cannot put a batch into one request. Packing is greedy and in order: an event
goes into the first parcel of its kind that has room and does not lie before the last parcel of its
user.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Room(NamedTuple):
    """How much goes into a parcel."""

    events: int
    bytes: int


class Entry(NamedTuple, Generic[KeyT]):
    """An event to pack: which parcels it may go into, whose it is, its size in bytes.

    Neighbours with the same `whole`, which is not empty, were made of one event: they share a
    parcel where they may and one can hold them.
    """

    key: KeyT
    user: str
    size: int
    whole: str = ""


class Parcel(Generic[KeyT]):
    """Positions of the batch that go into one request."""

    def __init__(self, key: KeyT) -> None:
        self.key = key
        self.positions: list[int] = []
        self.bytes = 0

    def has_room(self, count: int, size: int, room: Room) -> bool:
        """Say whether so many more events go in, of that size together."""
        return len(self.positions) + count <= room.events and self.bytes + size <= room.bytes

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
    for start, end in _units(entries, room):
        entry, size = entries[start], sum(one.size for one in entries[start:end])
        first = last.get(entry.user, 0)
        number = _find(parcels, first, entry.key, end - start, size, room(entry.key))
        if number == len(parcels) and number < parcels_max:
            parcels.append(Parcel(entry.key))
        for position in range(start, end):
            if number < len(parcels):
                parcels[number].add(position, entries[position].size)
            else:
                number = parcels_max
                rest.append(position)
        last[entry.user] = number
    return parcels, rest


def _units(
    entries: Sequence[Entry[KeyT]], room: Callable[[KeyT], Room]
) -> Iterator[tuple[int, int]]:
    """Yield from where to where entries go together: what was made of one event, if it fits."""
    start = 0
    while start < len(entries):
        one, end = entries[start], start + 1
        while end < len(entries) and one.whole and _same(entries[end], one):
            end += 1
        size, most = sum(entry.size for entry in entries[start:end]), room(one.key)
        if end - start <= most.events and size <= most.bytes:
            yield start, end
        else:
            yield from ((each, each + 1) for each in range(start, end))
        start = end


def _same(entry: Entry[KeyT], other: Entry[KeyT]) -> bool:
    return (entry.whole, entry.key, entry.user) == (other.whole, other.key, other.user)


def _find(
    parcels: list[Parcel[KeyT]], first: int, key: KeyT, count: int, size: int, room: Room
) -> int:
    for number in range(first, len(parcels)):
        if parcels[number].key == key and parcels[number].has_room(count, size, room):
            return number
    return max(first, len(parcels))
