"""An import: rows in, records into a partition of ACCEPTED that belongs to imports alone.

A partition has one appender at a time, so an import needs nothing of a running node, and a second
import waits its turn. A step:

1. read and judge up to `ROWS_MAX` rows;
2. wait while the pipeline is far behind: what the gateways take meanwhile stands in line with us;
3. append what is good, synced;
4. write the rejects, then save how far we are (`state/imports.py`), synced.

A kill between 3 and 4 leaves records in the log that the saved position does not know of. Each
record names its import and row, so a start looks at the log's end, goes through those rows again,
counts them, and leaves their append out. So a row is stored once, however often we are killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
from msgspec import Struct

from trunkline.bulk.judging import Reject, RowJudge, Verdict, number_of
from trunkline.bulk.rows import Row, RowsError
from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import Appender, EventLog, LogFailure, LogFull, Record
from trunkline.model.record import (
    ACCEPTED,
    AcceptedEvent,
    decode_accepted,
    encode_record,
    partition_key,
)
from trunkline.reports.imports import PARTITION, pipeline_position
from trunkline.state.home import Home, HomeLock
from trunkline.state.imports import ImportRow, Imports

ROWS_MAX = 1_000
RECORDS_MAX = 5_000  # with the last row's own it may be as many again
BYTES_MAX = 4_194_304
AHEAD_MAX = 10_000  # records that a running node's pipeline may be behind us: about a second
_PACE_SECONDS = 0.01
_LOOK_SECONDS = 1.0  # how long "no node runs here" is believed
_STUCK_SECONDS = 300.0
_FULL_SECONDS = 60.0
_FULL_PAUSE_SECONDS = 1.0


class ImportStopped(Exception):
    """The import cannot go on now; what was stored is saved. The message says what to do."""


class PartitionTaken(ImportStopped):
    """Another import runs: this one's turn comes when that one is through."""


class ImportHalted(Exception):
    """The import was asked to halt, and did; what was stored is saved."""


class RowSource(Protocol):
    """A file of rows (`rows.TextFile`, `tables.ParquetTable`)."""

    @property
    def share_read(self) -> float:
        """How much of the file was read, 0 to 1."""
        ...

    def rows(self, after: int) -> Iterator[Row]:
        """Yield the rows whose number is above `after`. Raises `RowsError`."""
        ...


class Told(Struct, frozen=True):
    """How far an import is: rows, events and rejects in all, and the share of the file, 0 to 1."""

    rows: int
    accepted: int
    rejected: int
    share: float


class _Step(Struct):
    """What was judged and not stored yet."""

    rows: int = 0
    last: int = 0
    bytes: int = 0
    events: list[tuple[int, AcceptedEvent]] = []
    rejected: list[Reject] = []

    @property
    def is_full(self) -> bool:
        return self.rows >= ROWS_MAX or len(self.events) >= RECORDS_MAX or self.bytes >= BYTES_MAX

    def add(self, number: int, verdict: Verdict) -> None:
        self.rows += 1
        self.last = number
        self.events += [(number, event) for event in verdict.accepted]
        self.bytes += sum([len(event.body) + len(event.envelope) for event in verdict.accepted])
        self.rejected += verdict.rejected


class RejectFile:
    """The rejects of an import, a line of JSON each. It is made with the first one."""

    def __init__(self, path: Path, keep_bytes: int, bytes_max: int | None = None) -> None:
        """Keep the first bytes of what is there: what lies behind was written and not counted.

        A reject that would end past `bytes_max`, and all behind it, are left out.
        """
        self.path = path
        self._keep_bytes = keep_bytes
        self._bytes_max = bytes_max
        self._is_full = False
        self._file: BinaryIO | None = None

    def begin(self) -> None:
        """Remove what an earlier import of the file left, where this one begins."""
        if not self._keep_bytes:
            self.path.unlink(missing_ok=True)

    def write(self, rejects: Sequence[Reject]) -> int:
        """Write rejects durably; return how long the file is now."""
        if not rejects or self._is_full:
            return self._keep_bytes
        if self._file is None:
            self._file = self.path.open("r+b" if self._keep_bytes else "wb")
            self._file.truncate(self._keep_bytes)
            self._file.seek(self._keep_bytes)
        for reject in rejects:
            line = msgspec.json.encode(reject) + b"\n"
            if self._bytes_max is not None and self._file.tell() + len(line) > self._bytes_max:
                self._is_full = True
                break
            self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._keep_bytes = self._file.tell()
        return self._keep_bytes

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


