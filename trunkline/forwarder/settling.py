"""What an answer does: one outcome for each event of a batch, turned into what comes next.

delivered   done
retry       the same batch again later; after a while in the log, over to the waiting table;
            past the horizon a dead letter (expired)
rejected    alone: a dead letter, and one more for the fuse; with others: split, to find it;
            unsent, for the vendor's contract forbids it: a dead letter, and none for the fuse
blocked     everything back in its place, and the destination parks
filtered    by the playbook, or by the vendor's contract: done
unshaped    the playbook failed for it: a dead letter, which is no fault of the destination's
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.decide import SUPPRESSED
from trunkline.forwarder.item import Batch, Item
from trunkline.forwarder.parking import Cause
from trunkline.forwarder.shaping import FILTERED
from trunkline.forwarder.shared import LANES_MAX as ALL_LANES_MAX
from trunkline.forwarder.waiting import LANES_MAX
from trunkline.kit.consent import CONSENT_REGION
from trunkline.kit.erasure import ERASED
from trunkline.model.outcome import (
    Blocked,
    Delivered,
    Filtered,
    Outcome,
    Rejected,
    Retry,
    Unsent,
    Unshaped,
)

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

BACKOFF_SECONDS_MAX = 300.0
VENDOR = "vendor: "  # begins a reason that names a rule of a vendor's contract
NO_TIMES: Mapping[Item, float] = {}
_DELIVERED = {Delivered}


class Sorted(NamedTuple):
    """The events of an attempt by their outcome."""

    delivered: list[Item]
    retry: list[tuple[Item, Retry]]
    rejected: list[tuple[Item, Rejected]]
    blocked: list[Blocked]
    filtered: list[tuple[Item, Filtered]]
    unshaped: list[tuple[Item, Unshaped]]
    forbidden: list[tuple[Item, Rejected]]


def settle(group: Group, batch: Batch, carried: Carried) -> None:
    """Write down what an attempt came to, and let what follows of it go on."""
    if {*map(type, carried.outcomes)} == _DELIVERED:
        _settle_delivered(group, batch)
        return
    found = sort(batch.items, carried.outcomes)
    if found.filtered or found.unshaped or found.forbidden:
        _finish_unsent(group, batch, found, carried.revision)
    if batch.items:
        _settle_sent(group, batch, carried, found)
    else:
        _end_done(group, batch)


def _settle_delivered(group: Group, batch: Batch) -> None:
    """Be done with all of a batch: what `_settle_sent` does for it, in half of the time."""
    group.book.deliver(batch.items)
    group.book.suspects.clear()
    if batch.is_waiting:
        group.fit_waiting(len(batch.items), has_failed=False)
    if batch.is_waiting or batch.later:
        _end_done(group, batch)
        return
    group.book.touch()
    for lane in batch.lanes:
        group.lanes.open(lane)


def _settle_sent(group: Group, batch: Batch, carried: Carried, found: Sorted) -> None:
    book = group.book
    book.deliver(found.delivered)
    if found.delivered:
        book.suspects.clear()
    if batch.is_waiting:
        has_failed = any(not outcome.was_taken for _, outcome in found.retry)
        group.fit_waiting(len(batch.items), has_failed)
    book.touch()
    done = {id(item) for item in found.delivered}
    if not group.standing.runs:
        group.give_back(batch, [item for item in batch.items if id(item) not in done])
    elif found.blocked:
        group.give_back(batch, [item for item in batch.items if id(item) not in done])
        group.park(carried.cause, found.blocked[0].reason)
    elif _must_split(batch, found):
        _split(group, batch, found, carried.revision)
    elif _bury(group, found.rejected, carried.revision):
        group.give_back(batch, [item for item, _ in found.retry])
        book.revive()
        group.park("fuse", _fuse_reason(group, found.rejected[-1][1]))
    else:
        _retry(group, batch, found.retry, carried.revision)


def _must_split(batch: Batch, found: Sorted) -> bool:
    """Say whether all was rejected, and it is not known whose fault it was."""
    unsure = [item for item, outcome in found.rejected if not outcome.is_sure]
    return len(found.rejected) == len(batch.items) and len(unsure) > 1


def _split(group: Group, batch: Batch, found: Sorted, revision: int) -> None:
    """Send the halves of a batch by themselves, without those that are known to be at fault."""
    sure = [(item, outcome) for item, outcome in found.rejected if outcome.is_sure]
    batch.items = [item for item, outcome in found.rejected if not outcome.is_sure]
    if _bury(group, sure, revision):
        group.give_back(batch, batch.items)
        group.book.revive()
        group.park("fuse", _fuse_reason(group, sure[-1][1]))
        return
    batch.split()
    group.go_on(batch)


def _finish_unsent(group: Group, batch: Batch, found: Sorted, revision: int) -> None:
    """Be done with what playbook and contract left nothing of; the rest of the batch goes on."""
    for item, filtered in found.filtered:
        group.book.skip(item, _ledger_reason(filtered), filtered.reason, revision)
    for item, unshaped in found.unshaped:
        group.book.give_up(item, unshaped, revision)
    for item, forbidden in found.forbidden:
        group.book.give_up(item, Unshaped(forbidden.reason), revision)
    group.metrics.unsent(len(found.filtered), len(found.unshaped), len(found.forbidden))
    gone = {item for item, _ in [*found.filtered, *found.unshaped, *found.forbidden]}
    batch.items = [item for item in batch.items if item not in gone]


def _ledger_reason(filtered: Filtered) -> str:
    """Return what the ledger counts by: what people may ask, a rule of the vendor, the playbook.

    Rules are named: a kit has few of them.
    """
    if filtered.reason.startswith(CONSENT_REGION):
        return CONSENT_REGION
    if filtered.reason in (SUPPRESSED, ERASED) or filtered.reason.startswith(VENDOR):
        return filtered.reason
    return FILTERED


def _end_done(group: Group, batch: Batch) -> None:
    """Go on behind items of which nothing is left."""
    group.book.touch()
    if group.standing.runs:
        _advance(group, batch)
    else:
        group.give_back(batch, [])


def sort(items: Sequence[Item], outcomes: Sequence[Outcome | Unsent]) -> Sorted:
    """Sort events by their outcome, keeping their order."""
    found = Sorted([], [], [], [], [], [], [])
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, Delivered):
            found.delivered.append(item)
        elif isinstance(outcome, Retry):
            found.retry.append((item, outcome))
        elif isinstance(outcome, Rejected):
            (found.rejected if outcome.was_sent else found.forbidden).append((item, outcome))
        elif isinstance(outcome, Blocked):
            found.blocked.append(outcome)
        elif isinstance(outcome, Filtered):
            found.filtered.append((item, outcome))
        else:
            found.unshaped.append((item, outcome))
    return found


def move_out(
    group: Group,
    batch: Batch,
    due_at: float,
    reason: str,
    own: Mapping[Item, float] = NO_TIMES,
) -> None:
    """Move a batch from the log to the waiting lanes; what was split from it goes back.

    `own` is when events are due that have a time of their own. Where a limit is reached the
    destination parks, and what is left stays in the log.
    """
    for number, item in enumerate(batch.items):
        cause, why = limit_of(group, item)
        if cause:
            group.give_back(batch, batch.items[number:])
            group.park(cause, why)
            return
        group.book.move(item, own.get(item, due_at), reason)
    group.book.touch()
    # Not straight on with the rest: a user of it may have an event among those that wait now.
    group.give_back(batch, [])


def join(group: Group, items: list[Item]) -> None:
    """Put events of one user behind those that wait already.

    A full lane parks the destination only where its first event does not go.
    """
    for number, item in enumerate(items):
        cause, why = limit_of(group, item)
        if cause and group.book.waiting.drains(item.lane, group.shared.clock.monotonic()):
            group.lanes.close(item.lane, items[number:])
            group.full_lanes.add(item.lane)
            break
        if cause:
            group.lanes.put_back(items[number:])
            group.park(cause, why)
            break
        group.book.move(item, 0.0, "waits behind an earlier event of its user")
    group.book.touch()


def limit_of(group: Group, item: Item) -> tuple[Cause, str]:
    """Return which limit one more waiting event would break, and the sentence for it."""
    waiting, settings = group.book.waiting, group.shared.settings
    lane = waiting.lanes.get(item.lane)
    if lane is not None and lane.count >= settings.lane_events_max:
        return "lane", f"{lane.count} events wait behind one of their user that does not go"
    if waiting.bytes + len(item.mapped.body) > settings.waiting_bytes_max:
        return "space", f"{waiting.bytes} bytes wait; that is the limit"
    if lane is None and len(waiting.lanes) >= LANES_MAX:
        return "space", f"events of {LANES_MAX} users wait; that is the limit"
    if lane is None and group.shared.lanes >= ALL_LANES_MAX:
        return "space", f"events of {ALL_LANES_MAX} users wait in all; that is the limit"
    return "", ""


def _bury(group: Group, rejected: list[tuple[Item, Rejected]], revision: int) -> bool:
    """Make dead letters; say whether that blew the fuse."""
    book = group.book
    for item, outcome in rejected:
        book.suspects.append((book.bury(item, "rejected", outcome.reason, revision), item))
    return bool(rejected) and len(book.suspects) >= group.shared.settings.fuse_rejections


def _fuse_reason(group: Group, last: Rejected) -> str:
    count = group.shared.settings.fuse_rejections
    return f"{count} events rejected with no delivery between; the last: {last.reason}"


def _retry(group: Group, batch: Batch, retry: list[tuple[Item, Retry]], revision: int) -> None:
    """Send the same batch again later, without what is past its horizon."""
    reason = retry[0][1].reason if retry else ""
    horizon_ms = group.settings.retry_hours_max * 3_600_000
    own_ms = group.own_ms()
    kept: list[Item] = []
    for item, outcome in retry:
        # What the destination has is no failure; its kit says how long it is asked after.
        if not outcome.was_taken and own_ms - item.first_ms >= horizon_ms:
            group.book.bury(item, "expired", reason, revision)
        else:
            kept.append(item)
    batch.items = kept
    if not batch.items:
        _advance(group, batch)
        return
    now = group.shared.clock.monotonic()
    own = {item: now + one.after_seconds for item, one in retry if one.was_taken}
    after = max((one.after_seconds for _, one in retry if not one.was_taken), default=0.0)
    ceiling = _backoff_seconds(batch, retry)
    batch.due_at = now + max(group.shared.random.uniform(0, ceiling), after)
    if batch.is_waiting:
        for item in batch.items:
            group.book.retry_later(item, own.get(item, batch.due_at), reason)
        for item in batch.rest():
            group.book.retry_later(item, now, reason)
        group.end_waiting(batch, now + after, own)
    elif own or now >= leaves_at(group, batch):
        # What the destination has already waits for its word, long and in no batch's memory.
        move_out(group, batch, batch.due_at, reason, own)
    else:
        group.sleep(batch)


def _backoff_seconds(batch: Batch, retry: list[tuple[Item, Retry]]) -> float:
    """Return the longest that a batch waits for its next attempt, unless it is asked to."""
    if all(one.is_next for _, one in retry):
        return 0.0  # nobody was asked and refused: what is left goes on at once
    return min(2.0 ** min(batch.number, 10), BACKOFF_SECONDS_MAX)


def leaves_at(group: Group, batch: Batch) -> float:
    """Return when a batch that is retried leaves the log, in monotonic seconds."""
    return min(item.first_at for item in batch.items) + group.shared.settings.waiting_seconds


def _advance(group: Group, batch: Batch) -> None:
    """Go on with the rest of a split batch, or end it."""
    if batch.advance():
        group.go_on(batch)
    else:
        group.give_back(batch, [])
