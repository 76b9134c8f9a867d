"""AppsFlyer, server-to-server events of apps, v3: one event a request, little checked, no dedupe.

It answers 200 to much that it then drops: an iOS app's id without `id` in front is the known one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import msgspec

from trunkline.simulators.checks import (
    is_currency,
    is_ipv4,
    is_number,
    is_sha256,
    is_text,
    is_whole,
    json_object_of,
    missing_of,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

BODY_BYTES_MAX = 1024
_PATH = re.compile(r"/inappevent/([^/]+)")
_APPSFLYER_ID = re.compile(r"\d{13}-(\d{19}|\d{7})")
_EVENT_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
_HASHED = (
    "email_hashed",
    "phone_number_hashed",
    "phone_number_e164_hashed",
    "first_name_hashed",
    "last_name_hashed",
)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_CONSENT: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "manual": {
        "gdpr_applies": _is_flag,
        "ad_user_data_enabled": _is_flag,
        "ad_personalization_enabled": _is_flag,
    },
    "tcf": {
        "policy_version": is_whole,
        "cmp_sdk_id": is_whole,
        "cmp_sdk_version": is_whole,
        "gdpr_applies": lambda v: is_whole(v) and v in (0, 1),
        "tcstring": is_text,
    },
}
_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "appsflyer_id": lambda v: isinstance(v, str) and bool(_APPSFLYER_ID.fullmatch(v)),
    "eventTime": lambda v: isinstance(v, str) and bool(_EVENT_TIME.fullmatch(v)),
    "eventCurrency": is_currency,
    "ip": is_ipv4,
    "idfa": lambda v: is_text(v) and v == v.upper(),
    "idfv": lambda v: is_text(v) and v == v.upper(),
    "advertising_id": lambda v: is_text(v) and v == v.lower(),
    "customer_user_id": is_text,
    "os": is_text,
    "att": lambda v: v in (0, 1, 2, 3),
    "consent_data": lambda v: _is_consent(v),
    **dict.fromkeys(_HASHED, is_sha256),
}


class AppsFlyer(Simulator):
    """Takes what has a token, an `appsflyer_id` and an `eventValue` that is a text of JSON."""

    vendor = "appsflyer"
    title = "AppsFlyer S2S mobile events"
    docs = "https://dev.appsflyer.com/hc/reference/s2s-events-api3-post"
    credentials: ClassVar[Mapping[str, str]] = {
        "app_id": "com.shop.app",
        "s2s_token": "af-s2s-token-1",
    }
    own_faults: ClassVar[Mapping[str, str]] = {
        "bad_value": "500, as for an `eventValue` that cannot be read",
        "zero_package": "403: the account's package does not include these events",
        "wrong_key_in_400": "400 with a text: the token is of another app",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "bad_value": "retry",
        "zero_package": "blocked",
        "wrong_key_in_400": "blocked",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event; most of what is wrong with it draws a complaint and a 200."""
        found = _PATH.fullmatch(ask.path)
        if found is None or ask.method != "POST":
            return _text(404, "Not Found")
        if ask.headers.get("authentication") != self.credentials["s2s_token"]:
            return _text(401, "Unauthorized")
        body = json_object_of(ask)
        if isinstance(body, str):
            return _text(400, body)
        return self._fault(ask, body) or self._taken(found[1], body)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer 500, 403 or 400 without taking anything."""
        if fault == "bad_value":
            return _text(500, "Internal Server Error")
        if fault == "zero_package":
            return _text(403, "Forbidden: zero package")
        if fault == "wrong_key_in_400":
            return _text(400, "Failed to Authenticate")
        return super().misbehave(fault, ask)

    def _fault(self, ask: Ask, body: dict[str, Any]) -> Reply | None:
        if len(ask.body) > BODY_BYTES_MAX:
            self.complain("too_big", "body", f"{len(ask.body)} bytes; at most {BODY_BYTES_MAX}")
            return _text(400, "Bad Request: payload is too large")
        if missing := missing_of(body, ("appsflyer_id", "eventName")):
            return _text(400, f"{missing[0]} is a mandatory field")
        if not _is_value(body.get("eventValue")):
            return _text(500, "Internal Server Error")
        return None

    def _taken(self, app_id: str, body: dict[str, Any]) -> Reply:
        """Note what AppsFlyer would not tell, and have the event unless it is dropped."""
        for rule, where in _silent_faults(body):
            self.complain(rule, where, f"{body.get(where)!r} is not as the contract has it")
        if app_id != self.credentials["app_id"]:
            why = "an iOS app is `id` and digits" if app_id.isdigit() else "no app of this account"
            self.complain("dropped_with_200", "app_id", f"{app_id}: {why}; nothing was recorded")
        else:
            self.take("", body["eventName"], body)
        return _text(200, "OK")


def _is_value(value: Any) -> bool:
    """Say whether this is the text of a JSON object, or the empty text."""
    if not isinstance(value, str):
        return False
    try:
        return not value or isinstance(msgspec.json.decode(value), dict)
    except msgspec.DecodeError:
        return False


def _silent_faults(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rule and key of what AppsFlyer takes without a word and then cannot use."""
    found = [("form", key) for key, check in _FORMS.items() if key in body and not check(body[key])]
    value = msgspec.json.decode(body["eventValue"] or "{}")
    revenue = value.get("af_revenue")
    if revenue is not None and not is_number(revenue):
        found.append(("revenue_is_no_number", "eventValue"))
    if revenue is not None and "eventCurrency" not in body:
        found.append(("revenue_without_currency", "eventValue"))
    return found


def _is_consent(value: Any) -> bool:
    """Say whether this is consent in one of the two forms: choices, or a TC string."""
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) != 1:
        return False
    ((form, told),) = cast("dict[str, Any]", value).items()
    kinds = _CONSENT.get(form)
    if kinds is None or not isinstance(told, dict):
        return False
    given = cast("dict[str, Any]", told)
    needed = "gdpr_applies" if form == "manual" else "tcstring"
    return needed in given and all(key in kinds and kinds[key](one) for key, one in given.items())


def _text(status: int, words: str) -> Reply:
    return Reply(status, words.encode(), {"Content-Type": "text/plain"})
