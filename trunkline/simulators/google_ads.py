"""Google's Data Manager API, the way of conversions into Google Ads, and its token endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.google_sign_in import (
    CLIENT_EMAIL,
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    TOKEN_PATH,
    GoogleTokens,
    failed,
    private_key_pem,
)
from trunkline.simulators.simulator import KEPT_MAX, Ask, Reply, Simulator

SCOPE = "https://www.googleapis.com/auth/datamanager"
SOURCES = "WEB APP IN_STORE PHONE OTHER"
CONSENT = ("CONSENT_GRANTED", "CONSENT_DENIED")
CLICKS = ("gclid", "gbraid", "wbraid")
PROCESSING_MS = 1_000  # how long a request is worked on: no test should wait as long as Google does
SLOW_MS = 2_700_000


class GoogleAds(Simulator):
    """`/v1/events:ingest`, fail-fast; `/token` gives tokens for a refresh token or a signed claim.

    What was ingested is PROCESSING at first, and then what `/v1/requestStatus:retrieve` says of it.
    A conversion that is older than an account's window is answered 200 and lost later; one whose
    transactionId came before is an error of the status, too.
    """

    vendor = "google-ads"
    title = "Google Ads through the Data Manager API"
    docs = "https://developers.google.com/data-manager/api"
    credentials = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": REFRESH_TOKEN,
        "client_email": CLIENT_EMAIL,
        "private_key": private_key_pem(),
        "customer_id": "1234567890",
        "conversion_action_id": "987654321",
    }
    token_paths = frozenset({TOKEN_PATH})
    deduplicates = True
    own_faults = {
        "expired_token": "401 UNAUTHENTICATED once; a new token is good",
        "permission": "403 PERMISSION_DENIED",
        "quota": "429 RESOURCE_EXHAUSTED",
        "field_warnings": "200 with fieldWarnings; the events are taken",
        "slow": "200; the status is PROCESSING for 45 minutes",
        "failed": "200; the status is FAILED, nothing is taken",
        "partial": "200; the status is PARTIAL_SUCCESS, the first event is lost",
        "internal": "200; the status is FAILED by an internal error, nothing is taken",
    }
    fault_outcomes = {
        "expired_token": "delivered",
        "permission": "blocked",
        "quota": "retry",
        "field_warnings": "delivered",
        "slow": "delivered",
        "failed": "rejected",
        "partial": "partial",
        "internal": "retry",
    }

    def __init__(self) -> None:
        super().__init__()
        self._tokens = GoogleTokens(SCOPE)
        self._requests: dict[str, _Ingested] = {}
        self._ingested = 0

    def answer(self, ask: Ask) -> Reply:
        """Give a token, say how a request went, or take events."""
        if ask.path == TOKEN_PATH:
            reply = self._tokens.answer(ask)
            self.complaints += self._tokens.complaints
            self._tokens.complaints.clear()
            return reply
        if refusal := self._tokens.refusal_of(ask):
            return refusal
        if ask.path == "/v1/requestStatus:retrieve" and ask.method == "GET":
            return self._status(ask)
        if ask.path != "/v1/events:ingest":
            return failed(404, "NOT_FOUND", f"No such method: {ask.path}")
        try:
            body = ask.json()
        except msgspec.DecodeError:
            return failed(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        return self._ingest(body, ask.now_ms, "")

    def _status(self, ask: Ask) -> Reply:
        """Tell of a request what became of its events, for each of its destinations."""
        found = self._requests.get(ask.first("requestId"))
        if found is None:
            return failed(404, "NOT_FOUND", "Requested entity was not found.")
        told = [
            {"destination": one, **found.status_of(checks.at(one, "reference"), ask.now_ms)}
            for one in found.destinations
        ]
        return Reply(200, {"requestStatusPerDestination": told})

    def _ingest(self, body: Any, now_ms: int, fault: str) -> Reply:
        events = checks.list_at(body, "events")
        findings = [*judge(body, self.credentials)]
        for index, event in enumerate(events):
            findings += judge_event(event, body, f"events[{index}]", now_ms)
        rules.complain(self, findings)
        fatal = [f for f in findings if f.fatal]
        if fatal:
            return violated(fatal)
        made = _Ingested(checks.list_at(body, "destinations"), now_ms, fault == "slow")
        if not checks.at(body, "validateOnly"):
            for index, event in enumerate(events):
                # What is outside of the window is lost after the answer.
                is_old = any(f.where.startswith(f"events[{index}].eventTime") for f in findings)
                lost = _lost(fault, index) or ("EVENT_TOO_OLD" if is_old else "")
                if lost and not is_old:
                    self.complain("lost", f"events[{index}]", f"{lost}: only the status tells it")
                made.events.append((event, lost or self._take(event)))
        self._ingested += 1
        request = f"sim-{self._ingested}"
        self._requests[request] = made
        if len(self._requests) > KEPT_MAX:
            del self._requests[next(iter(self._requests))]
        return Reply(200, {"requestId": request})

    def _take(self, event: Any) -> str:
        """Have an event; return the reason of its error, or nothing."""
        before = self.duplicates
        self.take(str(event.get("transactionId") or ""), "conversion", event)
        return "DUPLICATE_TRANSACTION_ID" if self.duplicates > before else ""

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; a token that ran out can be renewed."""
        if fault == "expired_token":
            self._tokens.run_out(ask)
            return self.answer(ask)
        if fault == "permission":
            return failed(403, "PERMISSION_DENIED", "The caller does not have permission")
        if fault == "quota":
            return failed(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric")
        if fault == "field_warnings":
            reply = self.answer(ask)
            warning = {"reason": "UNUSED", "description": "not used", "field": "events[0]"}
            return Reply(reply.status, {**reply.body, "fieldWarnings": [warning]})
        if fault in self.own_faults:
            if ask.path != "/v1/events:ingest" or self._tokens.refusal_of(ask):
                return self.answer(ask)
            return self._ingest(ask.json(), ask.now_ms, fault)
        return super().misbehave(fault, ask)


def _lost(fault: str, index: int) -> str:
    """Return why an event is lost after the answer, by the fault of its request; or nothing."""
    if fault == "internal":
        return "INTERNAL_ERROR"
    return "INVALID_GCLID" if fault == "failed" or (fault == "partial" and not index) else ""


class _Ingested:
    """A request: its destinations, and of each event the reason why it was lost, or nothing."""

    def __init__(self, destinations: list[Any], now_ms: int, is_slow: bool) -> None:
        self.destinations = destinations
        self.events: list[tuple[Any, str]] = []
        self._done_ms = now_ms + (SLOW_MS if is_slow else PROCESSING_MS)

    def status_of(self, reference: Any, now_ms: int) -> dict[str, Any]:
        """Return what is told of one destination at that time."""
        if now_ms < self._done_ms:
            return {"requestStatus": "PROCESSING"}
        own = [
            lost
            for event, lost in self.events
            if reference in (checks.list_at(event, "destinationReferences") or [reference])
        ]
        faults = [lost for lost in own if lost]
        is_whole = len(faults) == len(own)
        status = "SUCCESS" if not faults else "FAILED" if is_whole else "PARTIAL_SUCCESS"
        counts = [
            {"reason": f"PROCESSING_ERROR_REASON_{name}", "recordCount": str(faults.count(name))}
            for name in dict.fromkeys(faults)
        ]
        told: dict[str, Any] = {"requestStatus": status}
        if counts:
            told["errorInfo"] = {"errorCounts": counts}
        return {**told, "eventsIngestionStatus": {"recordCount": str(len(own))}}


def violated(fatal: list[Finding]) -> Reply:
    """Return the refusal of a request, with the fields that are wrong."""
    violations = [{"field": f"events.{f.where}", "description": f.message} for f in fatal]
    details = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    ]
    return failed(400, "INVALID_ARGUMENT", "There was a problem with the request.", details)


