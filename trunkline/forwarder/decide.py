"""Who may have an event: filter, `integrations`, consent, history. Pure; one decision, one reason.

The reasons are what the ledger counts by, so they are a closed set: `REASONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

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
    DISABLED, TYPES, EVENTS, EXCEPT, INTEGRATIONS, CONSENT, HISTORICAL, SUPPRESSED, ERASED,
)  # fmt: skip

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
        said = _Consent(consent)
        answers = [said.answer(category) for category in self._consent]
        if False in answers:
            return False
        return not said.is_opt_in or None not in answers


class _Consent:
    """What an event says of consent, in any of the forms that senders use, by category.

    `optOut` and `categoryPreferences` are objects of yes and no, `allowedConsentIds` and
    `deniedConsentIds` lists; beside them a category may stand by itself, as `ad_storage: granted`.
    Who says no in one place and yes in another has said no. `is_opt_in`: a category that is not
    named has no consent; so it is with `explicit`, and where a list says what was allowed.
    """

    def __init__(self, consent: dict[str, Any]) -> None:
        self._opted_out = _folded(consent.get("optOut"))
        self._preferences = _folded(consent.get("categoryPreferences"))
        self._allowed = _listed(consent.get("allowedConsentIds"))
        self._denied = _listed(consent.get("deniedConsentIds"))
        self._named = _folded(consent)
        self.is_opt_in = _is_yes(consent.get("explicit")) or bool(self._allowed)

    def answer(self, category: str) -> bool | None:
        """Return yes or no to a folded category; None where it is not named."""
        opted_out, named = self._opted_out.get(category), self._named.get(category)
        answers = {
            category in self._opted_out and not _is_yes(opted_out),
            category in self._preferences,
            category in self._allowed,
            _is_word(named, _GRANTED),
        }
        is_denied = (
            _is_yes(opted_out)
            or _is_no(self._preferences.get(category))
            or category in self._denied
            or _is_word(named, _DENIED)
        )
        return False if is_denied else True if True in answers else None


_GRANTED = frozenset({"granted", "consent_granted", "true"})
_DENIED = frozenset({"denied", "consent_denied", "false"})


def _is_word(value: Any, words: frozenset[str]) -> bool:
    return (
        ("true" if value else "false") in words
        if isinstance(value, bool)
        else (isinstance(value, str) and value.casefold() in words)
    )


def _listed(value: Any) -> frozenset[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return frozenset(item.casefold() for item in items if isinstance(item, str))


def _folded(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {}
    return {str(key).casefold(): held for key, held in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON


def _is_no(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.casefold() == "false")


def _is_yes(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.casefold() == "true")
