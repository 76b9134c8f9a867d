"""Reading several partitions as one: what was acknowledged before another was received comes first.

Each partition has a lane of records that were read and not yet handed out. A lane's records leave
in the order of their offsets; between lanes the smaller stamp goes first. What may leave at all is
decided by a *cutoff*, taken before a round looks at any partition:

- the stamp clock's now: what was acknowledged before a stamp below it was durable before we looked;
- or the largest stamp an earlier round has seen: what is older than that was durable when an
  earlier round looked, so this round found it. This rule needs no clock, so a stamp from a clock
  that went wrong can delay a record by a round and never hold it back.

A lane that may have more than was read lowers the cutoff to its last stamp. A record with a smaller
stamp than one before it in its partition counts with the larger one: it was acknowledged later.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from trunkline.kit.eventlog import Fetched

# Returns the next records behind the last call's, about this many and this many bytes, and whether
# there may be more. At least one record where one is there; may overshoot by a block.
Pull = Callable[[int, int], tuple[Sequence[Fetched], bool]]

_NEVER = -(1 << 63)


def weight(fetched: Fetched) -> int:
    """Return the bytes of a record that count against a read's limit."""
    return len(fetched.record.value) + len(fetched.record.key)


class _Lane:
    """What was read of a partition and not handed out yet."""

    def __init__(self) -> None:
        self.waiting: deque[Fetched] = deque()
        self.bytes = 0
        self.high = _NEVER  # the largest stamp handed out
        self.tail = _NEVER  # the largest stamp read
        self.may_have_more = False

    def fill(self, pull: Pull, records_max: int, bytes_max: int) -> None:
        room = records_max - len(self.waiting)
        if room <= 0 or self.bytes >= bytes_max:
            self.may_have_more = True
            return
        fetched, self.may_have_more = pull(room, bytes_max - self.bytes)
        if fetched:
            self.waiting.extend(fetched)
            self.bytes += _weigh(fetched)
            self.tail = max(self.tail, _last_stamp(fetched))

    def stamp(self) -> int:
        """Return the stamp that the first waiting record counts with."""
        return max(self.high, self.waiting[0].record.stamp)

    def pop(self) -> Fetched:
        fetched = self.waiting.popleft()
        self.bytes -= weight(fetched)
        self.high = max(self.high, fetched.record.stamp)
        return fetched

    def pop_many(self, count: int) -> list[Fetched]:
        """Hand out so many at once, a fourth of what one after the other takes."""
        waiting = self.waiting
        fetched = [waiting.popleft() for _ in range(count)]
        self.bytes -= _weigh(fetched)
        self.high = max(self.high, _last_stamp(fetched))
        return fetched


def _weigh(records: Sequence[Fetched]) -> int:
    return sum([len(record[0]) + len(record[1]) for _, _, record in records])


def _last_stamp(records: Sequence[Fetched]) -> int:
    return max([record[2] for _, _, record in records])


class StampMerge:
    """The lanes of one reader. Holds at most about `bytes_max` and a block for each partition."""

    def __init__(self, stamp_now: Callable[[], int] | None = None) -> None:
        self._stamp_now = stamp_now
        self._lanes: dict[int, _Lane] = {}
        self._seen = _NEVER

    @property
    def is_empty(self) -> bool:
        """Say whether nothing waits that was read."""
        return not any(lane.waiting for lane in self._lanes.values())

    def clear(self) -> None:
        """Forget what was read: the reader goes elsewhere."""
        self._lanes.clear()
        self._seen = _NEVER

    def read(
        self, list_pulls: Callable[[], Mapping[int, Pull]], records_max: int, bytes_max: int
    ) -> list[Fetched]:
        """Return the next records in order. Empty only where no partition has any.

        `list_pulls` lists the partitions; it is asked again in every round, since a partition may
        appear while we read.
        """
        pulls = list_pulls()
        if len(pulls) == 1 and pulls.keys() >= self._lanes.keys():
            partition, pull = next(iter(pulls.items()))
            lane = self._lanes.setdefault(partition, _Lane())
            lane.fill(pull, records_max, bytes_max)
            if len(list_pulls()) == 1:  # asked after reading, so that no older partition is missed
                return _take_one(lane, records_max, bytes_max)
        taken = self._round(list_pulls, records_max, bytes_max)
        if not taken and not self.is_empty:
            # What this round saw for the first time may go once everything was looked at again.
            taken = self._round(list_pulls, records_max, bytes_max)
        return taken

    def _round(
        self, list_pulls: Callable[[], Mapping[int, Pull]], records_max: int, bytes_max: int
    ) -> list[Fetched]:
        cutoff = self._seen
        if self._stamp_now is not None:
            cutoff = max(cutoff, self._stamp_now())
        pulls = list_pulls()
        share = max(1, bytes_max // max(1, len(pulls)))
        for partition, pull in pulls.items():
            lane = self._lanes.setdefault(partition, _Lane())
            lane.fill(pull, records_max, share)
            if lane.may_have_more:
                cutoff = min(cutoff, lane.tail)
        self._seen = max((lane.tail for lane in self._lanes.values()), default=_NEVER)
        return _take_merged(self._lanes, cutoff, records_max, bytes_max)


def _take_one(lane: _Lane, records_max: int, bytes_max: int) -> list[Fetched]:
    if lane.waiting and lane.bytes <= bytes_max:
        return lane.pop_many(min(len(lane.waiting), records_max))
    return _bounded(lambda: lane if lane.waiting else None, records_max, bytes_max)


def _take_merged(
    lanes: Mapping[int, _Lane], cutoff: int, records_max: int, bytes_max: int
) -> list[Fetched]:
    heads = list(_heads(lanes.items()))
    if len(heads) == 1 and heads[0][2].tail <= cutoff:
        return _take_one(heads[0][2], records_max, bytes_max)
    heapq.heapify(heads)
    last: tuple[int, _Lane] | None = None

    def choose() -> _Lane | None:
        nonlocal last
        if last is not None and last[1].waiting:
            heapq.heappush(heads, (last[1].stamp(), last[0], last[1]))
        last = None
        if not heads or heads[0][0] > cutoff:
            return None
        _, partition, lane = heapq.heappop(heads)
        last = (partition, lane)
        return lane

    return _bounded(choose, records_max, bytes_max)


def _heads(lanes: Iterable[tuple[int, _Lane]]) -> Iterable[tuple[int, int, _Lane]]:
    return ((lane.stamp(), partition, lane) for partition, lane in lanes if lane.waiting)


def _bounded(choose: Callable[[], _Lane | None], records_max: int, bytes_max: int) -> list[Fetched]:
    """Take from the lane that is chosen each time; at least one record, then within the limits."""
    taken: list[Fetched] = []
    total = 0
    while len(taken) < records_max:
        lane = choose()
        if lane is None:
            break
        total += weight(lane.waiting[0])
        if taken and total > bytes_max:
            break
        taken.append(lane.pop())
    return taken
