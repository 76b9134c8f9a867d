"""Names that are made from events: a topic, an exchange, a routing key; and order within a batch.

An operator writes `{app}`, `{type}` and `{event}` into such a name. What comes from an event is
cleaned: everything but letters, digits, `_` and `-` becomes `_`, so that no event can reach where
the operator did not mean it to, nor add a level to a name whose levels are parted by dots.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from trunkline.kit.destination import Mapped
from trunkline.model.outcome import Delivered, Outcome, Rejected, Retry

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^\w-]+")


def check_name(field: str, text: str, known: Collection[str]) -> str:
    """Return a name's fixed part. `ValueError` names the field and what stands wrongly in it."""
    for found in _PLACEHOLDER.findall(text):
        if found not in known:
            expected = ", ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"{field} holds {{{found}}}; expected one of {expected}, or none")
    fixed = _PLACEHOLDER.sub("", text)
    if "{" in fixed or "}" in fixed:
        raise ValueError(f"{field} holds a brace that is not closed")
    return fixed


def is_fixed(text: str) -> bool:
    """Say whether a name is the same for every event."""
    return _PLACEHOLDER.search(text) is None


def fill_name(text: str, event: Mapped) -> str:
    """Return a name for an event."""
    if "{" not in text:
        return text
    values = {"app": event.app, "type": event.type, "event": event.name or event.type}
    return _PLACEHOLDER.sub(lambda found: _UNSAFE.sub("_", values[found[1]]) or "_", text)


def keep_user_order(events: Sequence[Mapped], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes in which nothing of a user counts as delivered behind what is sent again.

    So the last that a reader sees of a user is the last that the user did; what was delivered
    already comes twice.
    """
    held: dict[str, Outcome] = {}
    kept: list[Outcome] = []
    for event, outcome in zip(events, outcomes, strict=True):
        if isinstance(outcome, Delivered) and event.user in held:
            kept.append(Retry("sent again behind an earlier event of its user"))
            continue
        kept.append(outcome)
        if event.user and not isinstance(outcome, Delivered | Rejected):
            held[event.user] = outcome
    return kept
