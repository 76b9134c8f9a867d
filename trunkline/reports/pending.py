"""Counting from the log itself what destinations still owe, and what was accepted last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trunkline.kit.eventlog import EventLog
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.reports.state import GroupState

READ_RECORDS = 2000


class Tail:
    """What the log itself says: accepted above the pipeline's count, pending of each group.

    The counters are by app or by the uid of a destination. Waiting lanes are not in them.
    """

    def __init__(self, counted_end: int, groups: list[GroupState]) -> None:
        self._counted_end = counted_end
        self._groups: dict[str, list[GroupState]] = {}
        for group in groups:
            self._groups.setdefault(group.app, []).append(group)
        self.accepted_by_app: Counter[str] = Counter()
        self.accepted: Counter[int] = Counter()
        self.pending: Counter[int] = Counter()

    def add(self, offset: int, event: StoredEvent) -> None:
        """Count one record of EVENTS."""
        is_tail = offset >= self._counted_end
        self.accepted_by_app[event.app] += is_tail
        for group in self._groups.get(event.app, ()):
            if event.snapshot < group.since:
                continue
            self.accepted[group.uid] += is_tail
            self.pending[group.uid] += not group.is_done(offset)


def scan_events(
    log: EventLog, start: int, end: int, app: str | None = None, minute: int = 0
) -> Iterator[tuple[int, StoredEvent]]:
    """Yield the records of EVENTS in [start, end), of one app or all, accepted since a minute."""
    if start >= end:
        return
    reader = log.reader(EVENTS, "", {0: start})
    try:
        while batch := reader.read(READ_RECORDS):
            for fetched in batch:
                if fetched.offset >= end:
                    return
                event = decode_stored(fetched.record.value)
                if app in (None, event.app) and event.received_ms // 60_000 >= minute:
                    yield fetched.offset, event
    finally:
        reader.close()


def count_accepted(log: EventLog, app: str, from_ms: int, to_ms: int) -> int:
    """Count an app's events that were accepted in [from_ms, to_ms) and are still kept."""
    end = log.ends(EVENTS).get(0, 0)
    start = log.begins(EVENTS).get(0, 0)
    return sum(
        from_ms <= event.received_ms < to_ms for _, event in scan_events(log, start, end, app)
    )
