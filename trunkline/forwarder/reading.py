"""Reading EVENTS: once for all groups at the head, and by themselves for those that fell behind.

A group at the head costs nothing until an event of its app comes. One without room leaves, so that
it holds back nobody; when it has room again it reads a chunk by itself, at most `readers_max` at a
time, until it has caught up with the head and goes along with it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from trunkline.forwarder.group import Group
from trunkline.forwarder.item import mapped_of
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.threads import Worker
from trunkline.kit.destination import Mapped
from trunkline.kit.eventlog import EventLog, Reader
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.telemetry import forwarder as telemetry

PARTITION = 0  # EVENTS of one node has one partition
CHUNK_RECORDS = 500  # about 5 ms of the event loop
CHUNK_BYTES = 4_194_304
LOOK_SECONDS = 1.0  # a ring may be lost; so often the log is looked at without one


class Read(NamedTuple):
    """A record of EVENTS, decoded once."""

    offset: int
    stored: StoredEvent
    size: int


def read_chunk(reader: Reader) -> tuple[list[Read], int | None]:
    """Read and decode. Returns the events and the next offset; None where there was nothing."""
    records = reader.read(CHUNK_RECORDS, CHUNK_BYTES)
    chunk: list[Read] = []
    for record in records:
        try:
            stored = decode_stored(record.record.value)
        except msgspec.DecodeError as error:
            telemetry.record_unreadable(record.offset, error)
            continue
        chunk.append(Read(record.offset, stored, len(record.record.value)))
    return chunk, records[-1].offset + 1 if records else None


class Routes:
    """The groups of one app: those at the head, and those that read by themselves."""

    def __init__(self) -> None:
        self.at_head: dict[Group, None] = {}
        self.away: dict[Group, None] = {}


class Head:
    """The one reader that all groups share.

    `ahead` is the first offset whose event was accepted under a snapshot that is newer than ours:
    where a destination that we do not know yet may begin. None where there is none.
    """

    def __init__(
        self, log: EventLog, shared: Shared, worker: Worker, look: Callable[[], None]
    ) -> None:
        """`look` has the engine look at the catalog now."""
        self._look_at_catalog = look
        self.ahead: int | None = None
        self.newest = 0  # snapshot of an event so far, where it was newer than ours
        self.routes: dict[str, Routes] = {}
        self._log = log
        self._shared = shared
        self._worker = worker
        self._news = asyncio.Event()
        self._behind = 0

    def add(self, group: Group) -> None:
        """Take a group along, from the head or from where it stands."""
        routes = self.routes.setdefault(group.config.app, Routes())
        place = group.book.place
        if not place.shed and place.cursor >= self._shared.head:
            place.is_at_head = True
            routes.at_head[group] = None
        else:
            routes.away[group] = None
            self._count_behind(1)

    def leave(self, group: Group, offset: int) -> None:
        """Let a group go its own way; `offset` is the first that it has not taken."""
        place = group.book.place
        place.is_at_head = False
        place.seen = max(place.seen, offset)
        place.cursor = offset
        routes = self.routes[group.config.app]
        del routes.at_head[group]
        routes.away[group] = None
        self._count_behind(1)

    def rejoin(self, group: Group) -> None:
        """Take a group along that has caught up."""
        routes = self.routes[group.config.app]
        if routes.away.pop(group, group) is None:
            place = group.book.place
            if place.shed:  # retention never passes a group, so this is a damaged log
                telemetry.records_missing(group.config.app, group.config.id, len(place.shed))
                place.shed.clear()
            place.is_at_head = True
            place.behind_bytes = 0
            routes.at_head[group] = None
            self._count_behind(-1)
            group.book.touch()

    def remove(self, group: Group) -> None:
        """Forget a group."""
        routes = self.routes[group.config.app]
        routes.at_head.pop(group, None)
        if routes.away.pop(group, group) is None:
            self._count_behind(-1)
        if not routes.at_head and not routes.away:
            del self.routes[group.config.app]

    async def run(self) -> None:
        """Read for ever."""
        reader = self._log.reader(EVENTS, "forwarder", {PARTITION: self._shared.head})
        loop = asyncio.get_running_loop()
        fd = reader.fileno()
        if fd is not None:
            loop.add_reader(fd, self._ring, reader)
        try:
            while not self._shared.is_stopping:
                self._news.clear()
                chunk, following = await self._worker.run(lambda: read_chunk(reader))
                if following is None:
                    await self._wait(reader, fd)
                else:
                    self._pass(chunk, following)
        finally:
            if fd is not None:
                loop.remove_reader(fd)
            reader.close()

    def _ring(self, reader: Reader) -> None:
        reader.drain()
        self._news.set()

    async def _wait(self, reader: Reader, fd: int | None) -> None:
        if fd is None:
            await self._worker.run(lambda: reader.wait(LOOK_SECONDS))
            return
        look = self._shared.tasks.start(self._look())
        await self._news.wait()
        look.cancel()

    async def _look(self) -> None:
        await self._shared.clock.sleep(LOOK_SECONDS)
        self._news.set()

    def _pass(self, chunk: Sequence[Read], following: int) -> None:
        """Offer a chunk to everyone at the head, and let them start."""
        touched: dict[Group, None] = {}
        if any(read.stored.snapshot > self._shared.version for read in chunk):
            # Who was told that a change is live may have sent this: nothing older decides on it.
            self._look_at_catalog()
        version = self._shared.version
        for read in chunk:
            if read.stored.snapshot > version:
                self.newest = max(self.newest, read.stored.snapshot)
                self.ahead = read.offset if self.ahead is None else self.ahead
            routes = self.routes.get(read.stored.app)
            if routes is not None:
                self._offer(read, routes, touched)
        self._shared.head = following
        telemetry.records_read(len(chunk))
        for group in touched:
            group.book.touch()
            group.pump()

    def _offer(self, read: Read, routes: Routes, touched: dict[Group, None]) -> None:
        """Offer one event to the groups of its app."""
        offset, stored, size = read
        mapped: Mapped | None = None
        for group in tuple(routes.at_head):
            mapped = mapped or mapped_of(stored)
            touched[group] = None
            if not group.offer(offset, stored, mapped):
                self.leave(group, offset)
        for group in routes.away:
            if offset >= group.book.place.cursor:
                group.book.place.behind_bytes += size

    def _count_behind(self, change: int) -> None:
        self._behind += change
        telemetry.groups_behind(self._behind)


class CatchUp:
    """Chunks for groups that are behind, one after the other, fairly."""

    def __init__(self, log: EventLog, shared: Shared, head: Head) -> None:
        self._log = log
        self._shared = shared
        self._head = head
        self._hungry: deque[Group] = deque()
        self._running = 0
        self._idle: list[tuple[Reader, Worker]] = []
        self._made = 0

    def want(self, group: Group) -> None:
        """Read a chunk for a group when it is its turn."""
        group.is_reading = True
        self._hungry.append(group)
        if self._running < self._shared.settings.readers_max:
            self._running += 1
            self._shared.tasks.start(self._work())

    def close(self) -> None:
        """Close the readers that no group uses."""
        for reader, worker in self._idle:
            reader.close()
            worker.close()
        self._idle.clear()

    async def _work(self) -> None:
        """Feed hungry groups until there is none."""
        reader, worker = self._idle.pop() if self._idle else self._make()
        while self._hungry and not self._shared.is_stopping:
            group = self._hungry.popleft()
            cursor, head = group.book.place.cursor, self._shared.head

            def read(cursor: int = cursor) -> tuple[list[Read], int | None]:
                reader.seek({PARTITION: cursor})
                return read_chunk(reader)

            chunk, following = await worker.run(read)
            group.is_reading = False
            if not group.is_ended and group.book.place.cursor == cursor:
                self._feed(group, chunk, head if following is None else following)
            group.pump()
        self._running -= 1
        self._idle.append((reader, worker))

    def _make(self) -> tuple[Reader, Worker]:
        self._made += 1
        worker = self._shared.threads(f"catch-up {self._made}")
        return self._log.reader(EVENTS, "forwarder-behind", {}), worker

    def _feed(self, group: Group, chunk: Sequence[Read], following: int) -> None:
        place = group.book.place
        for offset, stored, size in chunk:
            if stored.app != group.config.app:
                continue
            place.cursor = offset
            if not group.offer(offset, stored, mapped_of(stored)):
                group.book.touch()
                return
            place.behind_bytes = max(0, place.behind_bytes - size)
        place.cursor = max(place.cursor, following)
        place.seen = max(place.seen, place.cursor)
        group.book.touch()
        if place.cursor >= self._shared.head and place.cursor >= place.seen:
            self._head.rejoin(group)
