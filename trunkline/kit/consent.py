"""What an event says of consent, and whether that is enough where its person is. Pure.

A destination may name categories: there a no is a no everywhere (`forwarder/decide.py`). It may
also name regions in which silence is no consent: `lacks_consent` tells the events that come from
there, or from nobody knows where, without a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

from trunkline.kit.regions import Regions
from trunkline.model.event import JsonObject
from trunkline.model.snapshot import Destination

CONSENT_REGION = "consent: region"  # the ledger's reason for what is dropped
CONSENT_LISTS = ("allowedConsentIds", "deniedConsentIds")  # of `context.consentManagement`
CONSENTS_MAX = 1000

Lacks = Callable[[JsonObject], bool]

_GRANTED = frozenset({"granted", "consent_granted", "true"})
_DENIED = frozenset({"denied", "consent_denied", "false"})
# Names under `context.consent` that are themselves questions answered by true and false. Others,
# as `gdpr_applies: true`, are facts and no consent.
_SWITCHES = frozenset(
    {"ad_storage", "ad_user_data", "ad_personalization", "analytics", "analytics_storage"}
)
_REFUSALS = ("ldu", "do_not_sell", "npa")  # true is a no
_NO_CATEGORIES = frozenset(
    {
        *("explicit", "eea", "gdpr_applies", *_REFUSALS),
        *("optout", "categorypreferences", "allowedconsentids", "deniedconsentids"),
    }
)
_YES_WORDS = frozenset({"granted", "consent_granted"})


def stated_consent(context: object) -> JsonObject:
    """Return what a context says of consent, in one object; empty where it says nothing."""
    said = cast("JsonObject", context) if isinstance(context, dict) else {}
    if "consent" not in said and "consentManagement" not in said:
        return {}  # as for most events
    consent, managed = _object_in(said, "consent"), _object_in(said, "consentManagement")
    # Only what is asked later, in one place: lists of categories, allowed and denied.
    return consent | {key: _texts(managed[key]) for key in CONSENT_LISTS if key in managed}


class Consent:
    """What an event says of consent, in any of the forms that senders use, by category.

    `optOut` and `categoryPreferences` are objects of yes and no, `allowedConsentIds` and
    `deniedConsentIds` lists; beside them a category may stand by itself, as `ad_storage: granted`.
    Who says no in one place and yes in another has said no. `is_opt_in`: a category that is not
    named has no consent; so it is with `explicit`, and where a list says what was allowed.
    """

    def __init__(self, stated: JsonObject) -> None:
        self._opted_out = _folded(stated.get("optOut"))
        self._preferences = _folded(stated.get("categoryPreferences"))
        self._allowed = _listed(stated.get("allowedConsentIds"))
        self._denied = _listed(stated.get("deniedConsentIds"))
        self._named = _folded(stated)
        self.is_opt_in = _is_yes(stated.get("explicit")) or bool(self._allowed)

    def answer(self, category: str) -> bool | None:
        """Return yes or no to a folded category; None where it is not answered."""
        opted_out, named = self._opted_out.get(category), self._named.get(category)
        is_denied = (
            _is_yes(opted_out)
            or is_no(self._preferences.get(category))
            or category in self._denied
            or _is_word(named, _DENIED)
        )
        if is_denied:
            return False
        is_given = (
            is_no(opted_out)
            or _is_yes(self._preferences.get(category))
            or category in self._allowed
            or _is_word(named, _GRANTED)
        )
        return True if is_given else None

    def is_given(self, categories: Sequence[str]) -> bool:
        """Say whether there is a yes to each of the folded categories.

        Without categories: a yes to anything, and a no to nothing.
        """
        asked = categories or self._answered()
        return bool(asked) and all(self.answer(each) is True for each in asked)

    def _answered(self) -> set[str]:
        """Return every category that is answered; one that cannot be a yes for each refusal."""
        named = {
            name
            for name, value in self._named.items()
            if name not in _NO_CATEGORIES
            if name in _SWITCHES or _is_word(value, _DENIED) or _is_word(value, _YES_WORDS)
        }
        named |= {*self._opted_out, *self._preferences, *self._allowed, *self._denied}
        refused = {f"no {name}" for name in _REFUSALS if _is_yes(self._named.get(name))}
        return named | refused


def lacks_consent(destination: Destination) -> Lacks | None:
    """Return what tells the events that need a consent and have none; None: none needs one."""
    config = destination.consent_regions
    if config is None:
        return None
    categories = tuple(category.casefold() for category in destination.consent)
    return _lacks(config.needed_in, config.country_fields, config.is_needed_unknown, categories)


@lru_cache(maxsize=1024)
def _lacks(
    codes: tuple[str, ...], fields: tuple[str, ...], is_needed_unknown: bool, asked: tuple[str, ...]
) -> Lacks:
    regions = Regions(codes, fields)

    def lacks(event: JsonObject) -> bool:
        # Most events say yes, and that is cheaper to find than where they come from.
        if Consent(stated_consent(event.get("context"))).is_given(asked):
            return False
        is_needed = regions.hold(event)
        return is_needed_unknown if is_needed is None else is_needed

    return lacks


def _object_in(context: object, key: str) -> JsonObject:
    found = cast("JsonObject", context).get(key) if isinstance(context, dict) else None
    return dict(cast("JsonObject", found)) if isinstance(found, dict) else {}


def _texts(value: object) -> list[object]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items[:CONSENTS_MAX] if isinstance(item, str)]


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


def is_no(value: Any) -> bool:
    """Say whether a value is a no, as senders write one."""
    return value is False or (isinstance(value, str) and value.casefold() == "false")


def _is_yes(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.casefold() == "true")
