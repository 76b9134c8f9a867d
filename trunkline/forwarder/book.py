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
from trunkline.forwarder.tally import tally_name
from trunkline.forwarder.waiting import WaitingIndex
from trunkline.kit.destination import Attempt
from trunkline.model.outcome import Unshaped
from trunkline.model.record import StoredEvent
from trunkline.model.snapshot import Destination
from trunkline.state.forwarder import pack_offsets
from trunkline.telemetry import forwarder as telemetry

RUN_REASON_LENGTH = 300  # of a failure, as the trace tells it without its dead letter


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

    def filter(self, offset: int, stored: StoredEvent, reason: str) -> None:
        """Be done with an event of the log that the destination does not get."""
        name = tally_name(stored.type, stored.name)
        self._count("filtered", stored.received_ms, name, reason)
        self._add_to_run("filtered", reason, 0, offset)

    def skip(self, item: Item, reason: str, detail: str = "", revision: int = 0) -> None:
        """Be done with an event that was taken up and is not sent.

        `reason` is the ledger's, out of a closed set; `detail` says more in the trace.
        """
        self._count_item("filtered", item, reason)
        self._add_to_run("filtered", detail or reason, revision, item.offset)
        self.drop(item)

    def deliver(self, items: Sequence[Item]) -> None:
        """Be done with events that were delivered."""
        for item in items:
            self._count_item("delivered", item, "")
            self.drop(item)

    def give_up(self, item: Item, why: Unshaped, revision: int) -> None:
        """Make a dead letter of an event that the playbook failed for."""
        self._add_to_run("unshaped", why.reason[:RUN_REASON_LENGTH], revision, item.offset)
        self.bury(item, "rejected", why.reason, revision, why.partial, why.failure)

    def bury(
        self,
        item: Item,
        reason: str,
        detail: str,
        revision: int = 0,
        partial: bytes = b"",
        failure: bytes = b"",
    ) -> int:
        """Make a dead letter (reason: rejected or expired) and return its id."""
        shared, mapped = self.shared, item.mapped
        number = shared.writer.next_id()
        changes = shared.writer.changes
        changes.letters_in.append(
            (
                number, self._uid, item.lane, item.offset, item.app, mapped.message_id,
                item.received_ms, shared.clock.now_ms(), reason, detail, item.attempts,
                mapped.user, mapped.type, mapped.name, mapped.body, revision, partial, failure,
            )
        )  # fmt: skip
        self._count_item("dead", item, reason)
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
            self._count_item("dead", item, "rejected", -1)
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
        for item in items:
            self._count_item("dead", item, "expired")
            self._add_to_run("expired", "expired: parked_bytes_max", 0, item.offset)
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
        """Write down a request for the trace."""
        writer = self.shared.writer
        offsets = [item.offset for item in items]
        writer.changes.attempts.append(
            (writer.next_id(), self._uid, self.shared.version, attempt, carried, offsets)
        )

    def replay(self, item: Item) -> None:
        """Put an event into the waiting table again, on purpose."""
        self._count_item("replayed", item, "")
        self._insert(item, 0.0, "replayed", replay=1)

    def _count_item(self, kind: str, item: Item, reason: str, number: int = 1) -> None:
        name = tally_name(item.mapped.type, item.mapped.name)
        self._count(kind, item.received_ms, name, reason, number)

    def _count(self, kind: str, received_ms: int, name: str, reason: str, number: int = 1) -> None:
        key = (self._uid, self.config.app, received_ms // 60_000, kind, reason, name)
        counts = self.shared.writer.changes.counts
        counts[key] = counts.get(key, 0) + number

    def _add_to_run(self, kind: str, reason: str, revision: int, offset: int) -> None:
        """Have one row of the trace say the same of many events."""
        runs = self.shared.writer.changes.runs
        runs.setdefault((self._uid, kind, reason, revision), []).append(offset)

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
