"""TikTok's Events API: 200 whatever happens, the truth is in `code`, a request is judged as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

IDENTIFIERS = [
    *((name,) for name in ("email", "phone", "external_id", "ttclid", "ttp")),
    *((name,) for name in ("idfa", "gaid", "idfv", "lead_id")),
    ("ip", "user_agent"),
]
APP_EVENTS = (
    "AchieveLevel AddPaymentInfo AddToCart AddToWishlist Checkout CompleteTutorial CreateGroup "
    "CreateRole GenerateLead InAppADClick InAppADImpr InstallApp JoinGroup LaunchAPP "
    "LoanApplication LoanApproval LoanDisbursal Login Purchase Rate Registration Search "
    "SpendCredits StartTrial Subscribe UnlockAchievement ViewContent"
)
ATT = "AUTHORIZED DENIED NOT_DETERMINED RESTRICTED NOT_APPLICABLE"
DEVICES = (("idfa",), ("gaid",), ("idfv",))


class TikTok(Simulator):
    """`event/track`. A wrong parameter of one event refuses all of them."""

    vendor = "tiktok"
    title = "TikTok Events API 2.0"
    docs = "https://business-api.tiktok.com/portal/docs?id=1771100865818625"
    credentials = {"access_token": "tt-simulated-token", "event_source_id": "C4A1B2C3PIXEL"}
    deduplicates = True
    own_faults = {
        "throttled_in_200": "200 with code 40100: too many requests",
        "error_in_200": "200 with code 50000: the vendor's own fault",
        "expired_token": "200 with code 40105: the token ran out",
        "warning": "200 with code 0 and a message that is not OK; the events are taken",
    }
    fault_outcomes = {
        "throttled_in_200": "retry",
        "error_in_200": "retry",
        "expired_token": "blocked",
        "warning": "delivered",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge a request; the status is 200 in any case."""
        if not ask.path.endswith("/event/track/") or ask.method != "POST":
            return coded(40002, f"No such path: {ask.path}")
        if ask.headers.get("access-token") != self.credentials["access_token"]:
            return coded(40001, "Access token is incorrect or has been revoked.")
        try:
            body = ask.json()
        except msgspec.DecodeError:
            return coded(40002, "Invalid JSON")
        if checks.at(body, "event_source_id") != self.credentials["event_source_id"]:
            return coded(40001, "No permission to operate this event source")
        return self._events(body, ask.now_ms)

    def _events(self, body: Any, now_ms: int) -> Reply:
        events, source = rules.values_of(body.get("data")), body.get("event_source")
        if not 1 <= len(events) <= 1000:
            return coded(40002, f"data: length must be 1 to 1000, not {len(events)}")
        if source not in ("web", "app", "offline", "crm"):
            return coded(40002, "event_source: invalid")
        for index, event in enumerate(events):
            findings = [*judge(event, source, f"data.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                return coded(40002, f"{fatal[0].where}: {fatal[0].message}")
        if not body.get("test_event_code"):
            for event in events:
                id = f"{event['event']}/{event['event_id']}" if event.get("event_id") else ""
                self.take(id, event["event"], event)
        return coded(0, "OK")

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer with the code of a bad day."""
        codes = {
            "throttled_in_200": (40100, "Too many requests"),
            "error_in_200": (50000, "Internal error"),
            "expired_token": (40105, "Access token is expired"),
        }
        if fault in codes:
            return coded(*codes[fault])
        if fault == "warning":
            reply = self.answer(ask)
            return coded(0, "Some parameters were ignored") if reply.body["code"] == 0 else reply
        return super().misbehave(fault, ask)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return a 429 of the edge; the API's own is `throttled_in_200`."""
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        return Reply(429, coded(40100, f"Too many requests to {ask.path}").body, headers)


def coded(code: int, message: str) -> Reply:
    """Return the envelope of every answer."""
    return Reply(200, {"code": code, "message": message, "request_id": "20261120sim", "data": {}})


def judge(event: Any, source: str, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user = checks.object_at(event, "user")
    yield from rules.missing(event, ["event"], f"{where}.")
    time = checks.at(event, "event_time")
    yield from rules.moment(time, "seconds", now_ms, 28 * DAY, 300, f"{where}.event_time")
    if not rules.has_any(user, IDENTIFIERS):
        yield Finding("needs_identifier", f"{where}.user", "no identifier of a person")
    yield from people(user, f"{where}.user")
    if source == "app":
        yield from app(event, where)
    if source == "crm":
        yield from rules.missing(event, ["lead.lead_id", "lead.lead_event_source"], f"{where}.")
    if source == "web" and not checks.at(event, "page.url"):
        yield Finding("page_url", f"{where}.page.url", "is recommended on the web", fatal=False)
    properties = checks.object_at(event, "properties")
    yield from rules.amount(properties.get("value"), f"{where}.properties.value")
    if properties.get("value") is not None:
        yield from rules.currency(properties.get("currency"), f"{where}.properties.currency")


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form."""
    hashed = ("email", "phone", "external_id", "first_name", "last_name", "zip_code")
    yield from rules.not_hashed(user, hashed, where)
    yield from rules.hashed(user, ("ip", "user_agent", "ttclid", "ttp", "country", "city"), where)
    yield from rules.wrong_emails(user.get("email"), "trim_lower", f"{where}.email")
    yield from rules.wrong_phones(user.get("phone"), "e164", f"{where}.phone")
    for name in ("city", "state", "country"):
        plain = user.get(name)
        if plain and (plain != plain.lower() or not plain.isalnum()):
            yield Finding("plain_place", f"{where}.{name}", "lower-case letters and digits", False)


def app(event: Any, where: str) -> Iterator[Finding]:
    """Find what an event of an app lacks."""
    yield from rules.missing(event, ["app.app_id"], f"{where}.")
    if not rules.has_any(checks.object_at(event, "user"), DEVICES):
        yield Finding("device", f"{where}.user", "idfa, gaid or idfv is required")
    if checks.at(event, "event") not in APP_EVENTS.split():
        message = "no standard event of apps"
        yield Finding("app_event", f"{where}.event", message, fatal=False)
    status = checks.at(event, "user.att_status")
    if status is not None:
        yield from rules.not_one_of(status, ATT.split(), f"{where}.user.att_status", "att_status")
