"""Klaviyo events and profiles: JSON:API with a dated revision; 202 and no word of the event."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

OPT_OUT = "x-klaviyo-revision-fall-forward-opt-out"
REVISION_OLDEST = "2024-10-15"
JSON_API = "application/vnd.api+json"
METRIC_CHARACTERS_MAX = 128
PROPERTIES_MAX = 400
BYTES_MAX = 5 * 1_048_576
YEAR_MS = 366 * checks.DAY_MS
_IDS = ("id", "email", "phone_number", "external_id", "anonymous_id")


class Klaviyo(Simulator):
    """One account. A `unique_id` counts once for a profile and metric."""

    vendor = "klaviyo"
    title = "Klaviyo events"
    docs = "https://developers.klaviyo.com/en/reference/create_event"
    credentials: ClassVar = {"private_key": "pk_0123456789abcdef0123456789abcdef01"}
    deduplicates = True

    def answer(self, ask: Ask) -> Reply:
        """Judge an event, a profile, or a look at the account."""
        fault = self._fault_of_headers(ask)
        if fault is not None:
            return fault
        path = ask.path.rstrip("/")
        if (ask.method, path) == ("GET", "/api/accounts"):
            return Reply(200, {"data": [{"type": "account", "id": "AbC123"}]})
        if ask.method != "POST" or path not in ("/api/events", "/api/profile-import"):
            return _error(404, "not_found", "Not found.", "")
        try:
            attributes = checks.object_at(ask.json(), "data.attributes")
        except msgspec.DecodeError:
            return _error(400, "invalid", "The payload is no JSON.", "/data")
        if len(ask.body) > BYTES_MAX:
            return _error(413, "payload_too_large", "Payload too large.", "/data")
        if path == "/api/events":
            return self._event(attributes, ask)
        pointer, fault_of_it = _fault_of_profile({"attributes": attributes}, "/data")
        if fault_of_it:
            return _error(400, "invalid", fault_of_it, pointer)
        self.take(msgspec.json.encode(attributes).decode(), "identify", attributes)
        return Reply(200, {"data": {"type": "profile", "id": "01SIMULATOR"}})

    def _event(self, attributes: dict[str, Any], ask: Ask) -> Reply:
        pointer, fault = _fault_of_event(attributes, ask.now_ms)
        if fault:
            return _error(400, "invalid", fault, "/data/attributes" + pointer)
        name = checks.at(attributes, "metric.data.attributes.name")
        who = checks.object_at(attributes, "profile.data.attributes")
        told = attributes.get("unique_id")
        if not told:
            self.complain("unique_id", name, "without it two events of one second become one")
        person = next(str(who[key]) for key in _IDS if who.get(key))
        self.take(f"{person}/{name}/{told}" if told else "", name, attributes)
        return Reply(202)

    def _fault_of_headers(self, ask: Ask) -> Reply | None:
        key = checks.authorization_of(ask, "Klaviyo-API-Key")
        if key != self.credentials["private_key"]:
            return _error(401, "authentication_failed", "Incorrect authentication credentials.", "")
        revision = ask.headers.get("revision", "")
        if not re.fullmatch(r"20\d\d-\d\d-\d\d(\.pre)?", revision):
            return _error(400, "invalid", "The revision header is missing or no date.", "")
        if revision < REVISION_OLDEST and ask.headers.get(OPT_OUT) == "1":
            return _error(410, "gone", f"Revision {revision} is retired.", "")
        if revision < REVISION_OLDEST:
            self.complain("revision", ask.path, f"{revision} is retired; a newer one answers")
        if ask.method == "POST" and checks.content_type_of(ask) not in (
            JSON_API,
            "application/json",
        ):
            return _error(415, "unsupported_media_type", "Unsupported media type.", "")
        return None


def _error(status: int, code: str, detail: str, pointer: str) -> Reply:
    told = {
        "id": "00000000-0000-4000-8000-000000000000",
        "status": status,
        "code": code,
        "title": code.replace("_", " ").capitalize(),
        "detail": detail,
        "source": {"pointer": pointer},
    }
    return Reply(status, {"errors": [told]}, {"Content-Type": JSON_API})


def _fault_of_event(attributes: dict[str, Any], now_ms: int) -> tuple[str, str]:
    """Return where the fault is and a sentence, or two empty texts."""
    properties = attributes.get("properties")
    if not isinstance(properties, dict) or len(checks.object_at(attributes, "properties")) > 400:
        return "/properties", f"'properties' is an object of at most {PROPERTIES_MAX} keys."
    name = checks.at(attributes, "metric.data.attributes.name")
    if not checks.is_text(name, METRIC_CHARACTERS_MAX - 1):
        return "/metric", "'metric' needs a name shorter than 128 characters."
    if checks.at(attributes, "metric.data.type") != "metric":
        return "/metric/data/type", "'type' must be metric."
    if "time" in attributes:
        at = checks.moment_ms(attributes["time"], "rfc3339")
        if at is None or at > now_ms + YEAR_MS or at < 631_152_000_000:
            return "/time", "'time' is ISO 8601, after 1990, at most a year ahead."
    value = attributes.get("value")
    if value is not None and not checks.is_number(value):
        return "/value", "'value' must be a number."
    currency = attributes.get("value_currency")
    if currency is not None and not checks.is_currency(currency):
        return "/value_currency", "'value_currency' must be an ISO 4217 code."
    return _fault_of_profile(checks.object_at(attributes, "profile.data"), "/profile/data")


def _fault_of_profile(profile: dict[str, Any], where: str) -> tuple[str, str]:
    who = checks.object_at(profile, "attributes")
    if not any(who.get(key) for key in _IDS):
        return where, "One of email, phone_number, external_id, anonymous_id is needed."
    if who.get("email") and not checks.is_email(who["email"]):
        return f"{where}/attributes/email", "Invalid email address."
    if who.get("phone_number") and not checks.is_e164(who["phone_number"]):
        return f"{where}/attributes/phone_number", "Invalid phone number format (E.164)."
    return "", ""
