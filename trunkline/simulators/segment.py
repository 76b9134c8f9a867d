"""Segment HTTP Tracking API: 200 for nearly all that is JSON, and bad events dropped in silence."""

from __future__ import annotations

from typing import Any, ClassVar

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

BATCH_BYTES_MAX = 512_000
EVENT_BYTES_MAX = 32_768
TYPES = ("track", "identify", "page", "screen", "group", "alias")


class Segment(Simulator):
    """One source. Repeats of a `messageId` are told apart for 24 hours."""

    vendor = "segment"
    title = "Segment HTTP Tracking API"
    docs = "https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/"
    credentials: ClassVar = {"write_key": "segmentSimulatorWriteKey000000000"}
    deduplicates = True

    def answer(self, ask: Ask) -> Reply:
        """Judge size and JSON aloud; the key and each event in silence."""
        name = ask.path.rstrip("/").removeprefix("/v1/")
        if name not in (*TYPES, "batch", "import"):
            return Reply(404, {"success": False, "message": "not found"})
        if ask.method != "POST":
            return Reply(405, {"success": False, "message": "method not allowed"})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _bad(f"malformed JSON: {body}")
        key = checks.basic_of(ask)[0] or body.get("writeKey")
        if key != self.credentials["write_key"]:
            self.complain("write_key", ask.path, "dropped in silence: no source has this key")
            return Reply(200, {"success": True})
        is_batch = name in ("batch", "import")
        if len(ask.body) > (BATCH_BYTES_MAX if is_batch else EVENT_BYTES_MAX):
            return _bad("payload too large")
        events = checks.list_at(body, "batch") if is_batch else [{**body, "type": name}]
        if not events:
            return _bad("the batch is empty")
        for index, event in enumerate(events):
            self._judge(f"batch.{index}", event)
        return Reply(200, {"success": True})

    def _judge(self, where: str, event: Any) -> None:
        fault = fault_of_event(event)
        if fault:
            self.complain("dropped", where, f"dropped in silence: {fault}")
            return
        told = event.get("messageId") or ""
        if not checks.is_text(told, 100):
            self.complain("message_id", where, "no messageId of up to 100 characters")
        for field in ("timestamp", "sentAt", "originalTimestamp"):
            if field in event and checks.moment_ms(event[field], "rfc3339") is None:
                self.complain(field, where, f"{event[field]!r} is no ISO 8601 with a zone")
        self.take(told, event.get("event") or event["type"], event)


def fault_of_event(event: Any) -> str:
    """Return why an event of this API is no event, or nothing."""
    kind = checks.at(event, "type")
    if kind not in TYPES:
        return f"type {kind!r} is none of {', '.join(TYPES)}"
    if not (checks.at(event, "userId") or checks.at(event, "anonymousId")):
        return "neither userId nor anonymousId"
    if checks.size_of(event) > EVENT_BYTES_MAX:
        return f"an event of over {EVENT_BYTES_MAX} bytes"
    needed = {"track": "event", "group": "groupId", "alias": "previousId"}.get(kind)
    return f"{needed} is missing" if needed and not checks.at(event, needed) else ""


def _bad(message: str) -> Reply:
    return Reply(400, {"success": False, "message": message})
