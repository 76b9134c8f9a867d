"""Reddit's Conversions API v3: milliseconds, 168 hours, and a request is refused as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

TYPES = "PAGE_VISIT VIEW_CONTENT SEARCH ADD_TO_CART ADD_TO_WISHLIST PURCHASE LEAD SIGN_UP CUSTOM"
WITH_VALUE = "PURCHASE ADD_TO_CART ADD_TO_WISHLIST LEAD SIGN_UP CUSTOM"
HASHED = ("email", "phone_number", "external_id", "ip_address", "idfa", "aaid")


class Reddit(Simulator):
    """`/api/v3/pixels/PIXEL/conversion_events`."""

    vendor = "reddit"
    title = "Reddit Conversions API"
    docs = "https://ads-api.reddit.com/docs/v3/"
    credentials = {"access_token": "reddit-simulated-token", "pixel_id": "a2_simulated"}
    deduplicates = True
    own_faults = {"expired_token": "401: the token was revoked"}
    fault_outcomes = {"expired_token": "blocked"}

    def answer(self, ask: Ask) -> Reply:
        """Take all events of a request, or none."""
        if checks.bearer_of(ask) != self.credentials["access_token"]:
            return failed(401, "Unauthorized")
        if ask.path != f"/api/v3/pixels/{self.credentials['pixel_id']}/conversion_events":
            return failed(404, f"No such pixel: {ask.path}")
        if not ask.headers.get("user-agent"):
            self.complain("user_agent", "headers", "a descriptive User-Agent is asked for")
        try:
            data = checks.object_at(ask.json(), "data")
        except msgspec.DecodeError:
            return failed(400, "The body is no JSON")
        events = checks.list_at(data, "events")
        if not 1 <= len(events) <= 1000:
            return failed(400, f"{len(events)} events; 1 to 1000 are taken", "data.events")
        return self._events(events, ask.now_ms, is_test=bool(data.get("test_id")))

    def _events(self, events: list[Any], now_ms: int, *, is_test: bool) -> Reply:
        for index, event in enumerate(events):
            findings = [*judge(event, f"data.events.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                return failed(400, fatal[0].message, fatal[0].where)
        if not is_test:
            for event in events:
                id = checks.at(event, "metadata.conversion_id")
                self.take(str(id or ""), event["type"]["tracking_type"], event)
        message = f"Successfully processed {len(events)} conversion events."
        return Reply(200, {"data": {"message": message}})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day."""
        if fault == "expired_token":
            return failed(401, "The token was revoked")
        return super().misbehave(fault, ask)


def failed(status: int, message: str, field: str = "") -> Reply:
    """Return an error; `field` is the place that it is about."""
    error: dict[str, Any] = {"code": status, "message": message}
    if field:
        error["fields"] = [{"field": field, "message": message}]
    return Reply(status, {"error": error})


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user, metadata = checks.object_at(event, "user"), checks.object_at(event, "metadata")
    kind = checks.at(event, "type.tracking_type")
    yield from rules.not_one_of(kind, TYPES.split(), f"{where}.type", "tracking_type")
    if kind == "CUSTOM":
        yield from rules.missing(event, ["type.custom_event_name"], f"{where}.")
    yield from rules.missing(event, ["action_source"], f"{where}.")
    time = checks.at(event, "event_at")
    yield from rules.moment(time, "millis", now_ms, 7 * DAY, 300, f"{where}.event_at")
    groups = [("email",), ("external_id",), ("idfa",), ("aaid",), ("uuid",)]
    has_click = bool(checks.at(event, "click_id"))
    if not has_click and not rules.has_any(user, [*groups, ("ip_address", "user_agent")]):
        yield Finding("needs_identifier", f"{where}.user", "no signal to find a person by")
    yield from people(user, f"{where}.user")
    yield from money(kind, metadata, f"{where}.metadata")


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form. An address may go as it is or hashed."""
    ip = user.get("ip_address")
    raw_ip = isinstance(ip, str) and ("." in ip or ":" in ip)
    names = [name for name in HASHED if not (raw_ip and name == "ip_address")]
    yield from rules.not_hashed(user, names, where)
    yield from rules.hashed(user, ("user_agent", "uuid"), where)
    yield from rules.wrong_emails(user.get("email"), "reddit", f"{where}.email")
    yield from rules.wrong_phones(user.get("phone_number"), "e164", f"{where}.phone_number")


def money(kind: Any, metadata: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find amounts where none may be, and wrong ones."""
    yield from rules.amount(metadata.get("value"), f"{where}.value")
    if metadata.get("value") is not None:
        yield from rules.currency(metadata.get("currency"), f"{where}.currency")
    if kind not in WITH_VALUE.split():
        for name in ("value", "currency", "item_count"):
            if metadata.get(name) is not None:
                yield Finding("no_value_here", f"{where}.{name}", f"{kind} has none")
    for index, product in enumerate(checks.list_at(metadata, "products")):
        yield from rules.missing(product, ["id"], f"{where}.products.{index}.")
