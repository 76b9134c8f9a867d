"""One attempt of a group: shape what the playbook shapes, send what is left, write both down.

The key of a request is made of what it carries. An event of which a playbook made several is
several things to send; where they do not fit one request they go in more, each under its own key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.guarding import attempt_guarded, is_guarded
from trunkline.forwarder.item import Item
from trunkline.forwarder.shaping import CannotShape, Shaping
from trunkline.kit.destination import Attempt, Batching, Mapped, delivery_id
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

_AGAIN = 4  # how bad an outcome is that lets nothing more be sent now
_MAY_BE_UNSENT = frozenset({Filtered, Rejected})

Verdict = Outcome | Unsent


class Piece(NamedTuple):
    """One thing to send: the event it is of, and the id that it counts by in the request's key."""

    item: Item
    id: str
    mapped: Mapped


def attempt(group: Group, items: list[Item], number: int) -> Coroutine[Any, Any, Carried]:
    """Send events once, and write down that and how it went: one outcome for each event."""
    if is_guarded(group, items):
        return attempt_guarded(group, items, number, _attempt)
    return _attempt(group, items, number)


def _attempt(group: Group, items: list[Item], number: int) -> Coroutine[Any, Any, Carried]:
    shaping = group.outfit.shaping
    if shaping is None:
        return _send_as_is(group, items, number)
    return _attempt_shaped(group, items, number, shaping)


async def _attempt_shaped(
    group: Group, items: list[Item], number: int, shaping: Shaping
) -> Carried:
    now_ms = group.shared.clock.now_ms()
    with shaping.hold():
        try:
            return await _shape_and_send(group, items, number, now_ms, shaping)
        except CannotShape as error:
            outcomes = [Blocked(error.reason)] * len(items)
            return Carried(outcomes, None, 0.0, b"", error.cause, shaping.revision)


async def _send_as_is(group: Group, items: list[Item], number: int) -> Carried:
    """Send events in one request, in the kind's own form."""
    carrier = group.outfit.carrier
    if carrier is None:  # its settings were replaced, by wrong ones, before the task began
        return Carried([Blocked(group.standing.reason)] * len(items), None, 0.0, b"", "settings")
    now_ms = _begin(group, items)
    mapped = [item.shown for item in items]
    key = delivery_id(group.name, [each.message_id for each in mapped])
    made = Attempt(now_ms, number, group.name, key)
    carried = await carrier.carry(mapped, made)
    if not group.is_ended:
        _write_down(group, items, made, carried)
    return carried


def _write_down(group: Group, items: list[Item], made: Attempt, carried: Carried) -> None:
    """Write the row of a request, of the events that it carried; none where it carried none."""
    if not _MAY_BE_UNSENT.isdisjoint(map(type, carried.outcomes)):
        pairs = zip(items, carried.outcomes, strict=True)
        sent = [(item, outcome) for item, outcome in pairs if not _is_unsent(outcome)]
        if not sent:
            return
        items = [item for item, _ in sent]
        carried = carried._replace(outcomes=[outcome for _, outcome in sent])
    once = list(dict.fromkeys(items))
    group.book.attempted(once, made, _by_item(once, items, carried))
    group.metrics.attempted(carried.outcomes, carried.took_ms)


def _is_unsent(outcome: Verdict) -> bool:
    """Say whether the vendor's contract forbade the event, so that no request carried it."""
    return isinstance(outcome, Filtered) or (isinstance(outcome, Rejected) and not outcome.was_sent)


async def _shape_and_send(
    group: Group, items: list[Item], number: int, now_ms: int, shaping: Shaping
) -> Carried:
    shaped = await shaping.shape(items, now_ms)
    group.outfit.compare(items, now_ms, shaped)
    verdicts: dict[Item, Verdict] = {}
    pieces: list[Piece] = []
    for item, each in zip(items, shaped, strict=True):
        made = shaping.map(item, each)
        if made.unsent is not None:
            verdicts[item] = made.unsent
        pieces += [
            Piece(item, _piece_id(item, place), mapped) for place, mapped in enumerate(made.sent)
        ]
    _begin(group, list(dict.fromkeys(piece.item for piece in pieces)))
    carried = await _send(group, pieces, number, now_ms, shaping, verdicts)
    return carried._replace(outcomes=[verdicts[item] for item in items], revision=shaping.revision)


def _piece_id(item: Item, place: int) -> str:
    return f"{item.mapped.message_id}\0{place}" if place else item.mapped.message_id


async def _send(
    group: Group,
    pieces: list[Piece],
    number: int,
    now_ms: int,
    shaping: Shaping,
    verdicts: dict[Item, Verdict],
) -> Carried:
    """Send the pieces in as many requests as they need, and add the verdicts of their events.

    Ends at the first that is to be repeated: what comes after it may be of the same user.
    """
    carried = Carried([], None, 0.0, b"")
    left = deque(parts(pieces, group.settings.batch_events_max, group.batching))
    while left:
        part = left.popleft()
        key = delivery_id(group.name, [piece.id for piece in part])
        made = Attempt(now_ms, number, group.name, key)
        carried = await _request(group, part, made, shaping)
        is_cut = _is_unmade(carried) or (len(part) < len(pieces) and _is_refused(carried))
        if is_cut and (halves := _halves(part, carried)):
            left.extendleft(reversed(halves))
            continue
        _judge(verdicts, [piece.item for piece in part], carried.outcomes)
        worst = max(carried.outcomes, key=_badness)
        if _badness(worst) >= _AGAIN:
            for rest in left:
                _judge(verdicts, [piece.item for piece in rest], [worst] * len(rest))
            break
    return carried


