"""The event log contract, in Kafka's words: topics, partitions, offsets, groups, commit, lag.

Rules that every implementation keeps, and that the contract tests check:

- `append` returns when the records are durable, and only then. Order within a partition is the
  order of appending.
- An offset names a record for ever. Offsets grow; they need not be dense (on Kafka they are not),
  so nobody computes with them beyond comparing, and adding 1 to name "the next one".
- A reader sees every durable record once, in offset order within a partition. Records of several
  partitions come merged by stamp as far as cause and effect can tell: what was acknowledged before
  another record was received comes before it.
- A committed offset is the *next* record to read.
- A partition has one appender at a time.

The positions of an engine live in the engine's own state, in one transaction with what it did.
What is committed here serves retention and lag: nothing at or behind a group's commit is removed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Offsets = Mapping[int, int]  # partition → next offset


class Record(NamedTuple):
    """Bytes with a key (keeps a user in one partition) and a stamp (nanoseconds at receipt)."""

    key: bytes
    value: bytes
    stamp: int


class Fetched(NamedTuple):
    """A record that was read, with its place."""

    partition: int
    offset: int
    record: Record


class LogFailure(Exception):
    """The log cannot take records. Nothing of the append was stored, or it will be found whole."""

    retry_after_seconds: int = 5


class LogFull(LogFailure):
    """The disk is full. The log takes records again by itself when there is room."""


class Appender(ABC):
    """The one writer of a partition."""

    @abstractmethod
    def append(self, records: Sequence[Record]) -> Sequence[int]:
        """Store records and return their offsets. Returning means durable.

        Blocking; called from a thread. Raises `LogFailure`: none of them is stored.
        """

    @abstractmethod
    def probe(self) -> None:
        """Write durably and leave no record, or raise `LogFailure`: what `/health/ready` asks."""

    @abstractmethod
    def close(self) -> None:
        """Release the partition."""


class Reader(ABC):
    """One member of a consumer group, on one topic."""

    @abstractmethod
    def read(self, records_max: int, bytes_max: int = 8_388_608) -> Sequence[Fetched]:
        """Return the next records, at once; empty where there are none yet.

        At least one record is returned where one is there, however large.
        """

    @abstractmethod
    def wait(self, timeout_seconds: float) -> bool:
        """Block until there may be more, or time is up; False when time is up."""

    @abstractmethod
    def fileno(self) -> int | None:
        """Return a descriptor that turns readable when there may be more, for an event loop.

        None where there is none: then use `wait` in a thread. `drain` clears it.
        """

    @abstractmethod
    def drain(self) -> None:
        """Clear what made `fileno` readable. Call it before `read`."""

    @abstractmethod
    def positions(self) -> dict[int, int]:
        """Return the next offset to read for each partition that is assigned to this reader."""

    @abstractmethod
    def seek(self, positions: Offsets) -> None:
        """Read from here. Partitions not named start at their beginning."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group."""


class EventLog(ABC):
    """Topics of records. One object for each process."""

    @abstractmethod
    def appender(self, topic: str, partition: int) -> Appender:
        """Open a partition for writing, making it where it is new."""

    @abstractmethod
    def reader(self, topic: str, group: str, positions: Offsets) -> Reader:
        """Join a group. Reading starts at `positions`; an unnamed partition at its beginning."""

    @abstractmethod
    def fetch(self, topic: str, partition: int, offset: int) -> Fetched | None:
        """Return one record, or None where it is not kept any more."""

    @abstractmethod
    def begins(self, topic: str) -> dict[int, int]:
        """Return the first offset that is still kept, for each partition."""

    @abstractmethod
    def ends(self, topic: str) -> dict[int, int]:
        """Return the offset the next durable record will get, or less, for each partition."""

    @abstractmethod
    def commit(self, topic: str, group: str, positions: Offsets) -> None:
        """Say that a group is done below these offsets, so that they may be removed."""

    @abstractmethod
    def committed(self, topic: str, group: str) -> dict[int, int]:
        """Return what a group committed; empty for a group that never did."""

    @abstractmethod
    def forget(self, topic: str, group: str) -> None:
        """Remove a group: it holds nothing back any more."""

    @abstractmethod
    def offset_at(self, topic: str, partition: int, stamp: int) -> int:
        """Return the first offset whose record may have this stamp or a later one."""

    @abstractmethod
    def retain(self, topic: str, since_stamp: int, bytes_max: int | None) -> int:
        """Remove whole segments that are older, or above the size, and that every group is past.

        Returns the bytes that were freed.
        """

    @abstractmethod
    def search(
        self, topic: str, partition: int, span: range, hints: Sequence[bytes], records_max: int
    ) -> tuple[Sequence[Fetched], int]:
        """Return records of a span of offsets whose value holds one of `hints`, in order.

        About `records_max` at a time; with them comes the offset to go on from, at or behind the
        span's stop at the end.
        """

    @abstractmethod
    def replace(self, topic: str, partition: int, records: Mapping[int, Record]) -> None:
        """Replace records at their offsets, each by one of the same stamp.

        When it returns, that is durable, and nothing of what they held is stored any more. What is
        not kept any more is left out. Who read a record before may still hold it. Raises
        `LogFailure`: then some may be replaced, and the same call again does the rest.
        """

    @abstractmethod
    def size_bytes(self, topic: str) -> int:
        """Return what the topic takes on disk."""

    @abstractmethod
    def close(self) -> None:
        """Close every appender and reader."""
