"""Delivering a span of time again: events go from EVENTS into the waiting table, chunk by chunk.

A job's position is saved with the rows it made, so a restart goes on where it was. It respects the
limits of the waiting table by waiting itself, so a replay of a week never parks a destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import apsw
from msgspec import Struct

from trunkline.forwarder.group import Group
from trunkline.forwarder.inbox import replay_lane
from trunkline.forwarder.item import Item, lane_of, mapped_of
from trunkline.forwarder.reading import PARTITION, Read, read_chunk
from trunkline.forwarder.settling import limit_of
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.threads import Worker
from trunkline.kit.eventlog import EventLog, Reader
from trunkline.model.record import EVENTS
from trunkline.model.snapshot import Order

# EVENTS is in the order of acceptance only about: its partitions are merged, and clocks are set.
DISORDER_MS = 600_000


class Job(Struct, frozen=True):
    """A span of time to deliver again to one destination. -1: not looked up yet."""

    id: int
    uid: int
    position: int
    until: int
    from_ms: int
    to_ms: int


class Jobs:
    """Does one job after the other, one chunk at each `step`."""

    def __init__(
        self, log: EventLog, shared: Shared, groups: Mapping[int, Group], worker: Worker
    ) -> None:
        self.may_have_some = True  # a restart may have left some
        self._log = log
        self._shared = shared
        self._groups = groups
        self._worker = worker

    async def step(self) -> None:
        """Do one chunk of the first job, if there is one."""
        if not self.may_have_some:
            return
        job = await self._shared.writer.transact(_first_job)
        if job is None:
            self.may_have_some = False
            return
        group = self._groups.get(job.uid)
        changes = self._shared.writer.changes
        if group is None or group.is_ended:
            changes.jobs_out.append((job.id,))
        elif job.position < 0:
            position, until = await self._worker.run(partial(_find_span, self._log, job))
            self._shared.writer.changes.jobs.append((position, until, job.id))
        else:
            chunk, following = await self._worker.run(partial(_read, self._log, job.position))
            self._do(job, group, chunk, following)
        self._shared.writer.touch()

    def _do(self, job: Job, group: Group, chunk: list[Read], following: int | None) -> None:
        changes = self._shared.writer.changes
        for read in chunk:
            if read.offset >= job.until or read.stored.received_ms > job.to_ms + DISORDER_MS:
                following = None
                break
            if not _is_wanted(job, group, read):
                continue
            item = _item(read, group.order)
            if limit_of(group, item)[0]:
                changes.jobs.append((read.offset, job.until, job.id))
                break
            group.book.replay(item)
        else:
            if following is not None:
                changes.jobs.append((following, job.until, job.id))
        if following is None:
            changes.jobs_out.append((job.id,))
        group.pump()


def _first_job(db: apsw.Connection) -> Job | None:
    row = db.execute(
        "SELECT id, uid, position, until, from_ms, to_ms FROM job ORDER BY id LIMIT 1"
    ).fetchone()
    return Job(*row) if row else None


def _is_wanted(job: Job, group: Group, read: Read) -> bool:
    """Say whether an event is in the span, passes the filter, and is not on its way anyway."""
    stored, place = read.stored, group.book.place
    if stored.app != group.config.app or not job.from_ms <= stored.received_ms < job.to_ms:
        return False
    if group.refusal(read.offset, stored):
        return False
    if stored.snapshot < group.config.since:
        return True  # it never was on its way
    seen = max(place.seen, group.shared.head) if place.is_at_head else place.seen
    return read.offset < seen and read.offset not in place.open and read.offset not in place.shed


def _item(read: Read, order: Order) -> Item:
    stored = read.stored
    lane = replay_lane(lane_of(stored, order), read.offset)
    return Item(mapped_of(stored), lane, read.offset, stored.received_ms)


def _read(log: EventLog, position: int) -> tuple[list[Read], int | None]:
    reader = log.reader(EVENTS, "forwarder-replay", {PARTITION: position})
    try:
        return read_chunk(reader)
    finally:
        reader.close()


def _find_span(log: EventLog, job: Job) -> tuple[int, int]:
    """Return where a job begins (by bisection over the times of acceptance) and ends."""
    low = log.begins(EVENTS).get(PARTITION, 0)
    until = high = log.ends(EVENTS).get(PARTITION, 0)
    reader = log.reader(EVENTS, "forwarder-replay", {})
    try:
        while high - low > 1000:
            middle = (low + high) // 2
            received_ms = _received_ms(reader, middle)
            if received_ms is not None and received_ms < job.from_ms - DISORDER_MS:
                low = middle
            else:
                high = middle
    finally:
        reader.close()
    return low, until


def _received_ms(reader: Reader, offset: int) -> int | None:
    reader.seek({PARTITION: offset})
    chunk, _ = read_chunk(reader)
    return chunk[0].stored.received_ms if chunk else None
