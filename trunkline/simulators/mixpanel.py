"""Mixpanel Import: each event is judged by itself, and the good ones of a 400 are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

EVENTS_MAX = 2_000
BYTES_MAX = 10 * 1_048_576
PROPERTIES_MAX = 254
OLDEST_SECONDS = 31_536_000  # the beginning of 1971
_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")
_NO_IDS = frozenset(
    {"anonymous", "null", "undefined", "none", "nil", "na", "unknown", "0", "-1", "true", "false",
     "[]", "{}", "00000000-0000-0000-0000-000000000000"}
)  # fmt: skip


class Mixpanel(Simulator):
    """One project, reached by a service account or by its token. `/engage` takes profiles."""

    vendor = "mixpanel"
    title = "Mixpanel Import"
    docs = "https://developer.mixpanel.com/reference/import-events"
    credentials: ClassVar = {
        "service_account": "trunkline.sim.mp-service-account",
        "secret": "mixpanel-simulator-secret",
        "project_id": "2195193",
        "token": "0123456789abcdef0123456789abcdef",
    }
    deduplicates = True
    own_faults: ClassVar = {"invalid_first": "400: the first event is refused, the rest is stored"}
    fault_outcomes: ClassVar = {"invalid_first": "partial"}

    def answer(self, ask: Ask) -> Reply:
        """Judge events, or profiles at `/engage`."""
        if ask.path.rstrip("/") not in ("/import", "/engage"):
            return Reply(404, {"code": 404, "error": "not found", "status": "Not Found"})
        if ask.path.startswith("/engage"):
            return self._engage(ask)
        fault = self._fault_of_login(ask)
        if fault:
            return Reply(401, {"code": 401, "error": fault, "status": "Unauthorized"})
        events = _events_of(ask)
        if events is None:
            return _bad("failed to read the request body as JSON")
        if len(events) > EVENTS_MAX or len(ask.body) > BYTES_MAX:
            return Reply(413, {"code": 413, "error": "request exceeds max limit"})
        return self._judge(events, ask, set())

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the first event and store the others."""
        del fault  # there is one
        return self._judge(_events_of(ask) or [], ask, {0})

    def _fault_of_login(self, ask: Ask) -> str:
        user, password = checks.basic_of(ask)
        own = self.credentials
        if (user, password) == (own["token"], ""):
            return ""
        if (user, password) != (own["service_account"], own["secret"]):
            return "Invalid credentials"
        return "" if ask.first("project_id") == own["project_id"] else "Unable to find project"

    def _judge(self, events: list[Any], ask: Ask, refused: set[int]) -> Reply:
        failed: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            field, message = _fault_of(event, ask.now_ms)
            if index in refused:
                field, message = "properties", "a fault that was asked for"
            if message:
                told = checks.at(event, "properties.$insert_id")
                failed.append(
                    {"index": index, "$insert_id": told, "field": field, "message": message}
                )
            else:
                self._store(event)
        stored = len(events) - len(failed)
        if ask.first("strict") != "1":
            self.complain("not_strict", ask.path, "without strict=1 nobody hears of bad events")
            return Reply(200, {"code": 200, "num_records_imported": stored, "status": "OK"})
        if not failed:
            return Reply(200, {"code": 200, "num_records_imported": stored, "status": "OK"})
        error = "some data points in the request failed validation"
        return _bad(error, failed_records=failed, num_records_imported=stored)

    def _store(self, event: dict[str, Any]) -> None:
        told = event["properties"]
        keys = ("time", "distinct_id", "$insert_id")
        self.take(
            "/".join([event["event"], *(str(told[key]) for key in keys)]), event["event"], event
        )

    def _engage(self, ask: Ask) -> Reply:
        found = checks.json_of(ask)
        entries = cast("list[Any]", found) if isinstance(found, list) else []
        if not entries or len(entries) > EVENTS_MAX:
            return _bad("the body must be a list of at most 2000 profile updates")
        if any(checks.at(one, "$token") != self.credentials["token"] for one in entries):
            return Reply(401, {"code": 401, "error": "Invalid token", "status": "Unauthorized"})
        if not all(checks.at(one, "$distinct_id") for one in entries):
            return _bad("$distinct_id is missing")
        for entry in cast("list[dict[str, Any]]", entries):
            if any(value for key, value in entry.items() if key in _OPERATIONS):
                self.take(msgspec.json.encode(entry).decode(), "$identify", entry)
        return Reply(200, {"code": 200, "num_good_events": len(entries), "status": "OK"})


_OPERATIONS = ("$set", "$set_once", "$add", "$union", "$append", "$remove", "$unset", "$delete")


def _bad(error: str, **told: Any) -> Reply:
    return Reply(400, {"code": 400, "error": error, "status": "Bad Request", **told})


def _events_of(ask: Ask) -> list[Any] | None:
    try:
        if checks.content_type_of(ask) == "application/x-ndjson":
            return [msgspec.json.decode(line) for line in ask.body.splitlines() if line.strip()]
        found = ask.json()
    except msgspec.DecodeError:
        return None
    return cast("list[Any]", found) if isinstance(found, list) else None


def _fault_of(event: Any, now_ms: int) -> tuple[str, str]:
    """Return the field and what is wrong with it, or two empty texts."""
    told = checks.object_at(event, "properties")
    if not checks.is_text(checks.at(event, "event")):
        return "event", "'event' must be a text that is not empty"
    if not checks.is_number(told.get("time")):
        return "properties.time", "'properties.time' is missing or no number"
    at = cast("float", told["time"])
    if not OLDEST_SECONDS <= (at / 1_000 if at > 10**11 else at) <= now_ms / 1_000 + 3_600:
        return "properties.time", "'properties.time' is before 1971 or over an hour ahead"
    if not _INSERT_ID.fullmatch(str(told.get("$insert_id") or "")):
        return "properties.$insert_id", "'$insert_id' must be up to 36 of A-Z a-z 0-9 -"
    return _fault_of_values(told)


def _fault_of_values(told: Mapping[str, Any]) -> tuple[str, str]:
    who = told.get("distinct_id")
    if not isinstance(who, str) or who.lower() in _NO_IDS:
        return "properties.distinct_id", "'distinct_id' is missing or a placeholder"
    if len(told) > PROPERTIES_MAX:
        return "properties", f"more than {PROPERTIES_MAX} properties"
    if checks.size_of(told) > 1_048_576:
        return "properties", "an event of over 1 MB"
    return "", ""
