"""X's web conversions: OAuth 1.0a, event ids of the ads manager, an address is none by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.oauth1 import signature_fault
from trunkline.simulators.simulator import Ask, Reply, Simulator

STRONG = ("twclid", "hashed_email", "hashed_phone_number")
EVENT_ID = re.compile(r"tw-[a-z0-9]+-[a-z0-9]+")


class X(Simulator):
    """`/12/measurement/conversions/PIXEL`."""

    vendor = "x"
    title = "X Conversion API (web)"
    docs = "https://developer.x.com/en/docs/x-ads-api/measurement/web-conversions"
    credentials = {
        "consumer_key": "x-consumer-key",
        "consumer_secret": "x-consumer-secret",
        "access_token": "x-access-token",
        "token_secret": "x-token-secret",
        "pixel_id": "o8z6j",
    }
    deduplicates = True
    own_faults = {
        "expired_token": "401 UNAUTHORIZED_ACCESS: the token was revoked",
        "over_capacity": "503 OVER_CAPACITY",
    }
    fault_outcomes = {"expired_token": "blocked", "over_capacity": "retry"}

    def answer(self, ask: Ask) -> Reply:
        """Take all conversions of a request, or none."""
        fault = signature_fault(ask, self.credentials)
        if fault:
            return failed(401, "UNAUTHORIZED_ACCESS", f"This request is not authorized: {fault}")
        if ask.path != f"/12/measurement/conversions/{self.credentials['pixel_id']}":
            return failed(404, "ROUTE_NOT_FOUND", f"The route {ask.path} is not known")
        try:
            conversions = checks.list_at(ask.json(), "conversions")
        except msgspec.DecodeError:
            return failed(400, "INVALID_PARAMETER", "The body is no JSON")
        if not 1 <= len(conversions) <= 500:
            return failed(400, "INVALID_PARAMETER", f"{len(conversions)} conversions; 1 to 500")
        return self._conversions(conversions, ask.now_ms)

    def _conversions(self, conversions: list[Any], now_ms: int) -> Reply:
        for index, conversion in enumerate(conversions):
            findings = [*judge(conversion, f"conversions.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                return failed(400, "INVALID_PARAMETER", f"{fatal[0].where}: {fatal[0].message}")
        for conversion in conversions:
            id = str(conversion.get("conversion_id") or "")
            self.take(id, conversion["event_id"], conversion)
        done = {"conversions_processed": len(conversions), "debug_id": "sim"}
        return Reply(200, {"data": done})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day."""
        if fault == "expired_token":
            return failed(401, "UNAUTHORIZED_ACCESS", "The access token was revoked")
        if fault == "over_capacity":
            return failed(503, "OVER_CAPACITY", "Twitter is over capacity")
        return super().misbehave(fault, ask)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the vendor's 429, with the moment at which its window ends."""
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        body = failed(429, "TOO_MANY_REQUESTS", f"Rate limit of {ask.path} exceeded").body
        return Reply(429, body, headers)


def failed(status: int, code: str, message: str) -> Reply:
    """Return an error of the whole request."""
    return Reply(status, {"errors": [{"code": code, "message": message}]})


def judge(conversion: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what a conversion lacks."""
    time = checks.at(conversion, "conversion_time")
    yield from rules.rfc3339(time, now_ms, 90 * DAY, 300, f"{where}.conversion_time")
    event_id = str(checks.at(conversion, "event_id"))
    if not EVENT_ID.fullmatch(event_id):
        yield Finding("event_id", f"{where}.event_id", f"{event_id!r} is no tw-…-… of a pixel")
    yield from identifiers(checks.list_at(conversion, "identifiers"), f"{where}.identifiers")
    value = checks.at(conversion, "value")
    if value is not None and not checks.is_number_text(str(value)):
        yield Finding("amount", f"{where}.value", f"{value!r} is no number")
    if value is not None:
        code = checks.at(conversion, "price_currency")
        yield from rules.currency(code, f"{where}.price_currency")


def identifiers(given: list[Any], where: str) -> Iterator[Finding]:
    """Find what is wrong with who did it; an address or an agent alone says too little."""
    names = {name for one in given for name in checks.object_at({"one": one}, "one")}
    if not names & {*STRONG} and not {"ip_address", "user_agent"} <= names:
        yield Finding("needs_identifier", where, "twclid, e-mail, phone, or IP with agent")
    for index, one in enumerate(given):
        place = f"{where}.{index}"
        yield from rules.not_hashed(one, ("hashed_email", "hashed_phone_number"), place)
        yield from rules.hashed(one, ("twclid", "ip_address", "user_agent"), place)
        yield from rules.wrong_emails(one.get("hashed_email"), "trim_lower", place)
        yield from rules.wrong_phones(one.get("hashed_phone_number"), "e164", place)
