"""What is kept from a destination, at every attempt: people, and fields of the others.

At every attempt, because an event may wait for days: who is suppressed or erased meanwhile is not
sent, and a field that is denied meanwhile is not seen; so it is with a consent that is needed
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from trunkline.forwarder.carrier import Carried
from trunkline.forwarder.decide import SUPPRESSED
from trunkline.forwarder.item import Item
from trunkline.kit.consent import CONSENT_REGION, Lacks
from trunkline.kit.erasure import ERASED
from trunkline.model.outcome import Filtered, Outcome, Rejected, Unsent

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
    lacks = group.outfit.lacks
    if lacks is None and not unsent:
        return carried
    pairs = zip(kept, carried.outcomes, strict=True)
    found = {item: _for_want_of_consent(lacks, item, outcome) for item, outcome in pairs}
    return carried._replace(outcomes=[unsent.get(item) or found[item] for item in items])


def _for_want_of_consent(
    lacks: Lacks | None, item: Item, outcome: Outcome | Unsent
) -> Outcome | Unsent:
    """Return how an attempt ended for an event that may have lacked its person.

    What a vendor takes only with a person is no dead letter: nobody can mend it but the person.
    """
    if lacks is None or not isinstance(outcome, Rejected) or outcome.was_sent:
        return outcome
    if not lacks(item.mapped.value):
        return outcome
    return Filtered(f"{CONSENT_REGION}: {outcome.reason}")


def _why_not(group: Group, item: Item) -> str:
    shared, app, body = group.shared, group.config.app, item.mapped.body
    if shared.erased.hold(app, item.offset, body):
        return ERASED
    held = shared.suppressed.get(app)
    if held is not None and held.holds(body):
        return SUPPRESSED
    drops = group.outfit.drops
    return CONSENT_REGION if drops is not None and drops(item.mapped.value) else ""
