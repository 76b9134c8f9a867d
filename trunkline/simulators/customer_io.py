"""Customer.io Track API: one thing a request, or a batch that may be partly taken."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

BATCH_BYTES_MAX = 500_000
ITEM_BYTES_MAX = 32_000
NAME_BYTES_MAX = 100
ID_BYTES_MAX = 150
_PERSON_IDS = ("id", "email", "phone", "cio_id")
_OF_ANONYMOUS = ("anonymous_id", "name", "type", "id", "timestamp", "data")
ACTIONS = frozenset(
    {"identify", "delete", "event", "screen", "page", "add_relationships", "merge", "suppress",
     "delete_relationships", "add_device", "delete_device", "unsuppress"}
)  # fmt: skip


class CustomerIo(Simulator):
    """One workspace. An event whose `id` is a ULID counts once."""

    vendor = "customer-io"
    title = "Customer.io Track API"
    docs = "https://docs.customer.io/integrations/api/track/"
    credentials: ClassVar = {"site_id": "simulatorsiteid00000", "api_key": "simulatorapikey00000"}
    deduplicates = True
    own_faults: ClassVar = {"first_refused": "207: the first of a batch is refused, the rest taken"}
    fault_outcomes: ClassVar = {"first_refused": "partial"}

    def answer(self, ask: Ask) -> Reply:
        """Judge by the path: a batch, an entity, a customer, an event, or the region."""
        return self._answer(ask, set())

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the first of a batch."""
        del fault  # there is one
        return self._answer(ask, {0})

    def _answer(self, ask: Ask, refused: set[int]) -> Reply:
        if checks.basic_of(ask) != (self.credentials["site_id"], self.credentials["api_key"]):
            return Reply(401, {"meta": {"error": "Unauthorized request"}})
        route = (ask.method, ask.path.rstrip("/"))
        if route in (("GET", "/api/v1/accounts/region"), ("GET", "/auth")):
            return Reply(200, {"data_center": "us", "environment_id": 1})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _bad(body)
        if route == ("POST", "/api/v1/events"):
            return self._anonymous(body, is_refused=bool(refused))
        if route == ("POST", "/api/v2/batch"):
            return self._batch(checks.list_at(body, "batch"), len(ask.body), refused)
        if route == ("POST", "/api/v2/entity"):
            return self._entity(body, *_fault_of_v2(body))
        return self._v1(ask, body)

    def _batch(self, items: list[Any], size: int, refused: set[int]) -> Reply:
        if size > BATCH_BYTES_MAX:
            return Reply(413, {"errors": [{"reason": "too_large", "message": "over 500 kB"}]})
        if not items:
            return _bad("batch is missing or empty")
        errors: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            field, message = _fault_of_v2(item)
            if index in refused:
                field, message = "identifiers", "a fault that was asked for"
            if message:
                told = {"reason": "invalid", "field": field, "message": message}
                errors.append({"batch_index": index, **told})
            else:
                self._store(f"batch.{index}", item)
        return Reply(207, {"errors": errors}) if errors else Reply(200, {})

    def _entity(self, item: dict[str, Any], field: str, message: str) -> Reply:
        if message:
            return Reply(
                400, {"errors": [{"reason": "invalid", "field": field, "message": message}]}
            )
        self._store("", item)
        return Reply(200, {})

    def _anonymous(self, body: dict[str, Any], *, is_refused: bool) -> Reply:
        """Take what somebody did whom nobody knows; without an `anonymous_id` nobody ever will."""
        field, message = _fault_of_anonymous(body)
        if is_refused or message:
            return _bad(f"{field}: {message}" if message else "a fault that was asked for")
        if not body.get("anonymous_id"):
            self.complain("anonymous_id", "body", "nobody can be joined with this event later")
        self._store("", {**body, "action": body.get("type", "event")})
        return Reply(200, {})

    def _v1(self, ask: Ask, body: dict[str, Any]) -> Reply:
        parts = ask.path.strip("/").split("/")
        identifiers: dict[str, Any] = {}
        if parts[:3] == ["api", "v1", "customers"] and len(parts) in (4, 5):
            identifiers = {"id": unquote(parts[3])}
        is_event = parts[-1] == "events" and ask.method == "POST"
        if not identifiers or not (is_event or ask.method == "PUT"):
            return Reply(404, {"meta": {"error": "not found"}})
        action = "event" if is_event else "identify"
        item = {**body, "type": "person", "action": action, "identifiers": identifiers}
        return self._entity(item, *_fault_of(item))

    def _store(self, where: str, item: dict[str, Any]) -> None:
        if item["action"] == "identify":
            self.take(msgspec.json.encode(item).decode(), "identify", item)
            return
        told = item.get("id") or ""
        if not checks.is_ulid(told):
            self.complain("ulid", where, f"id {told!r} is no ULID: a retry counts twice")
            told = ""
        self.take(told, item.get("name") or item["action"], item)


def _fault_of_anonymous(body: dict[str, Any]) -> tuple[str, str]:
    if unknown := checks.unknown_of(body, _OF_ANONYMOUS):
        return unknown[0], "is no field of an anonymous event"
    if body.get("type", "event") not in ("event", "page", "screen"):
        return "type", "type must be event, page or screen"
    if body.get("data") is not None and not checks.is_object(body["data"]):
        return "data", "data is an object"
    own = {"type": "person", "action": "event"}
    ids = {"anonymous_id": body.get("anonymous_id") or "none"}
    return _fault_of({**body, **own, "identifiers": ids})


def _bad(message: str) -> Reply:
    return Reply(400, {"errors": [{"reason": "parse", "message": message}]})


def _fault_of_v2(item: Any) -> tuple[str, str]:
    """Return the fault of an entry of v2: a person has one id there, and not a visitor's."""
    names = [*checks.object_at(item, "identifiers")]
    if checks.at(item, "type") == "person" and (len(names) != 1 or names[0] not in _PERSON_IDS):
        return "identifiers", f"identifiers is one of {', '.join(_PERSON_IDS)}"
    return _fault_of(item)


def _fault_of(item: Any) -> tuple[str, str]:
    if checks.at(item, "type") not in ("person", "object", "delivery"):
        return "type", "type must be person, object or delivery"
    if checks.at(item, "action") not in ACTIONS:
        return "action", f"action {checks.at(item, 'action')!r} is none that exists"
    if checks.size_of(item) > ITEM_BYTES_MAX:
        return "", "over 32 kB"
    ids = checks.object_at(item, "identifiers")
    values = [str(value) for value in ids.values() if value not in (None, "")]
    if not values or any(len(v.encode()) > ID_BYTES_MAX or v in (".", "..") for v in values):
        return "identifiers", "identifiers needs one id of at most 150 bytes"
    if item["action"] not in ("event", "page", "screen"):
        return "", ""
    name = item.get("name")
    if not checks.is_text(name) or len(str(name).encode()) > NAME_BYTES_MAX:
        return "name", "name is a text of at most 100 bytes"
    at = item.get("timestamp")
    if at is not None and (not checks.is_whole(at) or at > 10**11):
        return "timestamp", "timestamp is Unix time in seconds"
    return "", ""
