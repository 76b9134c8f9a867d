"""RudderStack HTTP API: the batch is judged whole, and one event without a user fails it."""

from __future__ import annotations

from typing import Any, ClassVar

from trunkline.simulators import checks
from trunkline.simulators.segment import TYPES
from trunkline.simulators.simulator import Ask, Reply, Simulator

BATCH_BYTES_MAX = 4_000_000
EVENT_BYTES_MAX = 32_768


class RudderStack(Simulator):
    """One source of a data plane. Repeats of a `messageId` are dropped."""

    vendor = "rudderstack"
    title = "RudderStack HTTP API"
    docs = "https://www.rudderstack.com/docs/api/http-api/"
    credentials: ClassVar = {"write_key": "2RudderSimulatorWriteKey000"}
    deduplicates = True

    def answer(self, ask: Ask) -> Reply:
        """Take all events of a request, or none."""
        name = ask.path.rstrip("/").removeprefix("/v1/")
        if name not in (*TYPES, "batch", "import", "merge"):
            return _plain(404, "404 page not found")
        if ask.method != "POST":
            return _plain(405, "")
        if checks.basic_of(ask)[0] != self.credentials["write_key"]:
            return _plain(401, "Invalid Authorization Header")
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _plain(400, "Invalid JSON")
        if len(ask.body) > BATCH_BYTES_MAX:
            return _plain(413, "Request size exceeds max limit")
        events = checks.list_at(body, "batch") if name in ("batch", "import") else [body]
        return self._judge(events, name)

    def _judge(self, events: list[Any], name: str) -> Reply:
        if not events:
            return _plain(400, "Empty batch payload")
        for event in events:
            fault = _fault_of(event)
            if fault:
                return _plain(400, fault)
        for index, event in enumerate(events):
            self._store(f"batch.{index}", event, name)
        return _plain(200, "OK")

    def _store(self, where: str, event: dict[str, Any], name: str) -> None:
        kind = event.get("type") or name
        if kind not in TYPES:
            self.complain("type", where, f"type {kind!r} is none that exists")
        if kind == "track" and not event.get("event"):
            self.complain("no_name", where, "a track event without event is dropped later")
        if not event.get("messageId"):
            self.complain("message_id", where, "no messageId: a retry counts twice")
        for field in ("originalTimestamp", "sentAt", "timestamp"):
            if field in event and checks.moment_ms(event[field], "rfc3339") is None:
                self.complain(field, where, f"{event[field]!r} is no ISO 8601 with a zone")
        if checks.size_of(event) > EVENT_BYTES_MAX:
            self.complain("large", where, f"an event of over {EVENT_BYTES_MAX} bytes")
        self.take(event.get("messageId") or "", event.get("event") or kind, event)


def _fault_of(event: Any) -> str:
    if not isinstance(event, dict):
        return "Invalid JSON"
    if not (checks.at(event, "userId") or checks.at(event, "anonymousId")):
        return "Request neither has anonymousId nor userId"
    return ""


def _plain(status: int, text: str) -> Reply:
    return Reply(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})
