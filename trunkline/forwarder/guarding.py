"""What is kept from a destination, at every attempt: suppressed people, and fields of the others.

At every attempt, because an event may wait for days: who is suppressed meanwhile is not sent, and a
field that is denied meanwhile is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.decide import SUPPRESSED
from trunkline.forwarder.item import Item
from trunkline.model.outcome import Filtered

if TYPE_CHECKING:
    from trunkline.forwarder.group import Group

Attempt = Callable[["Group", list[Item], int], Coroutine[Any, Any, Carried]]


def is_guarded(group: Group) -> bool:
    """Say whether anything is kept from a destination."""
    return group.outfit.protect is not None or group.config.app in group.shared.suppressed


async def attempt_guarded(
    group: Group, items: list[Item], number: int, attempt: Attempt
) -> Carried:
    """Attempt what may be sent, as it may be seen. One outcome for each event, in order."""
    held = group.shared.suppressed.get(group.config.app)
    protect = group.outfit.protect
    kept = [item for item in items if held is None or not held.holds(item.mapped.body)]
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
    outcomes = dict(zip(kept, carried.outcomes, strict=True))
    suppressed = Filtered(SUPPRESSED)
    return carried._replace(outcomes=[outcomes.get(item, suppressed) for item in items])
