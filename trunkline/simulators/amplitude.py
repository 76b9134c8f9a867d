"""Amplitude HTTP API V2: a batch is taken whole or, where one event is wrong, not at all."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar, cast

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

EVENTS_MAX = 2_000
BYTES_MAX = {"/2/httpapi": 1_048_576, "/batch": 20_971_520}
ID_LENGTH_MIN = 5
TEXT_MAX = 1_024
_NO_IDS = frozenset(
    {"anonymous", "nil", "none", "null", "n/a", "na", "undefined", "unknown", "0", "-1", "true",
     "false", "lmy47d", "{}", "[]", "00000000-0000-0000-0000-000000000000"}
)  # fmt: skip


class Amplitude(Simulator):
    """One project. Duplicates are told by `insert_id` within a device (or a user without one)."""

    vendor = "amplitude"
    title = "Amplitude HTTP API V2"
    docs = "https://amplitude.com/docs/apis/analytics/http-v2"
    credentials: ClassVar = {"api_key": "amplitude-simulator-key"}
    deduplicates = True
    own_faults: ClassVar = {
        "invalid_first": "400 that names the first event; nothing is stored",
        "throttled_users": "429 that names the users and the events that are too many",
    }
    fault_outcomes: ClassVar = {"invalid_first": "partial", "throttled_users": "retry"}

    def answer(self, ask: Ask) -> Reply:
        """Judge a batch and store all of it or nothing."""
        if ask.path not in BYTES_MAX:
            return Reply(404, {"code": 404, "error": "Not Found"})
        if ask.method != "POST":
            return Reply(405, {"code": 405, "error": "Method Not Allowed"})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _bad(body)
        if body.get("api_key") != self.credentials["api_key"]:
            return _bad(f"Invalid API key: {str(body.get('api_key'))[:6]}")
        events = checks.list_at(body, "events")
        if not events:
            return _bad("Request missing required field", missing_field="events")
        if len(events) > EVENTS_MAX or len(ask.body) > BYTES_MAX[ask.path]:
            return Reply(413, {"code": 413, "error": "Payload too large"})
        return self._judge(body, events, ask)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the first event, or throttle its user."""
        body = checks.json_object_of(ask)
        events = checks.list_at(body, "events")
        user = checks.at(events, "0.user_id") or ""
        if fault == "invalid_first":
            return _bad("Invalid field", events_with_invalid_fields={"event_properties": [0]})
        told = {
            "code": 429,
            "error": "Too many requests for some devices and users",
            "eps_threshold": 30,
            "throttled_devices": {},
            "throttled_users": {user: 31},
            "throttled_events": [0],
        }
        return Reply(429, told)

    def _judge(self, body: dict[str, Any], events: list[Any], ask: Ask) -> Reply:
        shortest = checks.at(body, "options.min_id_length")
        invalid: dict[str, list[int]] = defaultdict(list)
        missing: dict[str, list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            for field in _missing_fields(event):
                missing[field].append(index)
            for field in _invalid_fields(event, shortest if shortest else ID_LENGTH_MIN):
                invalid[field].append(index)
        if missing or invalid:
            return _bad(
                "Request missing required field" if missing else "Invalid id length or field",
                missing_field=next(iter(missing), None),
                events_with_missing_fields=dict(missing),
                events_with_invalid_fields=dict(invalid),
            )
        for index, event in enumerate(events):
            self._store(index, event)
        told = {"events_ingested": len(events), "payload_size_bytes": len(ask.body)}
        return Reply(200, {"code": 200, **told, "server_upload_time": ask.now_ms})

    def _store(self, index: int, event: dict[str, Any]) -> None:
        where = f"events.{index}"
        if event.get("ip") == "$remote":
            self.complain("ip_remote", where, "the sender's address stands for the user's")
        if not event.get("insert_id"):
            self.complain("no_insert_id", where, "without insert_id a retry counts twice")
        for path in _long_texts(event, where):
            self.complain("long_text", path, f"a text beyond {TEXT_MAX} characters is cut")
        if "revenue" in event and not checks.is_number(event["revenue"]):
            self.complain("revenue", where, "revenue is no number")
        owner = event.get("device_id") or event.get("user_id")
        insert_id = event.get("insert_id")
        self.take(f"{owner}/{insert_id}" if insert_id else "", event["event_type"], event)


def _bad(error: str, **told: Any) -> Reply:
    return Reply(400, {"code": 400, "error": error, **told})


def _missing_fields(event: Any) -> list[str]:
    found: list[str] = []
    if not checks.is_text(checks.at(event, "event_type")):
        found.append("event_type")
    if not checks.at(event, "user_id") and not checks.at(event, "device_id"):
        found.append("user_id")
    return found


def _invalid_fields(event: Any, shortest: int) -> list[str]:
    found = [
        name for name in ("user_id", "device_id") if _is_bad_id(checks.at(event, name), shortest)
    ]
    at = checks.at(event, "time")
    if at is not None and (not checks.is_whole(at) or not 0 < at < 10**14):
        found.append("time")
    if str(checks.at(event, "event_type")).startswith("[Amplitude]"):
        found.append("event_type")
    objects = ("event_properties", "user_properties", "groups")
    found += [name for name in objects if not isinstance(checks.at(event, name), dict | None)]
    return found


def _is_bad_id(value: Any, shortest: int) -> bool:
    if value in (None, ""):
        return False
    text = str(value)
    return len(text) < shortest or text.lower() in _NO_IDS


def _long_texts(value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        return [where] if len(value) > TEXT_MAX else []
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs = list(cast("dict[str, Any]", value).items())
    elif isinstance(value, list):
        pairs = [(str(i), below) for i, below in enumerate(cast("list[Any]", value))]
    return [path for key, below in pairs for path in _long_texts(below, f"{where}.{key}")]
