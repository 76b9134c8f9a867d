"""Order on disk: the index of a destination's waiting table, by lane.

An event that would not go for a while, and what comes after it for the same user, waits in the
state file, so that the log's position moves on. Memory holds a few words for each lane, never a
payload: the rows of a lane that is due are read when it is its turn.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import apsw

from trunkline.forwarder.item import Item
from trunkline.kit.destination import Mapped

LANES_MAX = 20_000  # of a destination: about 5 MB of memory

ROW_COLUMNS = (
    "id, lane, offset, app, message_id, received_ms, attempts, first_ms, user, type, name, payload"
)


class WaitingLane:
    """What memory knows of a lane. `floor_at`: not before, because the destination said so."""

    __slots__ = ("count", "due_at", "floor_at", "is_under_way")

    def __init__(self) -> None:
        self.count = 0
        self.due_at = 0.0
        self.floor_at = 0.0
        self.is_under_way = False


class WaitingIndex:
    """The waiting lanes of one destination."""

    def __init__(self) -> None:
        self.lanes: dict[str, WaitingLane] = {}
        self.count = 0
        self.bytes = 0
        self._due: list[tuple[float, str]] = []

    def add(self, lane: str, size: int, due_at: float = 0.0, count: int = 1) -> None:
        """Count rows that were put at the end of a lane; `due_at` counts for a new one."""
        found = self.lanes.get(lane)
        if found is None:
            found = self.lanes[lane] = WaitingLane()
            self._schedule(lane, found, due_at)
        found.count += count
        self.count += count
        self.bytes += size

    def remove(self, lane: str, size: int) -> None:
        """Count a row that is gone. The lane goes with its last one."""
        found = self.lanes[lane]
        found.count -= 1
        self.count -= 1
        self.bytes -= size
        if found.count == 0:
            del self.lanes[lane]

    def release(self, lane: str, due_at: float, floor_at: float = 0.0) -> None:
        """Say that nothing of a lane is under way, and when it is due again."""
        found = self.lanes.get(lane)
        if found is not None:
            found.is_under_way = False
            found.floor_at = floor_at
            self._schedule(lane, found, due_at)

    def drains(self, lane: str, now: float) -> bool:
        """Say whether a lane is being sent, or about to: its first event is not put off."""
        found = self.lanes.get(lane)
        return found is not None and (found.is_under_way or found.due_at <= now)

    def take_due(self, now: float, lanes_max: int) -> list[str]:
        """Mark lanes that are due as under way and return them, the longest due first."""
        taken: list[str] = []
        while self._due and len(taken) < lanes_max:
            due_at, lane = self._due[0]
            if due_at > now:
                break
            heapq.heappop(self._due)
            if self._is_current(due_at, lane):
                self.lanes[lane].is_under_way = True
                taken.append(lane)
        return taken

    def take(self, lane: str) -> None:
        """Mark one lane as under way."""
        self.lanes[lane].is_under_way = True

    def next_due(self) -> float | None:
        """Return when the next lane is due, in monotonic seconds; None where none is."""
        while self._due:
            if self._is_current(*self._due[0]):
                return self._due[0][0]
            heapq.heappop(self._due)
        return None

    def wake_all(self, now: float) -> None:
        """Make every lane due now, or when the destination allows it."""
        for name, lane in self.lanes.items():
            if not lane.is_under_way and lane.due_at > now:
                self._schedule(name, lane, max(now, lane.floor_at))

    def _schedule(self, name: str, lane: WaitingLane, due_at: float) -> None:
        lane.due_at = due_at
        heapq.heappush(self._due, (due_at, name))

    def _is_current(self, due_at: float, name: str) -> bool:
        lane = self.lanes.get(name)
        return lane is not None and not lane.is_under_way and lane.due_at == due_at


def read_lane(db: apsw.Connection, uid: int, lane: str, events_max: int) -> list[Item]:
    """Return the first events of a lane."""
    rows = db.execute(
        f"SELECT {ROW_COLUMNS} FROM waiting WHERE uid=? AND lane=? ORDER BY id LIMIT ?",
        (uid, lane, events_max),
    )
    return [item_of_row(row) for row in rows]


def read_lanes(
    db: apsw.Connection, uid: int, lanes: Sequence[str], events_max: int, bytes_max: int
) -> list[Item]:
    """Return the heads of lanes, and what follows them while there is room; at least one event."""
    items: list[Item] = []
    size = 0
    for number, lane in enumerate(lanes):
        room = max(1, events_max - len(items) - (len(lanes) - number - 1))
        for item in read_lane(db, uid, lane, room):
            if items and size + item.size > bytes_max:
                return items
            size += item.size
            items.append(item)
    return items


def shift_due(now_ms: int, jump_ms: int, db: apsw.Connection) -> None:
    """Bring due times along when the wall clock is set back: a lane waits for what was left.

    When it is set forward they are only due sooner, and only after the next start.
    """
    db.execute("UPDATE waiting SET due_ms=due_ms+? WHERE due_ms>?", (jump_ms, now_ms))


def read_oldest_lane(db: apsw.Connection, uid: int, but: str) -> str | None:
    """Return the lane of the oldest waiting event, leaving one lane out ("": none)."""
    row = db.execute(
        "SELECT lane FROM waiting WHERE uid=? AND lane<>? ORDER BY offset LIMIT 1", (uid, but)
    ).fetchone()
    return str(row[0]) if row else None


def item_of_row(row: Sequence[object]) -> Item:
    """Make the item of a row of the waiting table (`ROW_COLUMNS`)."""
    id_, lane, offset, app, message_id, received_ms, attempts, first_ms, user, type_, name, body = (
        row
    )
    assert isinstance(id_, int) and isinstance(offset, int) and isinstance(received_ms, int)
    assert isinstance(attempts, int) and isinstance(first_ms, int) and isinstance(body, bytes)
    mapped = Mapped(str(message_id), str(app), str(user), str(type_), str(name), body)
    return Item(
        mapped,
        str(lane),
        offset,
        received_ms,
        row=id_,
        attempts=attempts,
        first_ms=first_ms,
    )
