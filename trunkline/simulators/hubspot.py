"""HubSpot: custom event completions (204, no word of the event) and contacts."""

from __future__ import annotations

import re
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

EVENTS_MAX = 500
CONTACTS_MAX = 100
PROPERTIES_MAX = 50
_NAME = re.compile(r"pe\d{1,12}_[a-z][a-z0-9_]{0,100}")
_PROPERTY = re.compile(r"[a-z][a-z0-9_]{0,99}")


class HubSpot(Simulator):
    """One account, reached with the token of a private app. Nothing is deduplicated."""

    vendor = "hubspot"
    title = "HubSpot custom events and contacts"
    docs = "https://developers.hubspot.com/docs/api/events/custom-events"
    credentials: ClassVar = {"access_token": "pat-eu1-simulator-0000-4000-8000-000000000000"}

    def answer(self, ask: Ask) -> Reply:
        """Judge an event, a batch of them, contacts, or a look at the account."""
        if checks.bearer_of(ask) != self.credentials["access_token"]:
            return _error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        route = (ask.method, ask.path.rstrip("/"))
        if route == ("GET", "/account-info/v3/details"):
            return Reply(200, {"portalId": 123456, "accountType": "STANDARD"})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _error(400, "VALIDATION_ERROR", body)
        if route == ("POST", "/events/v3/send"):
            return self._events([body])
        if route == ("POST", "/events/v3/send/batch"):
            return self._events(checks.list_at(body, "inputs"))
        return self._contacts(ask, body)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the 429 that names the limit."""
        del ask  # it is the same everywhere
        told = {
            "status": "error",
            "message": "You have reached your ten_secondly_rolling limit.",
            "errorType": "RATE_LIMIT",
            "policyName": "TEN_SECONDLY_ROLLING",
        }
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        return Reply(429, told, headers)

    def _events(self, events: list[Any]) -> Reply:
        if not 0 < len(events) <= EVENTS_MAX:
            return _error(400, "VALIDATION_ERROR", f"1 to {EVENTS_MAX} inputs are taken")
        for index, event in enumerate(events):
            fault = _fault_of(event)
            if fault:
                return _error(400, "VALIDATION_ERROR", f"inputs[{index}]: {fault}")
        for event in events:
            self.take("", event["eventName"], event)
        return Reply(204)

    def _contacts(self, ask: Ask, body: dict[str, Any]) -> Reply:
        path = ask.path.rstrip("/")
        if (ask.method, path) == ("POST", "/crm/v3/objects/contacts/batch/upsert"):
            contacts = checks.list_at(body, "inputs")
            if not 0 < len(contacts) <= CONTACTS_MAX:
                return _error(400, "VALIDATION_ERROR", f"1 to {CONTACTS_MAX} inputs are taken")
            return self._upsert(contacts)
        found = re.fullmatch(r"/crm/v3/objects/contacts/([^/]+)", path)
        if found is None or ask.method != "PATCH":
            return _error(404, "OBJECT_NOT_FOUND", "Unable to locate the resource")
        told = {"id": unquote(found[1]), "idProperty": ask.first("idProperty"), **body}
        return self._upsert([told])

    def _upsert(self, contacts: list[Any]) -> Reply:
        for index, contact in enumerate(contacts):
            fault = _fault_of_contact(contact)
            if fault:
                return _error(400, "VALIDATION_ERROR", f"inputs[{index}]: {fault}")
        for contact in contacts:
            self.take(msgspec.json.encode(contact).decode(), "identify", contact)
        return Reply(200, {"status": "COMPLETE", "results": [{"id": "1"} for _ in contacts]})


def _error(status: int, category: str, message: str) -> Reply:
    told = {"status": "error", "message": message, "category": category}
    return Reply(status, {**told, "correlationId": "00000000-0000-4000-8000-000000000000"})


def _fault_of(event: Any) -> str:
    if not _NAME.fullmatch(str(checks.at(event, "eventName"))):
        return "eventName is no full name of a custom event (pe<account>_<name>)"
    if not any(checks.at(event, key) for key in ("objectId", "email", "utk")):
        return "objectId, email or utk is needed"
    at = checks.at(event, "occurredAt")
    if at is not None and checks.moment_ms(at, "rfc3339") is None:
        return "occurredAt is no ISO 8601 with a zone"
    properties = checks.object_at(event, "properties")
    if len(properties) > PROPERTIES_MAX:
        return f"at most {PROPERTIES_MAX} properties"
    return _fault_of_properties(properties)


def _fault_of_contact(contact: Any) -> str:
    if not checks.is_text(checks.at(contact, "id")):
        return "id is missing"
    if checks.at(contact, "idProperty") == "email" and not checks.is_email(contact["id"]):
        return f"{contact['id']!r} is no e-mail address"
    properties = checks.object_at(contact, "properties")
    return _fault_of_properties(properties) if properties else "properties is empty"


def _fault_of_properties(properties: dict[str, Any]) -> str:
    for name, value in properties.items():
        if not _PROPERTY.fullmatch(name):
            return f"{name!r} is no internal name of a property"
        if isinstance(value, dict | list):
            return f"{name} is no text, number or boolean"
    return ""
