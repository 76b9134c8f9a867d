"""Forgetting on time: old segments of EVENTS, old attempts, old ledger rows, ended destinations.

A segment of EVENTS may go when every destination is past it *in the state file on disk*: the file
is brought in sync first, and only the positions it then holds are committed to the log. The rest
is deleted a few rows at a time, so that no delivery waits behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import apsw

from trunkline.forwarder.group import Group
from trunkline.forwarder.reading import PARTITION
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.threads import Worker
from trunkline.kit.eventlog import EventLog
from trunkline.model.record import EVENTS
from trunkline.state.forwarder import BUCKET, unpack_offsets
from trunkline.telemetry import forwarder as telemetry

RETAIN_SECONDS = 60.0
DELETE_SECONDS = 1.0
DELETE_ROWS = 500
DELETE_CHUNKS = 40  # a second: 20,000 attempts, more than any machine makes
LEDGER_DAYS = 400
LEDGER_MINUTES = 1440  # of one destination that are deleted at a time
DAY_MS = 86_400_000


class Retention:
    """What is forgotten, and when."""

    def __init__(
        self,
        log: EventLog,
        shared: Shared,
        groups: Mapping[int, Group],
        worker: Worker,
        keep_days: float,
        log_bytes_max: int | None,
    ) -> None:
        self._log = log
        self._shared = shared
        self._groups = groups
        self._worker = worker
        self._keep_ms = int(keep_days * DAY_MS)
        self._bytes_max = log_bytes_max
        self._forgotten: set[int] = set()

    async def run(self) -> None:
        """Forget for ever, a little at a time."""
        clock = self._shared.clock
        retain_at = clock.monotonic() + DELETE_SECONDS
        while True:
            await clock.sleep(DELETE_SECONDS)
            now_ms = clock.now_ms()
            await self._delete_attempts(now_ms - self._keep_ms)
            if clock.monotonic() >= retain_at:
                retain_at = clock.monotonic() + RETAIN_SECONDS
                await self._shared.writer.transact(partial(self._delete_rest, now_ms=now_ms))
                await self.retain(now_ms)

    async def _delete_attempts(self, before_ms: int) -> None:
        """Delete as fast as attempts can come, in transactions of a millisecond or two."""
        for _ in range(DELETE_CHUNKS):
            if not await self._shared.writer.transact(partial(_delete_fates, before_ms=before_ms)):
                return

    async def retain(self, now_ms: int) -> None:
        """Commit what is safe on disk, and remove segments that nobody needs."""
        positions = {uid: group.book.position() for uid, group in self._groups.items()}
        ended = await self._shared.writer.transact(_ended)
        # Stamps are nanoseconds on a base of Unix time (node.py), so a wall time bounds them.
        since = (now_ms - self._keep_ms) * 1_000_000

        def work() -> None:
            for uid, position in positions.items():
                self._log.commit(EVENTS, str(uid), {PARTITION: position})
            # Once in each process: what the log forgot may be back after a power loss.
            for uid in ended - self._forgotten:
                self._log.forget(EVENTS, str(uid))
                self._forgotten.add(uid)
            self._log.retain(EVENTS, since, self._bytes_max)

        try:
            if await self._shared.writer.checkpoint():
                await self._worker.run(work)
        except Exception as error:  # a shelf's own errors; a full disk must not end deliveries
            telemetry.retention_failed(error)

    def _delete_rest(self, db: apsw.Connection, now_ms: int) -> None:
        before_ms = now_ms - self._keep_ms
        _delete_ledger(db, (now_ms - LEDGER_DAYS * DAY_MS) // 60_000)
        ended = db.execute(
            "SELECT uid FROM grp WHERE removed_ms < ? LIMIT 1", (before_ms,)
        ).fetchone()
        if ended is not None:
            _delete_group(db, int(ended[0]))


def _ended(db: apsw.Connection) -> frozenset[int]:
    """Return the destinations that were removed, as long as they are remembered."""
    rows = db.execute("SELECT uid FROM grp WHERE removed_ms IS NOT NULL")
    return frozenset(int(uid) for (uid,) in rows)


def _delete_fates(db: apsw.Connection, before_ms: int) -> bool:
    """Delete the oldest rows (their ids grow with their time); say whether there may be more."""
    oldest = db.execute("SELECT at_ms FROM fate ORDER BY id LIMIT 1").fetchone()
    if oldest is None or oldest[0] >= before_ms:
        return False
    rows = list(
        db.execute("SELECT id, uid, at_ms, offsets FROM fate ORDER BY id LIMIT ?", (DELETE_ROWS,))
    )
    for number, uid, at_ms, offsets in rows:
        if at_ms >= before_ms:
            return False
        buckets = {offset // BUCKET for offset in unpack_offsets(offsets)}
        db.executemany(
            "DELETE FROM fate_span WHERE uid=? AND bucket=? AND fate=?",
            [(uid, bucket, number) for bucket in buckets],
        )
        db.execute("DELETE FROM fate WHERE id=?", (number,))
    return len(rows) == DELETE_ROWS


def _delete_ledger(db: apsw.Connection, before_minute: int) -> None:
    for (uid,) in list(db.execute("SELECT uid FROM grp")):
        oldest = db.execute("SELECT MIN(minute) FROM ledger WHERE uid=?", (uid,)).fetchone()
        if oldest is None or oldest[0] is None or oldest[0] >= before_minute:
            continue
        until = min(before_minute, int(oldest[0]) + LEDGER_MINUTES)
        db.execute("DELETE FROM ledger WHERE uid=? AND minute<?", (uid, until))
        db.execute("DELETE FROM tally WHERE uid=? AND hour<?", (uid, until // 60))


def _delete_group(db: apsw.Connection, uid: int) -> None:
    """Delete what is left of a destination that was removed long ago."""
    db.execute(
        "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE uid=? LIMIT ?)",
        (uid, DELETE_ROWS),
    )
    if db.changes() == 0:
        for table in ("ledger", "tally", "shadow", "shadow_sample"):
            db.execute(f"DELETE FROM {table} WHERE uid=?", (uid,))
        db.execute("DELETE FROM grp WHERE uid=?", (uid,))
