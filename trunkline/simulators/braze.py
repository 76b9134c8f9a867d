"""Braze `/users/track`: 201 with a list of what was not taken. Nothing is deduplicated."""

from __future__ import annotations

from typing import Any, ClassVar

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

OBJECTS_MAX = 75
BYTES_MAX = 4 * 1_048_576
PROPERTIES_BYTES_MAX = 100_000
ARRAYS = ("attributes", "events", "purchases")
_IDS = ("external_id", "user_alias", "braze_id", "email", "phone")


class Braze(Simulator):
    """One workspace on one cluster."""

    vendor = "braze"
    title = "Braze /users/track"
    docs = "https://www.braze.com/docs/api/endpoints/user_data/post_user_track/"
    credentials: ClassVar = {
        "api_key": "7c5e1a90-simulator-rest-key",
        "app_id": "3f0e5a1c-9b7d-4e55-8d3e-77a1c0ffee00",
    }
    own_faults: ClassVar = {
        "first_refused": "201 with errors[]: the first object is refused, the rest is taken",
        "maintenance": "202: queued until the maintenance is over",
    }
    fault_outcomes: ClassVar = {"first_refused": "partial", "maintenance": "delivered"}

    def answer(self, ask: Ask) -> Reply:
        """Take the good objects of a request and name the others."""
        return self._answer(ask, is_first_refused=False)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the first object, or queue all."""
        reply = self._answer(ask, is_first_refused=fault == "first_refused")
        return Reply(202, {"message": "queued"}) if fault == "maintenance" else reply

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return 429, with this vendor's own name for the seconds to wait."""
        limits = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "0"}
        if after_seconds is not None:
            limits["X-Ratelimit-Retry-After"] = str(after_seconds)
            limits["X-RateLimit-Reset"] = str(ask.now_ms // 1_000 + after_seconds)
        return Reply(429, {"message": "Rate limit exceeded"}, limits)

    def _answer(self, ask: Ask, *, is_first_refused: bool) -> Reply:
        if (ask.method, ask.path.rstrip("/")) != ("POST", "/users/track"):
            return Reply(404, {"message": "Not Found"})
        if checks.bearer_of(ask) != self.credentials["api_key"]:
            return Reply(401, {"message": "Invalid API Key"})
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return Reply(400, {"message": f"The request could not be parsed: {body}"})
        objects = [(a, i, one) for a in ARRAYS for i, one in enumerate(checks.list_at(body, a))]
        fault = _fault_of_whole(ask, body, len(objects))
        if fault is not None:
            return fault
        errors: list[dict[str, Any]] = []
        counts: dict[str, int] = dict.fromkeys(ARRAYS, 0)
        for position, (array, index, one) in enumerate(objects):
            kind = _fault_of(array, one)
            if is_first_refused and not position:
                kind = "a fault that was asked for"
            if kind:
                errors.append({"type": kind, "input_array": array, "index": index})
            else:
                counts[array] += 1
                self._store(array, f"{array}.{index}", one)
        told = {f"{array}_processed": count for array, count in counts.items() if count}
        return Reply(201, {"message": "success", **told, **({"errors": errors} if errors else {})})

    def _store(self, array: str, where: str, one: dict[str, Any]) -> None:
        if checks.size_of(one.get("properties") or {}) > PROPERTIES_BYTES_MAX:
            self.complain("large", where, f"properties of over {PROPERTIES_BYTES_MAX} bytes")
        app_id = one.get("app_id")
        if app_id is not None and app_id != self.credentials["app_id"]:
            self.complain("app_id", where, f"{app_id!r} is no app of this workspace")
        name = one.get("name") or one.get("product_id") or "identify"
        self.take("", name if array != "attributes" else "identify", one)


def _fault_of_whole(ask: Ask, body: dict[str, Any], count: int) -> Reply | None:
    if len(ask.body) > BYTES_MAX:
        return Reply(413, {"message": "The request is too large"})
    if any(not isinstance(body.get(array, []), list) for array in ARRAYS) or not count:
        needed = "Valid data must be provided in 'attributes', 'events', or 'purchases'"
        return Reply(400, {"message": needed})
    if count > OBJECTS_MAX:
        return Reply(400, {"message": f"{count} objects; at most {OBJECTS_MAX} in one request"})
    return None


def _fault_of(array: str, one: Any) -> str:
    ids = [name for name in _IDS if checks.at(one, name)]
    if array == "attributes" and len(ids) > 1:
        # Of a person who is named otherwise, address and number are attributes.
        ids = [name for name in ids if name not in ("email", "phone")]
    if len(ids) != 1:
        return (
            "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required, one of them"
        )
    if array == "attributes":
        return ""
    at = checks.moment_ms(checks.at(one, "time"), "rfc3339")
    if at is None:
        return "'time' is required and must be ISO 8601"
    if array == "events":
        return "" if checks.is_text(one.get("name"), 255) else "'name' is required"
    return _fault_of_purchase(one)


def _fault_of_purchase(one: dict[str, Any]) -> str:
    if not checks.is_text(one.get("product_id"), 255):
        return "'product_id' is required"
    if not checks.is_currency(one.get("currency")):
        return "'currency' must be an ISO 4217 code"
    if not checks.is_number(one.get("price")):
        return "'price' must be a number"
    quantity = one.get("quantity", 1)
    return "" if checks.is_whole(quantity) and 1 <= quantity <= 100 else "'quantity' is 1 to 100"
