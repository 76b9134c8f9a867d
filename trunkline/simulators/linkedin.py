"""LinkedIn's Conversions API: a rule for each conversion, versions that die, 422 by `Index: n`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

RULE = re.compile(r"urn:lla:llaPartnerConversion:\d+")
ID_TYPES = "SHA256_EMAIL LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID ACXIOM_ID ORACLE_MOAT_ID"
OLDEST_VERSION = "202512"  # versions before this one are retired


class LinkedIn(Simulator):
    """`/rest/conversionEvents`, one event or a batch, and the rules under `/rest/conversions`."""

    vendor = "linkedin"
    title = "LinkedIn Conversions API"
    docs = "https://learn.microsoft.com/en-us/linkedin/marketing/conversions/conversions-overview"
    credentials = {"access_token": "linkedin-simulated-token", "conversion_id": "104012"}
    deduplicates = True
    own_faults = {
        "expired_token": "401 with code 65602: the token ran out",
        "version_retired": "426 NONEXISTENT_VERSION",
        "partial": "200 to a batch of which the first element has status 422; the others are taken",
    }
    fault_outcomes = {
        "expired_token": "blocked",
        "version_retired": "blocked",
        "partial": "partial",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event or a batch; a bad element refuses the batch."""
        if checks.bearer_of(ask) != self.credentials["access_token"]:
            return failed(401, 65600, "Invalid access token")
        version = ask.headers.get("linkedin-version", "")
        if not re.fullmatch(r"20\d{4}", version) or version < OLDEST_VERSION:
            return failed(
                426, 0, f"Requested version {version} is not active", "NONEXISTENT_VERSION"
            )
        if ask.method == "GET":
            return self._rule(ask.path.rpartition("/")[2])
        if ask.path != "/rest/conversionEvents":
            return failed(404, 0, f"No virtual resource found: {ask.path}")
        if ask.headers.get("x-restli-protocol-version") != "2.0.0":
            self.complain("restli", "headers", "X-Restli-Protocol-Version: 2.0.0 is required")
        try:
            body = ask.json()
        except msgspec.DecodeError:
            return failed(400, 0, "The body is no JSON")
        return self._body(body, ask)

    def _rule(self, id: str) -> Reply:
        if id != self.credentials["conversion_id"]:
            return failed(404, 0, f"Conversion {id} was not found")
        return Reply(200, {"id": int(id), "name": "Simulated", "enabled": True})

    def _body(self, body: Any, ask: Ask) -> Reply:
        is_batch = ask.headers.get("x-restli-method", "").upper() == "BATCH_CREATE"
        events = checks.list_at(body, "elements") if is_batch else [body]
        if not 1 <= len(events) <= 5000:
            return failed(400, 0, f"{len(events)} elements; 1 to 5000 are taken")
        problems = [*self._problems(events, ask.now_ms)]
        if problems:
            return failed(422, 0, ", ".join(problems))
        for event in events:
            self._store(event)
        if is_batch:
            return Reply(200, {"elements": [{"status": 201} for _ in events]})
        return Reply(201, None, {"x-restli-id": "1"})

    def _problems(self, events: list[Any], now_ms: int) -> Iterator[str]:
        for index, event in enumerate(events):
            findings = [*judge(event, f"elements.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                yield f"Index: {index}, ERROR :: {fatal[0].where} :: {fatal[0].message}"

    def _store(self, event: Any) -> None:
        self.take(str(event.get("eventId") or ""), event["conversion"], event)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; `partial` takes all but the first event."""
        if fault == "expired_token":
            return failed(401, 65602, "The token has expired")
        if fault == "version_retired":
            return failed(426, 0, "Requested version is not active", "NONEXISTENT_VERSION")
        if fault == "partial":
            events = checks.list_at(ask.json(), "elements")
            if not events:
                return failed(422, 0, "Index: 0, ERROR :: refused")
            for event in events[1:]:
                self._store(event)
            bad = {"status": 422, "error": {"status": 422, "message": "refused"}}
            return Reply(200, {"elements": [bad, *({"status": 201} for _ in events[1:])]})
        return super().misbehave(fault, ask)


def failed(status: int, service_code: int, message: str, code: str = "") -> Reply:
    """Return an error of the whole request."""
    body: dict[str, Any] = {"status": status, "message": message}
    body |= {"serviceErrorCode": service_code} if service_code else {}
    return Reply(status, body | ({"code": code} if code else {}))


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    if not RULE.fullmatch(str(checks.at(event, "conversion"))):
        yield Finding("conversion", f"{where}.conversion", "is no urn:lla:llaPartnerConversion:ID")
    time = checks.at(event, "conversionHappenedAt")
    yield from rules.moment(time, "millis", now_ms, 90 * DAY, 300, f"{where}.conversionHappenedAt")
    value = checks.object_at(event, "conversionValue")
    yield from rules.amount(value.get("amount"), f"{where}.conversionValue.amount", text=True)
    if value:
        yield from rules.missing(value, ["amount"], f"{where}.conversionValue.")
        yield from rules.currency(
            value.get("currencyCode"), f"{where}.conversionValue.currencyCode"
        )
    yield from people(checks.object_at(event, "user"), f"{where}.user")


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find what is wrong with who did it: ids, or both names."""
    ids = checks.list_at(user, "userIds")
    names = checks.object_at(user, "userInfo")
    if not ids and not (names.get("firstName") and names.get("lastName")):
        yield Finding("needs_identifier", where, "userIds, or userInfo with both names")
    if names and not (names.get("firstName") and names.get("lastName")):
        yield Finding("half_a_name", f"{where}.userInfo", "firstName and lastName go together")
    for index, one in enumerate(ids):
        kind, place = checks.at(one, "idType"), f"{where}.userIds.{index}"
        yield from rules.not_one_of(kind, ID_TYPES.split(), f"{place}.idType", "id_type")
        yield from rules.missing(one, ["idValue"], f"{place}.")
        if kind == "SHA256_EMAIL":
            yield from rules.not_hashed(one, ["idValue"], place)
            yield from rules.wrong_emails(one.get("idValue"), "trim_lower", f"{place}.idValue")
    yield from rules.hashed(names, ("firstName", "lastName"), f"{where}.userInfo")
    if len(checks.list_at(user, "externalIds")) > 1:
        yield Finding("external_ids", f"{where}.externalIds", "one at most")
