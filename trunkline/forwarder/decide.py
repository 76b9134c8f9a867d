"""Who may have an event: filter, `integrations`, consent, history. Pure; one decision, one reason.

The reasons are what the ledger counts by, so they are a closed set: `REASONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from trunkline.model.record import Routing, StoredEvent
from trunkline.model.snapshot import Destination, Filter, fold_name

DISABLED = "disabled"
TYPES = "filter: types"
EVENTS = "filter: events"
EXCEPT = "filter: except"
INTEGRATIONS = "integrations"
CONSENT = "consent"
HISTORICAL = "historical"
REASONS = (DISABLED, TYPES, EVENTS, EXCEPT, INTEGRATIONS, CONSENT, HISTORICAL)

Decide = Callable[[StoredEvent], str]

_fold = lru_cache(maxsize=8192)(fold_name)


def decider(destination: Destination) -> Decide:
    """Return the function that says why a destination does not get an event; "" where it does."""
    if not destination.enabled:
        return _disabled
    return _Decider(destination)


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
                return not _is_no(folded[name])
        return not _is_no(folded.get("all"))

    def _is_consented(self, consent: dict[str, Any]) -> bool:
        opted_out = _folded(consent.get("optOut"))
        preferences = _folded(consent.get("categoryPreferences"))
        if any(
            _is_yes(opted_out.get(category)) or _is_no(preferences.get(category))
            for category in self._consent
        ):
            return False
        # `explicit` is an opt-in regime: a category that is not named has no consent.
        return not _is_yes(consent.get("explicit")) or all(
            category in opted_out or category in preferences for category in self._consent
        )


def _folded(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {str(key).casefold(): held for key, held in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON


def _is_no(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.casefold() == "false")


def _is_yes(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.casefold() == "true")
