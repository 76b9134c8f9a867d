"""Microsoft Advertising's UET Conversions API: what is wrong stands in `error.details`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

IDENTIFIERS = [
    *((name,) for name in ("anonymousId", "externalId", "em", "ph", "msclkid", "gaid", "idfa")),
    ("clientIpAddress", "clientUserAgent"),
]
RAW = ("clientUserAgent", "clientIpAddress", "msclkid", "gaid", "idfa")


class MicrosoftUet(Simulator):
    """`/v1/TAG/events`. With `continueOnValidationError` the good events of a mix are stored."""

    vendor = "microsoft-uet"
    title = "Microsoft Advertising UET Conversions API"
    docs = "https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration"
    credentials = {"access_token": "uet-simulated-token", "tag_id": "97000001"}
    deduplicates = True
    own_faults = {
        "partial": "200 with details for the first event; the others are taken",
        "warning": "200 with a detail that is a warning; all are taken",
        "expired_token": "401: the token was revoked",
    }
    fault_outcomes = {"partial": "partial", "warning": "delivered", "expired_token": "blocked"}

    def answer(self, ask: Ask) -> Reply:
        """Judge each event of a request."""
        if checks.bearer_of(ask) != self.credentials["access_token"]:
            return Reply(401, {"error": {"code": "Unauthorized", "message": "Invalid token"}})
        if ask.path != f"/v1/{self.credentials['tag_id']}/events":
            return Reply(403, {"error": {"code": "Forbidden", "message": "Not your tag"}})
        try:
            body = ask.json()
        except msgspec.DecodeError:
            return refused([detail(0, "data", "the body is no JSON")])
        events = checks.list_at(body, "data")
        if not 1 <= len(events) <= 1000:
            return refused([detail(0, "data", f"{len(events)} events; 1 to 1000 are taken")])
        return self._events(events, ask.now_ms, goes_on=bool(body.get("continueOnValidationError")))

    def _events(self, events: list[Any], now_ms: int, *, goes_on: bool) -> Reply:
        details: list[dict[str, Any]] = []
        good: list[Any] = []
        for index, event in enumerate(events):
            findings = [*judge(event, f"data.{index}", now_ms)]
            rules.complain(self, findings)
            bad = [detail(index, f.where, f.message) for f in findings if f.fatal]
            details += bad
            good += [] if bad else [event]
        if details and not (goes_on and good):
            return refused(details)
        for event in good:
            self._store(event)
        return received(len(good), details)

    def _store(self, event: Any) -> None:
        name = str(event.get("eventName") or event["eventType"])
        id = f"{name}/{event['eventId']}" if event.get("eventId") else ""
        self.take(id, name, event)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; `partial` takes all but the first event."""
        if fault == "expired_token":
            return Reply(401, {"error": {"code": "Unauthorized", "message": "Token revoked"}})
        if fault == "warning":
            reply = self.answer(ask)
            warning = detail(0, "data.0", "a property is not known", is_warning=True)
            taken = checks.at(reply.body, "eventsReceived")
            return received(taken, [warning]) if reply.status == 200 else reply
        if fault == "partial":
            events = checks.list_at(ask.json(), "data")
            for event in events[1:]:
                self._store(event)
            return received(len(events) - 1, [detail(0, "data.0", "refused")])
        return super().misbehave(fault, ask)


def detail(index: int, name: str, message: str, *, is_warning: bool = False) -> dict[str, Any]:
    """Return what is said of one property of one event."""
    return {
        "index": index,
        "propertyName": name,
        "errorMessage": message,
        "errorCode": "InvalidValue",
        "isWarning": is_warning,
    }


def refused(details: list[dict[str, Any]]) -> Reply:
    """Return a 400 of which nothing is stored."""
    error = {"code": "ValidationError", "message": "The request is not valid", "details": details}
    return Reply(400, {"eventsReceived": 0, "error": error, "traceId": "sim"})


def received(count: int, details: list[dict[str, Any]]) -> Reply:
    """Return the answer to a request of which events were stored."""
    body: dict[str, Any] = {"eventsReceived": count, "traceId": "sim"}
    if details:
        body["error"] = {"code": "PartialSuccess", "message": "See details", "details": details}
    return Reply(200, body)


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user, kind = checks.object_at(event, "userData"), checks.at(event, "eventType")
    yield from rules.not_one_of(kind, ("pageLoad", "custom"), f"{where}.eventType", "event_type")
    needed = {"pageLoad": ["eventSourceUrl"], "custom": ["eventName"]}
    yield from rules.missing(event, needed.get(str(kind), []), f"{where}.")
    time = checks.at(event, "eventTime")
    yield from rules.moment(time, "seconds", now_ms, 7 * DAY, 300, f"{where}.eventTime")
    consent = checks.at(event, "adStorageConsent")
    if consent is not None:
        yield from rules.not_one_of(consent, ("G", "D"), f"{where}.adStorageConsent", "consent")
    if "continueOnValidationError" in event:
        message = "stands beside data, not in an event"
        place = f"{where}.continueOnValidationError"
        yield Finding("continue_in_event", place, message, fatal=False)
    if not rules.has_any(user, IDENTIFIERS):
        yield Finding("needs_identifier", f"{where}.userData", "no identifier of a person")
    yield from rules.not_hashed(user, ("em", "ph"), f"{where}.userData")
    yield from rules.hashed(user, RAW, f"{where}.userData")
    yield from rules.wrong_emails(user.get("em"), "trim_lower", f"{where}.userData.em")
    yield from rules.wrong_phones(user.get("ph"), "digits", f"{where}.userData.ph")
    custom = checks.object_at(event, "customData")
    yield from rules.amount(custom.get("value"), f"{where}.customData.value")
    if custom.get("value") is not None:
        yield from rules.currency(custom.get("currency"), f"{where}.customData.currency")