class Import:
    """One file on its way in."""

    def __init__(
        self,
        row: ImportRow,
        source: RowSource,
        judge: RowJudge,
        *,
        log: EventLog,
        imports: Imports,
        home: Home,
        rejects: RejectFile,
        clock: Clock,
        stamp: Callable[[], int],
        is_halted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Raises `PartitionTaken` where another import runs. `is_halted` is asked now and then."""
        self.row = row
        self._source = source
        self._judge = judge
        self._log = log
        self._imports = imports
        self._rejects = rejects
        self._clock = clock
        self._stamp = stamp
        self._appender = open_partition(log)
        rejects.begin()
        self._is_halted = is_halted
        self._pace = Pace(home, clock, is_halted)
        self._appended_to = 0
        self._worked_to = clock.monotonic()

    def run(self, tell: Callable[[Told], None]) -> None:
        """Take the file in from where the last try ended.

        Raises `ImportStopped`, `ImportHalted`, and `RowsError` where the file breaks off.
        """
        self._worked_to = self._clock.monotonic()
        self._appended_to = self._find_appended()
        step = _Step()
        try:
            for row in self._source.rows(self.row.position):
                step.add(row.number, self._judge.judge(row, self._clock.now_ms()))
                if step.is_full:
                    self._store(step)
                    step = _Step()
                    tell(self._told())
                    if self._is_halted():
                        raise ImportHalted
        except RowsError:
            self._store(step)
            raise
        self._store(step)
        self.row.done_ms = self._clock.now_ms()
        self._save()
        tell(self._told())

    def close(self) -> None:
        """Let go of the partition and of the file of rejects."""
        self._appender.close()
        self._rejects.close()

    def _told(self) -> Told:
        row = self.row
        return Told(row.rows, row.accepted, row.rejected, self._source.share_read)

    def _store(self, step: _Step) -> None:
        if not step.rows:
            return
        records = [
            Record(partition_key(event.app, event.user), encode_record(event), self._stamp())
            for number, event in step.events
            if number > self._appended_to
        ]
        row = self.row
        if records:
            self._pace.wait(row.next_offset)
            offsets = self._append(records)
            row.next_offset = offsets[-1] + 1
        row.rows += step.rows
        row.position = step.last
        row.accepted += len(step.events)
        row.rejected += len(step.rejected)
        row.reject_bytes = self._rejects.write(step.rejected)
        self._save()

    def _save(self) -> None:
        row, now = self.row, self._clock.monotonic()
        row.seconds += now - self._worked_to
        self._worked_to = now
        row.share = self._source.share_read
        row.saved_ms = self._clock.now_ms()
        self._imports.save(row)

    def _append(self, records: Sequence[Record]) -> Sequence[int]:
        deadline = self._clock.monotonic() + _FULL_SECONDS
        while True:
            try:
                return self._appender.append(records)
            except LogFull as error:
                if self._clock.monotonic() > deadline:
                    raise ImportStopped(
                        f"the disk is full ({error}); make room and start the import again: it "
                        f"goes on behind row {self.row.position}"
                    ) from error
                if self._is_halted():
                    raise ImportHalted from error
                self._clock.pause(_FULL_PAUSE_SECONDS)
            except LogFailure as error:
                raise ImportStopped(
                    f"the event log takes nothing ({error}); start the import again: it goes on "
                    f"behind row {self.row.position}"
                ) from error

    def _find_appended(self) -> int:
        """Return the last row that lies in the log and that the saved position does not know of."""
        if self.row.next_offset < 0:  # it begins: known from before its first append on
            end = self._log.ends(ACCEPTED).get(PARTITION, 0)
            self.row.first_offset = self.row.next_offset = end
            self._save()
        begin = self.row.next_offset
        end = min(self._log.ends(ACCEPTED).get(PARTITION, 0), begin + 4 * RECORDS_MAX)
        last = 0
        for offset in range(begin, end):
            fetched = self._log.fetch(ACCEPTED, PARTITION, offset)
            record = decode_accepted(fetched.record.value) if fetched else None
            if isinstance(record, AcceptedEvent):
                last = max(last, number_of(record.request_id, self.row.name) or 0)
        return last


def open_partition(log: EventLog) -> Appender:
    """Open the partition of imports. Raises `PartitionTaken` where another import has it."""
    try:
        return log.appender(ACCEPTED, PARTITION)
    except LogFailure as error:
        raise PartitionTaken(
            f"the partition of imports cannot be opened ({error}); one import runs at a time: "
            "start this one when the other is through"
        ) from error


class Pace:
    """Keeps an import from running far ahead of a node: live events stand in one line with it."""

    def __init__(
        self, home: Home, clock: Clock, is_halted: Callable[[], bool] = lambda: False
    ) -> None:
        self._home = home
        self._clock = clock
        self._is_halted = is_halted
        self._alone_until = 0.0

    def wait(self, end: int) -> None:
        """Wait until the pipeline of the node, where one runs, is near `end`.

        Raises `ImportStopped` where it stands still, `ImportHalted` where it is asked to.
        """
        taken, since = pipeline_position(self._home), self._clock.monotonic()
        while end - taken > AHEAD_MAX and self.has_node():
            if self._is_halted():
                raise ImportHalted
            self._clock.pause(_PACE_SECONDS)
            before, taken = taken, pipeline_position(self._home)
            if taken != before:
                since = self._clock.monotonic()
            elif self._clock.monotonic() - since > _STUCK_SECONDS:
                raise ImportStopped(
                    f"the running node has taken up no event for {_STUCK_SECONDS:.0f} s; see its "
                    "log and `trunkline doctor`, then start the import again: it goes on"
                )

    def has_node(self) -> bool:
        """Say whether a node runs on the home."""
        if self._clock.monotonic() < self._alone_until:
            return False
        lock = HomeLock(self._home)
        if not lock.try_take(f"pid {os.getpid()} trunkline import"):
            return True
        lock.release()
        self._alone_until = self._clock.monotonic() + _LOOK_SECONDS
        return False
