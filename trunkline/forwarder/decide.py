"""Who may have an event: filter, `integrations`, consent, history. Pure; one decision, one reason.

The reasons are what the ledger counts by, so they are a closed set: `REASONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from trunkline.kit.consent import CONSENT_REGION, Consent, Lacks, is_no, lacks_consent
from trunkline.kit.erasure import ERASED
from trunkline.model.record import Routing, StoredEvent
from trunkline.model.snapshot import Destination, Filter, fold_name

DISABLED = "disabled"
TYPES = "filter: types"
EVENTS = "filter: events"
EXCEPT = "filter: except"
INTEGRATIONS = "integrations"
CONSENT = "consent"
HISTORICAL = "historical"
SUPPRESSED = "suppressed"
REASONS = (
    DISABLED, TYPES, EVENTS, EXCEPT, INTEGRATIONS, CONSENT, HISTORICAL, CONSENT_REGION, SUPPRESSED,
    ERASED,
)  # fmt: skip

Decide = Callable[[StoredEvent], str]

_fold = lru_cache(maxsize=8192)(fold_name)


def decider(destination: Destination) -> Decide:
    """Return the function that says why a destination does not get an event; "" where it does."""
    if not destination.enabled:
        return _disabled
    decide = _Decider(destination)
    drops = dropper(destination)
    if drops is None:
        return decide

    def decide_by_region(stored: StoredEvent) -> str:
        reason = decide(stored)
        return reason or (CONSENT_REGION if drops(msgspec.json.decode(stored.event)) else "")

    return decide_by_region


def dropper(destination: Destination) -> Lacks | None:
    """Return what tells the events that are dropped for want of a consent; None: none is."""
    config = destination.consent_regions
    return lacks_consent(destination) if config is not None and config.drops else None


def _disabled(_: StoredEvent) -> str:
    return DISABLED


class _Decider:
    """The rules of one destination, prepared."""

    def __init__(self, destination: Destination) -> None:
        self._has_filter = destination.filter != Filter()
        self._types = frozenset(destination.filter.types)
        self._events = frozenset(fold_name(name) for name in destination.filter.events)
        self._except = frozenset(fold_name(name) for name in destination.filter.except_)
        # The id says most exactly which destination is meant, then the name, then the kind.
        self._names = (
            destination.id.casefold(),
            destination.name.casefold(),
            destination.kind.casefold(),
        )
        self._consent = tuple(category.casefold() for category in destination.consent)
        self._takes_history = destination.historical

    def __call__(self, stored: StoredEvent) -> str:
        if self._has_filter:
            reason = self._filtered(stored)
            if reason:
                return reason
        if stored.routing is not None:
            reason = self._routed(stored.routing)
            if reason:
                return reason
        return HISTORICAL if stored.historical and not self._takes_history else ""

    def _filtered(self, stored: StoredEvent) -> str:
        if self._types and stored.type not in self._types:
            return TYPES
        name = _fold(stored.name)
        if self._events and name not in self._events:
            return EVENTS
        return EXCEPT if name and name in self._except else ""

    def _routed(self, routing: Routing) -> str:
        if routing.integrations and not self._is_named(routing.integrations):
            return INTEGRATIONS
        return CONSENT if self._consent and not self._is_consented(routing.consent) else ""

    def _is_named(self, integrations: dict[str, Any]) -> bool:
        folded = {name.casefold(): value for name, value in integrations.items()}
        for name in self._names:
            if name in folded:
                return not is_no(folded[name])
        return not is_no(folded.get("all"))

    def _is_consented(self, consent: dict[str, Any]) -> bool:
        said = Consent(consent)
        answers = [said.answer(category) for category in self._consent]
        if False in answers:
            return False
        return not said.is_opt_in or None not in answers
