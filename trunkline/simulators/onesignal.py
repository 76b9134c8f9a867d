"""OneSignal custom events: 202 with a list of those whose person it does not know."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

BYTES_MAX = 1_048_576
EVENT_BYTES_MAX = 2_024
NAME_CHARACTERS_MAX = 128
_USER = re.compile(r"/apps/([^/]+)/users/by/([^/]+)/([^/]+)")


class OneSignal(Simulator):
    """One app. A repeated `idempotency_key` is not taken again."""

    vendor = "onesignal"
    title = "OneSignal custom events"
    docs = "https://documentation.onesignal.com/reference/create-custom-events"
    credentials: ClassVar = {
        "app_id": "5eb5a37e-b458-11e3-ac11-000c2940e62c",
        "app_api_key": "os_v2_app_simulator0123456789",
    }
    deduplicates = True
    own_faults: ClassVar = {"first_unknown": "202 with errors[]: the first event's user is unknown"}
    fault_outcomes: ClassVar = {"first_unknown": "partial"}

    def answer(self, ask: Ask) -> Reply:
        """Judge events, a change of a user, or a look at one."""
        return self._answer(ask, set())

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Know nothing of the first event's user."""
        del fault  # there is one
        return self._answer(ask, {0})

    def _answer(self, ask: Ask, unknown: set[int]) -> Reply:
        own = self.credentials
        if checks.authorization_of(ask, "Key") != own["app_api_key"]:
            return Reply(403, {"errors": ["Access denied. Use a valid API key."]})
        found = _USER.fullmatch(ask.path)
        if found is not None:
            return self._user(ask, found)
        if (ask.method, ask.path) != ("POST", f"/apps/{own['app_id']}/custom_events"):
            return Reply(404, {"errors": ["Not found: app or path"]})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return Reply(400, {"errors": [body]})
        events = checks.list_at(body, "events")
        if not events:
            return Reply(400, {"errors": ["events must be a list that is not empty"]})
        if len(ask.body) > BYTES_MAX:
            return Reply(413, {"errors": ["Request Entity Too Large"]})
        faults = [f"events[{i}]: {fault}" for i, e in enumerate(events) if (fault := _fault_of(e))]
        if faults:
            return Reply(400, {"errors": faults})
        return self._take_all(events, unknown, ask)

    def _take_all(self, events: list[Any], unknown: set[int], ask: Ask) -> Reply:
        errors: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            if index in unknown:
                who = event.get("external_id") or event.get("onesignal_id")
                told = {"code": "not-found", "title": "User not found"}
                errors.append(
                    {"event_user_id": who, "event_id": event.get("idempotency_key"), "error": told}
                )
                continue
            self._store(f"events.{index}", event, ask.now_ms)
        return Reply(202, {"errors": errors} if errors else {})

    def _store(self, where: str, event: dict[str, Any], now_ms: int) -> None:
        key = event.get("idempotency_key")
        if not checks.is_uuid(key):
            self.complain("idempotency_key", where, "no UUID: a retry counts twice")
        at = checks.moment_ms(event.get("timestamp"), "rfc3339")
        if at is not None and at > now_ms + checks.MINUTE_MS:
            self.complain("future", where, "a moment ahead of now becomes now")
        self.take(str(key or ""), event["name"], event)

    def _user(self, ask: Ask, found: re.Match[str]) -> Reply:
        if found[1] != self.credentials["app_id"]:
            return Reply(404, {"errors": ["Not found: app"]})
        if ask.method == "GET":
            return Reply(404, {"errors": [{"code": "user-2", "title": "User not found"}]})
        body = checks.json_object_of(ask)
        if ask.method != "PATCH" or isinstance(body, str):
            return Reply(400, {"errors": ["PATCH a JSON object"]})
        tags = checks.object_at(body, "properties.tags")
        if any(not isinstance(value, str | int | float) for value in tags.values()):
            return Reply(400, {"errors": ["a tag is a text or a number"]})
        self.take(msgspec.json.encode([found[3], body]).decode(), "identify", body)
        return Reply(202, {"properties": body.get("properties") or {}})


def _fault_of(event: Any) -> str:
    if not checks.is_text(checks.at(event, "name"), NAME_CHARACTERS_MAX):
        return "name is a text of at most 128 characters"
    if not (checks.at(event, "external_id") or checks.at(event, "onesignal_id")):
        return "external_id or onesignal_id is missing"
    if checks.size_of(event) > EVENT_BYTES_MAX:
        return f"{checks.size_of(event)} bytes; at most {EVENT_BYTES_MAX}"
    at = checks.at(event, "timestamp")
    if at is not None and checks.moment_ms(at, "rfc3339") is None:
        return "timestamp is no ISO 8601 with a zone"
    return ""
