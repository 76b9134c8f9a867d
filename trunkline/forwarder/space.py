"""How much a parked destination may hold, and what happens past it: the oldest expire.

Bytes are counted as the head passes events by, not by reading them again, so they are about right.
A day before the limit, as far as the rate tells, an alert says so.
"""

from __future__ import annotations

import apsw

from trunkline.forwarder.group import Group
from trunkline.forwarder.item import Item
from trunkline.forwarder.waiting import ROW_COLUMNS, item_of_row
from trunkline.telemetry import forwarder as telemetry

ALERT_SECONDS = 86_400.0
RATE_SECONDS_MIN = 60.0  # parked for less, the rate says nothing
EXPIRE_AT_ONCE = 500
PAUSE_SECONDS = 0.01  # lets the group read on


class Space:
    """Watches one parked destination from when it was parked."""

    def __init__(self, group: Group) -> None:
        self.is_expiring = False
        self._group = group
        self._since_ms = group.standing.since_ms
        self._since = group.shared.clock.monotonic()
        self._bytes = held_bytes(group)
        self._is_alerted = False

    def is_about(self, group: Group) -> bool:
        """Say whether it was made for the time that the group is parked now."""
        return self._since_ms == group.standing.since_ms

    def check(self) -> None:
        """Alert, or begin to expire."""
        held, limit = held_bytes(self._group), bytes_max(self._group)
        if held > limit and not self.is_expiring:
            self.is_expiring = True
            self._group.shared.tasks.start(self._expire())
        seconds = self._group.shared.clock.monotonic() - self._since
        rate = (held - self._bytes) / max(seconds, RATE_SECONDS_MIN)
        if self._is_alerted or seconds < RATE_SECONDS_MIN or rate <= 0:
            return
        left = (limit - held) / rate
        if left <= ALERT_SECONDS:
            self._is_alerted = True
            config = self._group.config
            telemetry.space_runs_out(config.app, config.id, held, max(0.0, left / 3600))

    async def _expire(self) -> None:
        """Give up the oldest until the rest fits."""
        group, count = self._group, 0
        while held_bytes(group) > bytes_max(group) and group.standing.state == "parked":
            count += await self._expire_some()
            group.pump()
            if group.is_ended or group.shared.is_stopping:
                break
            await group.shared.clock.sleep(PAUSE_SECONDS)
        telemetry.events_expired(group.config.app, group.config.id, count)
        self.is_expiring = False

    async def _expire_some(self) -> int:
        group = self._group
        if group.book.waiting.count:
            uid = group.config.uid
            rows = await group.shared.writer.transact(lambda db: _oldest(db, uid))
            lanes = group.book.waiting.lanes
            items = [
                item for item in rows if item.lane in lanes and not lanes[item.lane].is_under_way
            ]
        else:
            items = sorted(group.lanes.idle(), key=lambda item: item.offset)
            group.lanes.remove({item.offset for item in items})
        if items:
            group.book.expire(items)
            group.book.touch()
        return len(items)


def held_bytes(group: Group) -> int:
    """Return about how much is kept for a destination, in the log and in the waiting table."""
    place = group.book.place
    return place.behind_bytes + place.bytes + group.book.waiting.bytes


def bytes_max(group: Group) -> int:
    """Return how much may be kept for it while it is parked."""
    own = group.settings.parked_bytes_max
    return group.shared.parked_bytes_max if own is None else own


def _oldest(db: apsw.Connection, uid: int) -> list[Item]:
    rows = db.execute(
        f"SELECT {ROW_COLUMNS} FROM waiting WHERE uid=? ORDER BY offset LIMIT ?",
        (uid, EXPIRE_AT_ONCE),
    )
    return [item_of_row(row) for row in rows]
