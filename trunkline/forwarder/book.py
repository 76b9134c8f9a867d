"""What a group writes down: each step changes its memory and the rows to save together.

There is no other place where an event leaves a group, so here is where the promise is kept that
nothing leaves without a ledger row: delivered, filtered, dead, or moved to the waiting table.
"""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.changes import GroupValues
from trunkline.forwarder.item import Item
from trunkline.forwarder.parking import Standing
from trunkline.forwarder.place import Place
from trunkline.forwarder.shared import Shared
from trunkline.forwarder.waiting import WaitingIndex
from trunkline.kit.destination import Attempt
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected
from trunkline.model.snapshot import Destination
from trunkline.state.forwarder import OUTCOME_BYTES, pack_offsets
from trunkline.telemetry import forwarder as telemetry


class Book:
    """The state of one group, in memory and as rows. `suspects` are what the fuse counts."""

    def __init__(
        self,
        config: Destination,
        shared: Shared,
        standing: Standing,
        place: Place,
        begin: int,
        digest: bytes,
    ) -> None:
        self.config = config
        self.shared = shared
        self.standing = standing
        self.place = place
        self.waiting = WaitingIndex()
        self.suspects: list[tuple[int, Item]] = []
        self.digest = digest
        self._begin = begin
        self._uid = config.uid

    def touch(self) -> None:
        """Have the group's row saved with the next flush."""
        writer = self.shared.writer
        writer.changes.groups[self._uid] = self.row
        writer.touch()

    def row(self) -> GroupValues:
        """Return the group's row as of now."""
        config, standing, place = self.config, self.standing, self.place
        seen = max(place.seen, self.shared.head) if place.is_at_head else place.seen
        unfinished = place.unfinished()
        return (
            self._uid, config.app, config.id, config.kind, config.since, self._begin,
            unfinished[0] if unfinished else seen, seen, int(place.is_at_head),
            pack_offsets(unfinished), standing.state, standing.cause, standing.since_ms,
            standing.reason, standing.held_ms, place.behind_bytes + place.bytes,
            pack_offsets(sorted(number for number, _ in self.suspects)), self.digest,
        )  # fmt: skip

    def position(self) -> int:
        """Return the next offset that is not done."""
        unfinished = self.place.unfinished()
        if unfinished:
            return unfinished[0]
        return max(self.place.seen, self.shared.head) if self.place.is_at_head else self.place.seen

    def hold(self, item: Item) -> None:
        """Take an event up from the log."""
        self.place.hold(item)
        self.shared.bytes += item.size

    def filter(self, offset: int, received_ms: int, reason: str) -> None:
        """Be done with an event that the destination does not get."""
        changes = self.shared.writer.changes
        changes.count((self._uid, self.config.app, received_ms // 60_000, "filtered", reason))
        changes.runs.setdefault((self._uid, "filtered", reason), []).append(offset)

    def deliver(self, items: Sequence[Item]) -> None:
        """Be done with events that were delivered."""
        changes = self.shared.writer.changes
        for item in items:
            minute = item.received_ms // 60_000
            changes.count((self._uid, self.config.app, minute, "delivered", ""))
            self.drop(item)

    def bury(self, item: Item, reason: str, detail: str) -> int:
        """Make a dead letter (reason: rejected or expired) and return its id."""
        shared, mapped = self.shared, item.mapped
        number = shared.writer.next_id()
        changes = shared.writer.changes
        changes.letters_in.append(
            (
                number, self._uid, item.lane, item.offset, item.app, mapped.message_id,
                item.received_ms, shared.clock.now_ms(), reason, detail, item.attempts,
                mapped.user, mapped.type, mapped.name, mapped.body,
            )
        )  # fmt: skip
        changes.count((self._uid, self.config.app, item.received_ms // 60_000, "dead", reason))
        self.drop(item)
        telemetry.delivery_dead_lettered(
            self.config.app, self.config.id, reason, detail, item.attempts
        )
        return number

    def revive(self) -> None:
        """Put the suspects back to waiting and take their rows out of the ledger."""
        changes = self.shared.writer.changes
        for number, item in self.suspects:
            changes.letters_out.append((number,))
            minute = item.received_ms // 60_000
            changes.count((self._uid, self.config.app, minute, "dead", "rejected"), -1)
            self._insert(item, 0.0, "held back by the fuse")
        telemetry.letters_revived(self.config.app, self.config.id, len(self.suspects))
        self.suspects.clear()

    def move(self, item: Item, due_at: float, reason: str) -> None:
        """Move an event from the log to the end of its waiting lane."""
        self._insert(item, due_at, reason)
        self._leave_log(item)

    def retry_later(self, item: Item, due_at: float, reason: str) -> None:
        """Save when an event that waits is to be tried again."""
        self.shared.writer.changes.waiting_set.append(
            (item.attempts, item.first_ms, self._due_ms(due_at), reason, item.row)
        )

    def expire(self, items: Sequence[Item]) -> None:
        """Give events up unsent, for space."""
        changes = self.shared.writer.changes
        run = changes.runs.setdefault((self._uid, "expired", "expired: parked_bytes_max"), [])
        for item in items:
            minute = item.received_ms // 60_000
            changes.count((self._uid, self.config.app, minute, "dead", "expired"))
            run.append(item.offset)
            self.drop(item)

    def drop(self, item: Item) -> None:
        """Forget an event that is done."""
        if item.row:
            self.shared.writer.changes.waiting_out.append((item.row,))
            self.remove_waiting(item.lane, len(item.mapped.body))
        else:
            self._leave_log(item)

    def add_waiting(self, lane: str, size: int, due_at: float = 0.0, count: int = 1) -> None:
        """Count rows of the waiting table."""
        before = len(self.waiting.lanes)
        self.waiting.add(lane, size, due_at, count)
        self.shared.lanes += len(self.waiting.lanes) - before

    def remove_waiting(self, lane: str, size: int) -> None:
        """Count a row of the waiting table that is gone."""
        before = len(self.waiting.lanes)
        self.waiting.remove(lane, size)
        self.shared.lanes += len(self.waiting.lanes) - before

    def attempted(self, items: Sequence[Item], attempt: Attempt, carried: Carried) -> None:
        """Write the row of a request for the trace."""
        writer = self.shared.writer
        if len(items) == 1:  # a third of the time where each event is a request of its own
            offsets, codes = [items[0].offset], _code(carried.outcomes[0])
        else:
            offsets, codes = _by_offset(items, carried)
        writer.changes.add_attempt(
            self._uid,
            (
                writer.next_id(), self._uid, "attempt", attempt.now_ms, attempt.number,
                self.shared.version, attempt.delivery_id, carried.status,
                round(carried.took_ms, 2), _reason(carried), carried.answer,
                pack_offsets(offsets), codes,
            ),
            offsets,
        )  # fmt: skip

    def replay(self, item: Item) -> None:
        """Put an event into the waiting table again, on purpose."""
        minute = item.received_ms // 60_000
        self.shared.writer.changes.count((self._uid, self.config.app, minute, "replayed", ""))
        self._insert(item, 0.0, "replayed", replay=1)

    def _insert(self, item: Item, due_at: float, reason: str, replay: int = 0) -> None:
        mapped = item.mapped
        item_row = self.shared.writer.next_id()
        self.shared.writer.changes.waiting_in.append(
            (
                item_row, self._uid, item.lane, item.offset, item.app, mapped.message_id,
                item.received_ms, item.attempts, item.first_ms, self._due_ms(due_at), reason,
                replay,
                mapped.user, mapped.type, mapped.name, mapped.body,
            )
        )  # fmt: skip
        self.add_waiting(item.lane, len(mapped.body), due_at)

    def _leave_log(self, item: Item) -> None:
        self.place.finish(item)
        self.shared.bytes -= item.size

    def _due_ms(self, due_at: float) -> int:
        clock = self.shared.clock
        return clock.now_ms() + max(0, round((due_at - clock.monotonic()) * 1000))


def _by_offset(items: Sequence[Item], carried: Carried) -> tuple[list[int], bytes]:
    """Return the offsets in order, and a code for each, or one code where all are the same."""
    pairs = sorted(
        zip([item.offset for item in items], carried.outcomes, strict=True),
        key=lambda pair: pair[0],
    )
    codes = b"".join([_code(outcome) for _, outcome in pairs])
    return [offset for offset, _ in pairs], codes[:1] if len(set(codes)) == 1 else codes


def _code(outcome: Outcome) -> bytes:
    if isinstance(outcome, Delivered):
        return OUTCOME_BYTES["delivered" if outcome.verified else "unverified"]
    if isinstance(outcome, Rejected):
        return OUTCOME_BYTES["rejected"]
    return OUTCOME_BYTES["blocked" if isinstance(outcome, Blocked) else "retry"]


def _reason(carried: Carried) -> str:
    for outcome in carried.outcomes:
        if not isinstance(outcome, Delivered):
            return outcome.reason
    return f"HTTP {carried.status}" if carried.status is not None else "delivered"
