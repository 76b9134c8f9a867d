"""Airbridge, server-to-server events v2: one event a request, told apart by `eventUUID`.

What is more than a day old is answered 200 and dropped without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from trunkline.simulators.checks import (
    DAY_MS,
    bearer_of,
    fault_of_age,
    is_currency,
    is_number,
    is_text,
    is_uuid,
    is_whole,
    json_object_of,
    object_at,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

_PATH = re.compile(r"/events/v[12]/apps/([^/]+)/(?:mobile-app/9360|web/9320)")
_USER_IDS = ("externalUserID", "externalUserEmail", "externalUserPhone")
_ASKED = ("notDetermined", "restricted", "denied", "authorized")
_DEVICE_IDS = ("deviceUUID", "gaid", "ifa", "ifv", "clientID", "cookieID")


class Airbridge(Simulator):
    """Takes events of one app."""

    vendor = "airbridge"
    title = "Airbridge S2S events"
    docs = "https://help.airbridge.io/en/developers/server-to-server-event"
    credentials: ClassVar[Mapping[str, str]] = {
        "app_name": "koshop",
        "api_token": "airbridge-api-token-1",
    }
    deduplicates = True
    own_faults: ClassVar[Mapping[str, str]] = {
        "token_revoked": "401: the token is no longer valid",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "token_revoked": "blocked",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event of an app or of a web site."""
        found = _PATH.fullmatch(ask.path)
        if found is None or ask.method != "POST":
            return _problem(404, "no such address")
        if bearer_of(ask) != self.credentials["api_token"]:
            return _problem(401, "the token is not valid")
        if found[1] != self.credentials["app_name"]:
            return _problem(403, f"the token is not for the app {found[1]}")
        body = json_object_of(ask)
        fault = body if isinstance(body, str) else _fault_of(body)
        if isinstance(body, str) or fault:
            return _problem(400, fault)
        self._note_silent(ask, body)
        if fault := fault_of_age(body["eventTimestamp"], ask.now_ms, DAY_MS, None):
            self.complain("dropped_with_200", "eventTimestamp", fault)
        else:
            goal = object_at(body, "eventData.goal")
            self.take(body["eventUUID"].lower(), goal["category"], body)
        return Reply(200, {})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the token."""
        if fault == "token_revoked":
            return _problem(401, "the token was revoked")
        return super().misbehave(fault, ask)

    def _note_silent(self, ask: Ask, body: dict[str, Any]) -> None:
        """Note what Airbridge takes and then cannot use."""
        if "x-forwarded-for" not in ask.headers and not object_at(body, "device").get("clientIP"):
            self.complain("ip", "device.clientIP", "without it the sender's address is recorded")
        asked = object_at(body, "device.appTrackingTransparency")
        if asked and asked.get("trackingAuthorizeStatus") not in _ASKED:
            self.complain("att", "device.appTrackingTransparency", f"{asked!r}")
        goal = object_at(body, "eventData.goal")
        if "value" in goal and not is_number(goal["value"]):
            self.complain("number", "eventData.goal.value", f"{goal['value']!r}")
        told = object_at(goal, "semanticAttributes")
        if "currency" in told and not is_currency(told["currency"]):
            self.complain("currency", "semanticAttributes.currency", f"{told['currency']!r}")
        if "products" in told and not isinstance(told["products"], list):
            self.complain("products", "semanticAttributes.products", "a list is expected")


def _fault_of(body: dict[str, Any]) -> str:
    if not is_uuid(body.get("eventUUID"), is_strict=True):
        return "eventUUID must be a UUID"
    if not is_whole(body.get("eventTimestamp")):
        return "eventTimestamp must be Unix milliseconds"
    user, device = object_at(body, "user"), object_at(body, "device")
    has_id = any(is_text(user.get(name)) for name in _USER_IDS)
    if not has_id and not any(is_text(device.get(name)) for name in _DEVICE_IDS):
        return "a user or device id is required"
    if not is_text(object_at(body, "eventData.goal").get("category")):
        return "eventData.goal.category is required"
    return ""


def _problem(status: int, words: str) -> Reply:
    told = {"type": "about:blank", "status": status, "title": words}
    return Reply(status, told, {"Content-Type": "application/problem+json"})
