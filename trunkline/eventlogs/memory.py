"""The event log in memory: the specification that the others are compared with, and for tests.

It keeps every rule of the contract but durability: what is appended is gone with the process. It
has segments too, so that retention means the same here as on disk.

`failure` makes it fail as a disk does: set it to a `LogFull` or `LogFailure`, and appending and
probing raise it, storing nothing, until it is None again.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from trunkline.kit.clock import Clock, FakeClock
from trunkline.kit.eventlog import (
    Appender,
    EventLog,
    Fetched,
    LogFailure,
    Offsets,
    Reader,
    Record,
)
from trunkline.kit.merge import Pull, StampMerge, weight


class _Segment:
    """Records next to each other that are removed together."""

    def __init__(self, base: int, created_ms: int) -> None:
        self.base = base
        self.created_ms = created_ms
        self.records: list[Fetched] = []
        self.bytes = 0
        self.last_stamp = -(1 << 63)


class _Partition:
    """Segments in order; the last takes what is appended."""

    def __init__(self, created_ms: int) -> None:
        self.segments = [_Segment(0, created_ms)]
        self.has_appender = False

    @property
    def end(self) -> int:
        last = self.segments[-1]
        return last.base + len(last.records)

    def slice(self, offset: int) -> list[Fetched]:
        """Return the records of the first segment that has any at or behind an offset."""
        for segment in self.segments:
            if offset < segment.base + len(segment.records):
                return segment.records[max(0, offset - segment.base) :]
        return []


class _Topic:
    """Partitions, groups, and who is told of news."""

    def __init__(self) -> None:
        self.partitions: dict[int, _Partition] = {}
        self.groups: dict[str, dict[int, int]] = {}
        self.readers: list[MemoryReader] = []


class MemoryEventLog(EventLog):
    """Topics in memory. Every method may be called from any thread.

    `segment_bytes` and `segment_seconds` say when a segment is closed, `stamp_now` is the clock of
    the records' stamps; see `kit/merge.py`.
    """

    kind: ClassVar[str] = "memory"

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        segment_bytes: int = 268_435_456,
        segment_seconds: float = 3600.0,
        stamp_now: Callable[[], int] | None = None,
    ) -> None:
        self.failure: LogFailure | None = None
        self.lock = threading.RLock()
        self._clock = clock or FakeClock()
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._stamp_now = stamp_now
        self._topics: dict[str, _Topic] = {}

    def appender(self, topic: str, partition: int) -> MemoryAppender:
        with self.lock:
            place = self._topic(topic).partitions.setdefault(
                partition, _Partition(self._clock.now_ms())
            )
            if place.has_appender:
                raise LogFailure(
                    f"{topic}/{partition} has an appender already; "
                    "a partition has one appender at a time"
                )
            place.has_appender = True
            return MemoryAppender(self, topic, partition)

    def reader(self, topic: str, group: str, positions: Offsets) -> MemoryReader:
        reader = MemoryReader(self, topic, group, positions, self._stamp_now)
        with self.lock:
            self._topic(topic).readers.append(reader)
        return reader

    def fetch(self, topic: str, partition: int, offset: int) -> Fetched | None:
        found = self.pull(topic, partition, offset)
        return found[0] if found and found[0].offset == offset else None

    def begins(self, topic: str) -> dict[int, int]:
        with self.lock:
            return {
                number: partition.segments[0].base
                for number, partition in sorted(self._topic(topic).partitions.items())
            }

    def ends(self, topic: str) -> dict[int, int]:
        with self.lock:
            return {
                number: partition.end
                for number, partition in sorted(self._topic(topic).partitions.items())
            }

    def commit(self, topic: str, group: str, positions: Offsets) -> None:
        with self.lock:
            self._topic(topic).groups.setdefault(group, {}).update(positions)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        with self.lock:
            return dict(self._topic(topic).groups.get(group, {}))

    def forget(self, topic: str, group: str) -> None:
        with self.lock:
            self._topic(topic).groups.pop(group, None)

    def offset_at(self, topic: str, partition: int, stamp: int) -> int:
        with self.lock:
            place = self._topic(topic).partitions.get(partition)
            for segment in place.segments if place else ():
                for fetched in segment.records:
                    if fetched.record.stamp >= stamp:
                        return fetched.offset
            return place.end if place else 0

    def retain(self, topic: str, since_stamp: int, bytes_max: int | None) -> int:
        with self.lock:
            room = self._topic(topic)
            above = 0
            if bytes_max is not None and room.groups:
                above = max(0, self.size_bytes(topic) - bytes_max)
            freed = 0
            for number, partition in sorted(room.partitions.items(), key=_oldest):
                done = min((group.get(number, 0) for group in room.groups.values()), default=None)
                freed += _retain(partition, since_stamp, above - freed, done)
            return freed

    def search(
        self, topic: str, partition: int, span: range, hints: Sequence[bytes], records_max: int
    ) -> tuple[Sequence[Fetched], int]:
        found: list[Fetched] = []
        with self.lock:
            place = self._topic(topic).partitions.get(partition)
            for segment in place.segments if place else ():
                for fetched in segment.records:
                    if len(found) >= records_max:
                        return found, fetched.offset
                    if fetched.offset in span and any(h in fetched.record.value for h in hints):
                        found.append(fetched)
        return found, span.stop

    def replace(self, topic: str, partition: int, records: Mapping[int, Record]) -> None:
        with self.lock:
            place = self._topic(topic).partitions.get(partition)
            for segment in place.segments if place else ():
                segment.records[:] = [
                    each._replace(record=records.get(each.offset, each.record))
                    for each in segment.records
                ]

    def size_bytes(self, topic: str) -> int:
        with self.lock:
            return sum(
                segment.bytes
                for partition in self._topic(topic).partitions.values()
                for segment in partition.segments
            )

    def close(self) -> None:
        with self.lock:
            readers = [reader for topic in self._topics.values() for reader in topic.readers]
        for reader in readers:
            reader.close()

    def store(self, topic: str, partition: int, records: Sequence[Record]) -> range:
        """Append for an appender and tell the readers."""
        with self.lock:
            if self.failure is not None:
                raise self.failure
            place = self._topic(topic).partitions[partition]
            segment = self._segment_for(place, records)
            first = place.end
            fetched = [Fetched(partition, first + i, record) for i, record in enumerate(records)]
            segment.records.extend(fetched)
            segment.bytes += sum(map(weight, fetched))
            segment.last_stamp = max([segment.last_stamp, *(record.stamp for record in records)])
            for reader in self._topic(topic).readers:
                reader.ring()
            return range(first, first + len(records))

    def release(self, topic: str, partition: int) -> None:
        """Let another appender have the partition."""
        with self.lock:
            self._topic(topic).partitions[partition].has_appender = False

    def leave(self, topic: str, reader: MemoryReader) -> None:
        """Tell a reader nothing more."""
        with self.lock, contextlib.suppress(ValueError):
            self._topic(topic).readers.remove(reader)

    def pull(self, topic: str, partition: int, offset: int) -> list[Fetched]:
        """Return records from an offset on, to the end of their segment; empty where none are."""
        with self.lock:
            place = self._topic(topic).partitions.get(partition)
            return place.slice(offset) if place else []

    def _topic(self, topic: str) -> _Topic:
        return self._topics.setdefault(topic, _Topic())

    def _segment_for(self, place: _Partition, records: Sequence[Record]) -> _Segment:
        last = place.segments[-1]
        now_ms = self._clock.now_ms()
        grown = last.bytes + sum(len(record.key) + len(record.value) for record in records)
        is_old = now_ms - last.created_ms >= self._segment_seconds * 1000
        if last.records and (is_old or grown > self._segment_bytes):
            last = _Segment(place.end, now_ms)
            place.segments.append(last)
        return last


class MemoryAppender(Appender):
    """The one writer of a partition in memory."""

    def __init__(self, log: MemoryEventLog, topic: str, partition: int) -> None:
        self._log = log
        self._place = (topic, partition)
        self._is_open = True

    def append(self, records: Sequence[Record]) -> Sequence[int]:
        if not self._is_open:
            raise LogFailure(f"the appender of {self._place[0]}/{self._place[1]} is closed")
        return self._log.store(*self._place, records)

    def probe(self) -> None:
        self.append(())

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._log.release(*self._place)


class MemoryReader(Reader):
    """One member of a group."""

    def __init__(
        self,
        log: MemoryEventLog,
        topic: str,
        group: str,
        positions: Offsets,
        stamp_now: Callable[[], int] | None,
    ) -> None:
        self.group = group
        self._log = log
        self._topic = topic
        self._merge = StampMerge(stamp_now)
        self._next: dict[int, int] = dict(positions)  # to hand out
        self._ahead: dict[int, int] = dict(positions)  # to pull
        self._listen, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_open = True

    def read(self, records_max: int, bytes_max: int = 8_388_608) -> Sequence[Fetched]:
        taken = self._merge.read(self._pulls, records_max, bytes_max)
        for fetched in taken:
            self._next[fetched.partition] = fetched.offset + 1
        return taken

    def wait(self, timeout_seconds: float) -> bool:
        if self._has_more():
            self.drain()
            return True
        poller = select.poll()
        poller.register(self._listen, select.POLLIN)
        if not poller.poll(timeout_seconds * 1000):
            return False
        self.drain()
        return True

    def fileno(self) -> int | None:
        return self._listen

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._listen, 4096)) == 4096:
                pass

    def positions(self) -> dict[int, int]:
        for partition, begin in self._log.begins(self._topic).items():
            self._next.setdefault(partition, begin)
        return dict(sorted(self._next.items()))

    def seek(self, positions: Offsets) -> None:
        self._merge.clear()
        self._next = dict(positions)
        self._ahead = dict(positions)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._log.leave(self._topic, self)
            os.close(self._listen)
            os.close(self._ring)

    def ring(self) -> None:
        """Make `fileno` readable."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring, b"!")

    def _has_more(self) -> bool:
        ends = self._log.ends(self._topic)
        return any(self._next.get(partition, 0) < end for partition, end in ends.items())

    def _pulls(self) -> dict[int, Pull]:
        return {partition: self._pull_of(partition) for partition in self._log.ends(self._topic)}

    def _pull_of(self, partition: int) -> Pull:
        def pull(records_max: int, bytes_max: int) -> tuple[Sequence[Fetched], bool]:
            found = self._log.pull(self._topic, partition, self._ahead.get(partition, 0))
            taken: list[Fetched] = []
            total = 0
            for fetched in found[:records_max]:
                total += weight(fetched)
                if taken and total > bytes_max:
                    break
                taken.append(fetched)
            if taken:
                self._ahead[partition] = taken[-1].offset + 1
            return taken, len(taken) < len(found)

        return pull


def _oldest(entry: tuple[int, _Partition]) -> int:
    return entry[1].segments[0].last_stamp


def _retain(partition: _Partition, since_stamp: int, above: int, done: int | None) -> int:
    """Remove segments from the oldest on; `done` is what every group is past, None without one."""
    freed = 0
    segments = partition.segments
    keep = bisect.bisect_right([segment.base for segment in segments], done) if done else 0
    removable = len(segments) - 1 if done is None else min(keep, len(segments)) - 1
    for segment in list(segments[: max(0, removable)]):
        if segment.last_stamp >= since_stamp and freed >= above:
            break
        freed += segment.bytes
        segments.remove(segment)
    return freed
