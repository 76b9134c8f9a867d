"""Refusals on their way to ACCEPTED: each one while they are few, counts when they are many.

An app whose sender is broken refuses thousands a second. Its owner needs to see a few of them
whole and to know how many there were; the disk must not pay for each. So the first 50 a second of
an app are kept as they are, and the others of that second become one record with a `count` for
each key and code. Memory is bounded; what finds no room even as a count is told in a metric.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from trunkline.kit.eventlog import Record
from trunkline.model.record import AcceptedRefusal, Posting, encode_record, partition_key
from trunkline.telemetry.gateway import Tally

WHOLE_PER_SECOND = 50  # refusals of one app kept whole in a second
WAITING_MAX = 5_000
WAITING_BYTES_MAX = 8 * 1024 * 1024
COUNTS_MAX = 4_096

_OVERHEAD = 512  # bytes of a refusal beside its bodies


class Refusals:
    """The refusals that wait for an append. Belongs to the event loop, except `encode`."""

    def __init__(self, stamp: Callable[[], int], tally: Tally) -> None:
        self._stamp = stamp
        self._tally = tally
        self._waiting: deque[AcceptedRefusal] = deque()
        self._waiting_bytes = 0
        self._whole: dict[str, int] = {}
        self._counts: dict[tuple[str, str, str, str], AcceptedRefusal] = {}

    @property
    def is_waiting(self) -> bool:
        """Say whether an append would take some along."""
        return bool(self._waiting)

    def add(self, refused: Iterable[AcceptedRefusal]) -> None:
        """Keep refusals: whole, or as a count."""
        for refusal in refused:
            self._tally.refused[refusal.protocol, refusal.code] += refusal.count
            whole = self._whole.get(refusal.app, 0)
            if whole < WHOLE_PER_SECOND and self._has_room():
                self._whole[refusal.app] = whole + 1
                self._push(refusal)
            else:
                self._count(refusal)

    def fold_out(self) -> None:
        """Begin a new second: what was only counted becomes records that wait."""
        self._whole.clear()
        for key in list(self._counts):
            if not self._has_room():
                return
            self._push(self._counts.pop(key))

    def take(self, bytes_max: int) -> list[AcceptedRefusal]:
        """Remove and return what fits into an append, at least one where there is one."""
        taken: list[AcceptedRefusal] = []
        while self._waiting and (not taken or bytes_max > 0):
            refusal = self._waiting.popleft()
            bytes_max -= _size(refusal)
            self._waiting_bytes -= _size(refusal)
            taken.append(refusal)
        return taken

    def put_back(self, refused: list[AcceptedRefusal]) -> None:
        """Take back what could not be appended, for the next append."""
        for refusal in reversed(refused):
            if self._has_room():
                self._waiting.appendleft(refusal)
                self._waiting_bytes += _size(refusal)
            else:
                self._count(refusal)

    def encode(self, refused: list[AcceptedRefusal]) -> list[Record]:
        """Return the records of refusals, stamped now."""
        return [
            Record(partition_key(refusal.app, ""), encode_record(refusal), self._stamp())
            for refusal in refused
        ]

    def _has_room(self) -> bool:
        return len(self._waiting) < WAITING_MAX and self._waiting_bytes < WAITING_BYTES_MAX

    def _push(self, refusal: AcceptedRefusal) -> None:
        self._waiting.append(refusal)
        self._waiting_bytes += _size(refusal)

    def _count(self, refusal: AcceptedRefusal) -> None:
        key = (refusal.app, refusal.protocol, refusal.key, refusal.code)
        counted = self._counts.get(key)
        if counted is not None:
            self._counts[key] = msgspec.structs.replace(
                counted, count=counted.count + refusal.count
            )
        elif len(self._counts) < COUNTS_MAX:
            # A count stands for many: one message, but no body and no sender's address.
            self._counts[key] = msgspec.structs.replace(
                refusal, address="", request_id="", message_id="", body=b"", origin=None
            )
        else:
            self._tally.unrecorded += refusal.count


def _size(refusal: AcceptedRefusal) -> int:
    origin = refusal.origin
    beside = len(origin.beside) + len(origin.whole) if isinstance(origin, Posting) else 0
    return len(refusal.body) + beside + _OVERHEAD