def judge(body: Any, known: Any) -> Iterator[Finding]:
    """Find what a request lacks, its events aside."""
    destinations, events = checks.list_at(body, "destinations"), checks.list_at(body, "events")
    if not 1 <= len(destinations) <= 10:
        yield Finding("destinations", "destinations", f"{len(destinations)}; 1 to 10 are taken")
    for index, one in enumerate(destinations):
        place = f"destinations[{index}]"
        needed = ["operatingAccount.accountType", "productDestinationId"]
        yield from rules.missing(one, needed, f"{place}.")
        if checks.at(one, "operatingAccount.accountId") != known["customer_id"]:
            yield Finding("account", f"{place}.operatingAccount.accountId", "is not known")
    if not 1 <= len(events) <= 2000:
        yield Finding("events", "events", f"{len(events)} events; 1 to 2000 are taken")
    has_people = any(checks.at(event, "userData") for event in events)
    if has_people and checks.at(body, "encoding") not in ("HEX", "BASE64"):
        yield Finding("encoding", "encoding", "HEX or BASE64 is required with userData")
    yield from consent(checks.object_at(body, "consent"), "consent")


def consent(given: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find consent in other words than the vendor's."""
    for name, value in given.items():
        yield from rules.not_one_of(value, CONSENT, f"{where}.{name}", "consent")


def judge_event(event: Any, body: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    time = checks.at(event, "eventTimestamp")
    for found in rules.rfc3339(time, now_ms, 90 * DAY, 300, f"{where}.eventTimestamp"):
        is_fatal = found.rule not in ("too_old",)
        yield Finding(found.rule, found.where, found.message, is_fatal)
    source = checks.at(event, "eventSource")
    yield from rules.not_one_of(source, SOURCES.split(), f"{where}.eventSource", "event_source")
    yield from rules.missing(event, ["transactionId"], f"{where}.")
    clicks = checks.object_at(event, "adIdentifiers")
    if not any(clicks.get(name) for name in CLICKS) and not checks.at(event, "userData"):
        yield Finding("needs_identifier", where, "a click id or userData is required")
    if clicks.get("gclid") and (clicks.get("gbraid") or clicks.get("wbraid")):
        yield Finding("two_clicks", f"{where}.adIdentifiers", "gclid excludes the other two")
    yield from rules.amount(checks.at(event, "conversionValue"), f"{where}.conversionValue")
    if checks.at(event, "conversionValue") is not None:
        yield from rules.currency(checks.at(event, "currency"), f"{where}.currency")
    names = {checks.at(one, "reference") for one in checks.list_at(body, "destinations")}
    for name in checks.list_at(event, "destinationReferences"):
        yield from rules.not_one_of(name, names, f"{where}.destinationReferences", "reference")
    yield from consent(checks.object_at(event, "consent"), f"{where}.consent")
    yield from people(checks.list_at(event, "userData.userIdentifiers"), f"{where}.userData")


def people(identifiers: list[Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form."""
    if len(identifiers) > 10:
        yield Finding("identifiers", where, f"{len(identifiers)}; at most 10 are taken")
    for one in identifiers:
        yield from rules.not_hashed(one, ("emailAddress", "phoneNumber"), where)
        yield from rules.wrong_emails(one.get("emailAddress"), "google", f"{where}.emailAddress")
        yield from rules.wrong_phones(one.get("phoneNumber"), "e164", f"{where}.phoneNumber")
        address = checks.object_at(one, "address")
        yield from rules.not_hashed(address, ("givenName", "familyName"), where)
        yield from rules.hashed(address, ("regionCode", "postalCode"), where)
        region = address.get("regionCode")
        if region is not None and not re.fullmatch(r"[A-Z]{2}", str(region)):
            yield Finding("region", f"{where}.address.regionCode", "two capitals are expected")