def _is_refused(carried: Carried) -> bool:
    """Say whether a whole request was rejected, for what may be one event's fault."""
    sent = [outcome for outcome in carried.outcomes if not _is_unsent(outcome)]
    is_refused = all(isinstance(outcome, Rejected) and not outcome.is_sure for outcome in sent)
    return bool(sent) and is_refused


def _halves(part: list[Piece], carried: Carried) -> list[list[Piece]]:
    """Cut a request, to find the event at fault; nothing where it is of one, or nobody's fault.

    Where one request carried the whole batch and was rejected, the batch is split by `settle`.
    """
    items = list(dict.fromkeys(piece.item for piece in part))
    has_fault = any(isinstance(outcome, Unshaped | Rejected) for outcome in carried.outcomes)
    if len(items) == 1 or not has_fault:
        return []
    first = set(items[: len(items) // 2])
    return [
        [piece for piece in part if piece.item in first],
        [piece for piece in part if piece.item not in first],
    ]


def parts(pieces: Sequence[Piece], events_max: int, batching: Batching) -> Iterator[list[Piece]]:
    """Yield what goes in one request each, in order; at least one piece.

    What was made of one event is cut apart only where one request cannot hold it: half of it would
    be delivered, and the other half not.
    """
    part: list[Piece] = []
    size = 0
    for unit in _units(pieces, events_max, batching):
        length = sum(len(piece.mapped.body) for piece in unit)
        if part and (len(part) + len(unit) > events_max or size + length > batching.bytes_max):
            yield part
            part, size = [], 0
        part += unit
        size += length
    if part:
        yield part


def _units(pieces: Sequence[Piece], events_max: int, batching: Batching) -> Iterator[list[Piece]]:
    """Yield what is not to be cut: all pieces of an event, or each where they are too many."""
    for _, group in groupby(pieces, key=lambda piece: id(piece.item)):
        unit = list(group)
        length = sum(len(piece.mapped.body) for piece in unit)
        if batching.is_whole or (len(unit) <= events_max and length <= batching.bytes_max):
            yield unit
        else:
            yield from ([piece] for piece in unit)


def _judge(
    verdicts: dict[Item, Verdict], items: Sequence[Item], outcomes: Sequence[Verdict]
) -> None:
    """Give each event the worst outcome of what was made of it."""
    for item, outcome in zip(items, outcomes, strict=True):
        before = verdicts.get(item)
        if before is None or _badness(outcome) > _badness(before):
            verdicts[item] = outcome


def _badness(outcome: Verdict) -> int:
    """Rank outcomes. What may pass later is worse than what never will: it is asked again."""
    if isinstance(outcome, Filtered):
        return -1  # another thing that was made of the event may have been delivered
    if isinstance(outcome, Delivered):
        return 0 if outcome.verified else 1
    if isinstance(outcome, Retry):
        return 3 if outcome.was_taken else _AGAIN
    return 5 if isinstance(outcome, Blocked) else 2


async def _request(group: Group, part: list[Piece], made: Attempt, shaping: Shaping) -> Carried:
    """Make one request, and its row: one outcome for each piece."""
    carrier = group.outfit.carrier
    if carrier is None:  # its settings were replaced, by wrong ones, while events were shaped
        return Carried([Blocked(group.standing.reason)] * len(part), None, 0.0, b"", "settings")
    carried = await carrier.carry([piece.mapped for piece in part], made, shaping)
    if not (group.is_ended or _is_unmade(carried)):
        carried = carried._replace(revision=shaping.revision)
        _write_down(group, [piece.item for piece in part], made, carried)
    return carried


def _by_item(once: list[Item], items: Sequence[Item], carried: Carried) -> Carried:
    """Return one outcome for each event, where several things were made of some."""
    if len(once) == len(items):
        return carried
    verdicts: dict[Item, Verdict] = {}
    _judge(verdicts, items, carried.outcomes)
    return carried._replace(outcomes=[verdicts[item] for item in once])


def _begin(group: Group, items: list[Item]) -> int:
    """Count an attempt of each event, and when its first one was. Returns the wall clock's time."""
    # A jump since the last tick would burn the horizon of what is settled before the next one.
    now_ms, now = group.shared.look_at_clock()
    own_ms = group.standing.own_ms(now_ms)
    for item in items:
        if not item.attempts:
            item.first_ms, item.first_at = own_ms, now
        item.attempts += 1
    return now_ms


def _is_unmade(carried: Carried) -> bool:
    """Say whether code failed before there was a request: then there is no row of one."""
    if carried.status is not None:
        return False
    return carried.cause != "blocked" or isinstance(carried.outcomes[0], Unshaped)
