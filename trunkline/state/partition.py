"""A partition on disk: a folder of segments, seen by who reads it. Its one writer is the appender.

Offsets of a segment end below the next one's base. They may leave a gap: an append whose fate is
unknown is never written again, so its offsets stay its own.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import Fetched, LogFailure, Record
from trunkline.kit.folders import sync_folder
from trunkline.state.rewriting import (
    Manner,
    find_unfinished,
    replace_records,
    search_segment,
    sweep_copies,
)
from trunkline.state.segment import (
    NO_STAMP,
    SIDE_FILES,
    Segment,
    SegmentReader,
    list_segments,
    open_reader,
    remove_segment,
)

_OPEN_MAX = 8  # segments a process keeps open for single look-ups


class Shelf:
    """Opens segments for reading and keeps the last few open. May be used from any thread."""

    def __init__(self, sync: str, vfs: str | None, clock: Clock) -> None:
        self._manner = Manner(sync, vfs, clock)
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[Path, bool], SegmentReader] = OrderedDict()

    def open(self, path: Path, is_closed: bool) -> SegmentReader | None:
        """Open a segment for the caller alone; None where it is gone or not made yet."""
        return open_reader(path, is_closed, self._manner.sync, self._manner.vfs)

    @contextlib.contextmanager
    def borrow(self, path: Path, is_closed: bool) -> Generator[SegmentReader | None]:
        """Lend a segment for a look."""
        with self._lock:
            yield self._keep(path, is_closed) if path.exists() else None

    def drop(self, path: Path) -> None:
        """Let go of a segment that was removed."""
        with self._lock:
            self._drop((path, True))
            self._drop((path, False))

    def replace(self, folder: Path, path: Path, records: Mapping[int, Record]) -> None:
        """Replace records of a segment for good."""
        self.drop(path)
        replace_records(folder, path, records, self._manner)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for key in list(self._open):
                self._drop(key)

    def _keep(self, path: Path, is_closed: bool) -> SegmentReader | None:
        key = (path, is_closed)
        if key in self._open and self._open[key].was_replaced():
            self._drop(key)
        if key not in self._open:
            self._drop((path, not is_closed))
            reader = self.open(path, is_closed)
            if reader is None:
                return None
            self._open[key] = reader
        self._open.move_to_end(key)
        while len(self._open) > _OPEN_MAX:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def _drop(self, key: tuple[Path, bool]) -> None:
        reader = self._open.pop(key, None)
        if reader is not None:
            reader.close()


class Partition:
    """A partition to look at. May be used from any thread."""

    def __init__(self, folder: Path, number: int, shelf: Shelf) -> None:
        self.folder = folder
        self.number = number
        self._shelf = shelf
        self._last_stamps: dict[int, int] = {}  # of closed segments, by base

    def begin(self) -> int:
        """Return the first offset that is kept."""
        segments = list_segments(self.folder)
        return segments[0].base if segments else 0

    def end(self) -> int:
        """Return the offset behind the last record that can be read."""
        return self.tip()[0]

    def tip(self) -> tuple[int, int]:
        """Return the end and the largest stamp of all records that are kept."""
        end = 0
        is_closed = False
        for segment in reversed(list_segments(self.folder)):
            with self._shelf.borrow(segment.path, is_closed) as reader:
                at, stamp = reader.end() if reader else (segment.base, NO_STAMP)
            end = max(end, at)
            is_closed = True
            if stamp != NO_STAMP:
                break
        else:
            stamp = NO_STAMP
        return end, stamp

    def fetch(self, offset: int) -> Fetched | None:
        """Return one record, or None where it is not kept."""
        segments = list_segments(self.folder)
        at = bisect.bisect_right(segments, offset, key=lambda segment: segment.base) - 1
        if at < 0:
            return None
        with self._shelf.borrow(segments[at].path, at + 1 < len(segments)) as reader:
            return reader.fetch(self.number, offset) if reader else None

    def search(
        self, span: range, hints: Sequence[bytes], records_max: int
    ) -> tuple[list[Fetched], int]:
        """Return the records of a span that hold one of `hints`, and the offset to go on from."""
        segments = list_segments(self.folder)
        for number, segment in enumerate(segments):
            is_closed = number + 1 < len(segments)
            end = segments[number + 1].base if is_closed else span.stop
            part = range(max(span.start, segment.base), min(span.stop, end))
            reader = self._shelf.open(segment.path, is_closed) if part else None
            if reader is None:
                continue
            try:
                found, at = search_segment(reader, self.number, part, hints, records_max)
            finally:
                reader.close()
            if found:
                return found, at
        return [], span.stop

    def replace(self, records: Mapping[int, Record]) -> None:
        """Replace records for good, at their offsets. What is not kept any more is left out.

        What a kill left of an earlier call goes with it, also where there is nothing to replace.
        """
        sweep_copies(self.folder)
        segments = list_segments(self.folder)
        parts: dict[Path, dict[int, Record]] = {path: {} for path in find_unfinished(self.folder)}
        for offset, record in records.items():
            at = bisect.bisect_right(segments, offset, key=lambda segment: segment.base) - 1
            if at >= 0:
                parts.setdefault(segments[at].path, {})[offset] = record
        for path, part in parts.items():
            self._shelf.replace(self.folder, path, part)

    def offset_at(self, stamp: int) -> int:
        """Return the first offset with this stamp or a later one, or the end."""
        segments = list_segments(self.folder)
        if not segments:
            return 0
        closed = segments[:-1]
        at = bisect.bisect_left(closed, stamp, key=self.last_stamp)
        with self._shelf.borrow(segments[at].path, at < len(closed)) as reader:
            return reader.offset_at(stamp) if reader else segments[at].base

    def last_stamp(self, segment: Segment) -> int:
        """Return the largest stamp up to the end of a closed segment."""
        if segment.base not in self._last_stamps:
            with self._shelf.borrow(segment.path, True) as reader:
                self._last_stamps[segment.base] = reader.end()[1] if reader else NO_STAMP
        return self._last_stamps[segment.base]

    def oldest_stamp(self) -> int:
        """Return the largest stamp of the oldest segment that could be removed."""
        segments = list_segments(self.folder)
        return self.last_stamp(segments[0]) if len(segments) > 1 else NO_STAMP

    def retain(self, since_stamp: int, above: int, done: int | None) -> tuple[int, int]:
        """Remove closed segments from the oldest on; return how many, and the bytes freed.

        `above` is what is to be freed whatever its age; `done` is what every group is past, None
        where there is no group. The last segment stays: its name says where offsets go on.
        """
        count = freed = 0
        for segment, following in itertools.pairwise(list_segments(self.folder)):
            is_needed = done is not None and following.base > done
            is_young = self.last_stamp(segment) >= since_stamp
            if is_needed or (is_young and freed >= above):
                break
            freed += self._remove(segment)
            count += 1
        if count:
            sync_folder(self.folder)
        return count, freed

    def _remove(self, segment: Segment) -> int:
        freed = remove_segment(segment.path)
        self._last_stamps.pop(segment.base, None)
        self._shelf.drop(segment.path)
        return freed

    def size_bytes(self) -> int:
        """Return what the partition takes on disk, of the length of its files."""
        total = 0
        for entry in _scan(self.folder):
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
        return total

    def sweep_orphans(self) -> None:
        """Remove side files whose segment is gone."""
        for entry in _scan(self.folder):
            for side in SIDE_FILES:
                if entry.name.endswith(f".db{side}"):
                    path = Path(entry.path)
                    if not path.with_name(entry.name.removesuffix(side)).exists():
                        path.unlink(missing_ok=True)

    def cursor(self, offset: int) -> Cursor:
        """Start reading at an offset."""
        return Cursor(self, self._shelf, offset)


class Cursor:
    """Reads a partition onward, from segment to segment. `offset` is what it will read next."""

    def __init__(self, partition: Partition, shelf: Shelf, offset: int) -> None:
        self.offset = offset
        self._partition = partition
        self._shelf = shelf
        self._reader: SegmentReader | None = None

    def pull(self, records_max: int, bytes_max: int) -> tuple[Sequence[Fetched], bool]:
        """Return the next records in whole blocks, and whether there may be more right now."""
        if self._reader is not None and self._reader.was_replaced():
            self.close()  # read on in what has taken its place
        while self._reader is not None or self._enter():
            taken, is_cut = self._read(records_max, bytes_max)
            if taken:
                return taken, is_cut or self._successor() is not None
            following = self._successor()
            if following is None:
                return (), False
            # Read again: what was appended before the file was closed is seen only now.
            taken, is_cut = self._read(records_max, bytes_max)
            if taken:
                return taken, True
            if not self._go_to(following):
                break  # it is being made; there is nothing in it
        return (), False

    def has_more(self) -> bool:
        """Say whether there is something to pull."""
        if self._reader is None and not self._enter():
            return False
        reader = self._reader
        return (reader is not None and reader.end()[0] > self.offset) or (
            self._successor() is not None
        )

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self, records_max: int, bytes_max: int) -> tuple[list[Fetched], bool]:
        assert self._reader is not None
        try:
            taken, is_cut = self._reader.read(
                self._partition.number, self.offset, records_max, bytes_max
            )
        except LogFailure:
            self.close()  # opened again next time: what was mended meanwhile is seen then
            raise
        if taken:
            self.offset = taken[-1].offset + 1
        return taken, is_cut

    def _enter(self) -> bool:
        segments = list_segments(self._partition.folder)
        if not segments:
            return False
        at = bisect.bisect_right(segments, self.offset, key=lambda segment: segment.base) - 1
        return self._go_to(segments[max(0, at)])

    def _successor(self) -> Segment | None:
        if self._reader is None:
            return None
        base = self._reader.base
        later = (each for each in list_segments(self._partition.folder) if each.base > base)
        return next(later, None)

    def _go_to(self, segment: Segment) -> bool:
        self.close()
        is_closed = list_segments(self._partition.folder)[-1:] != [segment]
        self._reader = self._shelf.open(segment.path, is_closed)
        if self._reader is None:
            return False
        self.offset = max(self.offset, segment.base)
        return True


class PartitionLock:
    """The flock that makes a partition's appender the only one. It ends with its process."""

    def __init__(self, folder: Path) -> None:
        """Take it. Raises `LogFailure` where another has it."""
        path = folder / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace") or "another process"
            os.close(self._fd)
            raise LogFailure(
                f"{folder}: process {holder} appends to this partition; "
                "a partition has one appender at a time, so stop that one or take another partition"
            ) from error
        # Who holds it is a courtesy to the one who is refused: a disk without a free byte must not
        # keep the appender from opening and saying that the disk is full.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another have it."""
        os.close(self._fd)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, so that a power loss does not take it away again."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.name != "lock"]
    except FileNotFoundError:
        return []
