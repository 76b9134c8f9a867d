"""What is kept from a destination, at every attempt: people, and fields of the others.

At every attempt, because an event may wait for days: who is suppressed or erased meanwhile is not
sent, and a field that is denied meanwhile is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.decide import SUPPRESSED
from trunkline.forwarder.item import Item
from trunkline.kit.erasure import ERASED
from trunkline.model.outcome import Filtered

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

Attempt = Callable[["Group", list[Item], int], Coroutine[Any, Any, Carried]]


def is_guarded(group: Group, items: list[Item]) -> bool:
    """Say whether anything may be kept from a destination of these events."""
    shared, app = group.shared, group.config.app
    if group.outfit.protect is not None or app in shared.suppressed:
        return True
    return shared.erased.knows(app) and any(
        shared.erased.may_hold(app, item.offset) for item in items
    )


async def attempt_guarded(
    group: Group, items: list[Item], number: int, attempt: Attempt
) -> Carried:
    """Attempt what may be sent, as it may be seen. One outcome for each event, in order."""
    protect = group.outfit.protect
    unsent = {item: Filtered(reason) for item in items if (reason := _why_not(group, item))}
    kept = [item for item in items if item not in unsent]
    try:
        for item in kept:
            item.seen = None if protect is None else protect(item.mapped)
        carried = Carried([], None, 0.0, b"")
        if kept:
            carried = await attempt(group, kept, number)
    finally:
        for item in kept:
            item.seen = None
    if len(kept) == len(items):
        return carried
    outcomes = {**unsent, **dict(zip(kept, carried.outcomes, strict=True))}
    return carried._replace(outcomes=[outcomes[item] for item in items])


def _why_not(group: Group, item: Item) -> str:
    shared, app, body = group.shared, group.config.app, item.mapped.body
    if shared.erased.hold(app, item.offset, body):
        return ERASED
    held = shared.suppressed.get(app)
    return SUPPRESSED if held is not None and held.holds(body) else ""
