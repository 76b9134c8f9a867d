"""PostHog capture: a batch whose form and key are right is answered 200, whatever is in it."""

from __future__ import annotations

from typing import Any, ClassVar

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

BYTES_MAX = 20 * 1_048_576
ID_CHARACTERS_MAX = 200
_PATHS = ("/batch", "/capture", "/i/v0/e", "/e")
_FLAGS = "/flags"  # the flags of a person: nothing is stored
_NO_IDS = frozenset(
    {"anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email",
     "undefined", "true", "false", "null", "none", "nan", "0", "[object object]"}
)  # fmt: skip


class PostHog(Simulator):
    """One project. Two events of one `uuid`, name, person and moment become one in time."""

    vendor = "posthog"
    title = "PostHog capture"
    docs = "https://posthog.com/docs/api/capture"
    credentials: ClassVar = {"api_key": "phc_simulator0123456789abcdefghijklmnopqrstu"}
    deduplicates = True

    def answer(self, ask: Ask) -> Reply:
        """Judge form and key aloud, and the events in silence."""
        if ask.path.rstrip("/") not in (*_PATHS, _FLAGS):
            return _error(404, "invalid_request", "not_found", "Endpoint not found.")
        if ask.method != "POST":
            return _error(405, "invalid_request", "method_not_allowed", "POST it.")
        if len(ask.body) > BYTES_MAX:
            return _error(413, "validation_error", "payload_too_large", "Payload too large.")
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _error(400, "validation_error", "invalid_payload", f"Malformed data: {body}")
        if body.get("api_key") != self.credentials["api_key"]:
            detail = "Project API key invalid. You can find it in the project's settings."
            return _error(401, "authentication_error", "invalid_api_key", detail)
        if ask.path.rstrip("/") == _FLAGS:
            return Reply(200, {"flags": {}, "errorsWhileComputingFlags": False})
        events = checks.list_at(body, "batch") if "batch" in body else [body]
        for index, event in enumerate(events):
            self._judge(f"batch.{index}", event)
        return Reply(200, {"status": "Ok"})

    def _judge(self, where: str, event: Any) -> None:
        name = checks.at(event, "event")
        who = checks.at(event, "distinct_id") or checks.at(event, "properties.distinct_id")
        if not checks.is_text(name, ID_CHARACTERS_MAX):
            self.complain(
                "no_name", where, "dropped in silence: no event name up to 200 characters"
            )
        elif not checks.is_text(who, ID_CHARACTERS_MAX):
            self.complain("no_distinct_id", where, "dropped in silence: no distinct_id")
        else:
            self._store(where, event, str(who))

    def _store(self, where: str, event: dict[str, Any], who: str) -> None:
        if event["event"] in ("$identify", "$create_alias") and who.lower() in _NO_IDS:
            self.complain("placeholder_id", where, f"{who!r} names nobody")
        at = event.get("timestamp")
        if at is None:
            self.complain("no_timestamp", where, "without one it counts as now")
        elif checks.moment_ms(at, "rfc3339") is None:
            self.complain("timestamp", where, f"{at!r} is no ISO 8601 with a zone")
        told = event.get("uuid")
        if told is None or not checks.is_uuid(told):
            self.complain("uuid", where, "no UUID: a retry counts twice")
            told = ""
        self.take(f"{told}/{event['event']}/{who}/{at}" if told else "", event["event"], event)


def _error(status: int, kind: str, code: str, detail: str) -> Reply:
    return Reply(status, {"type": kind, "code": code, "detail": detail, "attr": None})
