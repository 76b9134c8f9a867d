"""Trying a parked destination with one event, and telling a bad event from a bad destination.

The oldest event is the probe. Where it is refused and another user's event passes right after, the
fault is the event's: it becomes a dead letter whose reason says so, and the rest drains. Where no
other event passes either, nobody's event is burned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from trunkline.forwarder.attempting import attempt
from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.item import Batch, Item
from trunkline.forwarder.parking import Cause
from trunkline.forwarder.settling import settle
from trunkline.forwarder.waiting import read_lane, read_oldest_lane
from trunkline.model.outcome import Delivered, Filtered, Outcome, Retry, Unsent, Unshaped

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

LIMITS = ("lane", "space")  # causes for which "not now" is no good news
CODE = ("code", "settings")  # causes that lie in the playbook, or in what runs it
SKIPS_MAX = 100  # events that the playbook leaves nothing of, in one probe


async def probe(group: Group) -> None:
    """Probe once. The destination runs afterwards, or is put off."""
    for _ in range(SKIPS_MAX):
        first = await _oldest(group, "", _full_lane(group))
        if first is None:
            break
        carried = await attempt(group, first.items, first.number)
        if group.is_ended:
            return
        outcome = carried.outcomes[0]
        if not isinstance(outcome, Filtered | Unshaped):
            await _judge(group, first, carried, outcome)
            return
        if _goes_on_unsent(group, first, carried):
            return
    group.standing.put_off_probe(group.shared.clock.monotonic())


def _goes_on_unsent(group: Group, first: Batch, carried: Carried) -> bool:
    """The playbook left nothing of the event: say whether that already lets the rest go."""
    settle(group, first, carried)
    if group.standing.state == "parked" and group.standing.cause in (*LIMITS, *CODE):
        group.run()
    return group.standing.state != "parked"


async def _judge(group: Group, first: Batch, carried: Carried, outcome: Outcome) -> None:
    passes = isinstance(outcome, Delivered)
    if isinstance(outcome, Retry):
        # Not refused any more, only late: from here the horizon runs and lanes wait as ever.
        passes = group.standing.cause not in LIMITS
    if passes and group.standing.state == "parked":
        group.run()
    if passes or group.standing.state != "parked":
        settle(group, first, carried)
    elif carried.cause in CODE:
        _put_off(group, first, carried.cause, outcome)
    else:
        await _try_another(group, first, outcome, carried.revision)


async def _try_another(group: Group, first: Batch, outcome: Outcome, revision: int) -> None:
    """Find out whether it is the event's fault."""
    lane = first.items[0].lane
    other = await _oldest(group, lane, None)
    verdict: Carried | None = None
    if other is not None:
        verdict = await attempt(group, other.items, other.number)
        if group.is_ended:
            return
        settle(group, other, verdict)  # parked still: it is delivered, or back in its place
    assert not isinstance(outcome, Delivered)
    if verdict is not None and _passed(verdict.outcomes[0]):
        detail = f"{outcome.reason}, while another user's event was delivered right after"
        group.book.bury(first.items[0], "rejected", detail, revision)
        group.give_back(first, [])
        if group.standing.state == "parked":
            group.run()
            group.standing.trust()
        return
    _put_off(group, first, group.standing.cause, outcome)


def _passed(outcome: Outcome | Unsent) -> bool:
    """Say whether the destination took an event, if only to judge it later."""
    return isinstance(outcome, Delivered) or (isinstance(outcome, Retry) and outcome.was_taken)


def _put_off(group: Group, first: Batch, cause: Cause, outcome: Outcome) -> None:
    assert not isinstance(outcome, Delivered)
    group.give_back(first, first.items)
    if group.standing.state == "parked":
        if group.standing.cause not in LIMITS:
            group.standing.cause, group.standing.reason = cause, outcome.reason
        group.standing.put_off_probe(group.shared.clock.monotonic())
        group.book.touch()


def _full_lane(group: Group) -> str | None:
    """Return the lane that parked the destination, if one did."""
    if group.standing.cause != "lane":
        return None
    full = group.shared.settings.lane_events_max
    return next((key for key, lane in group.book.waiting.lanes.items() if lane.count >= full), None)


async def _oldest(group: Group, but: str, lane: str | None) -> Batch | None:
    """Take the oldest event, or the head of one lane, as a batch of one.

    None where there is none, or where a person resumed or paused the destination meanwhile.
    """
    in_row = await group.shared.writer.transact(
        lambda db: _oldest_in_rows(db, group.config.uid, but, lane)
    )
    if group.standing.state != "parked":
        return None
    in_log = _oldest_in_log(group, but)  # only now: while rows were read all may have changed
    found = group.book.waiting.lanes.get(in_row.lane) if in_row is not None else None
    if found is None or found.is_under_way:
        in_row = None  # removed or taken while it was looked for
    if in_row is not None and (lane or in_log is None or in_row.offset <= in_log.offset):
        group.book.waiting.take(in_row.lane)
        return Batch([in_row], is_waiting=True)
    if in_log is None:
        return None
    return Batch([group.lanes.take_one(in_log.lane)])


def _oldest_in_log(group: Group, but: str) -> Item | None:
    waiting = group.book.waiting.lanes
    heads = [item for item in group.lanes.heads() if item.lane != but and item.lane not in waiting]
    return min(heads, key=lambda item: item.offset, default=None)


def _oldest_in_rows(db: apsw.Connection, uid: int, but: str, lane: str | None) -> Item | None:
    found = lane or read_oldest_lane(db, uid, but)
    rows = read_lane(db, uid, found, 1) if found else []
    return rows[0] if rows else None
