"""Meta's Conversions API: one bad event fails the whole request, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

SOURCES = (
    "email website app phone_call chat physical_store system_generated business_messaging other"
)
HASHED = ("em", "ph", "fn", "ln", "ct", "st", "zp", "country", "db", "ge")
RAW = ("client_ip_address", "client_user_agent", "fbc", "fbp", "madid", "anon_id", "lead_id")
IDENTIFIERS = [
    *((name,) for name in ("em", "ph", "external_id", "fbc", "fbp", "madid", "anon_id")),
    *((name,) for name in ("lead_id", "subscription_id", "fb_login_id", "ctwa_clid")),
    ("client_ip_address", "client_user_agent"),
    ("fn", "ln"),
]
RETIRED = {f"v{number}.0" for number in range(21)}


class Meta(Simulator):
    """The dataset's events edge. Answers carry an error object, whatever the status is."""

    vendor = "meta"
    title = "Meta Conversions API"
    docs = "https://developers.facebook.com/docs/marketing-api/conversions-api"
    credentials = {"access_token": "EAAB-simulated-token", "dataset_id": "1234567890"}
    deduplicates = True
    own_faults = {
        "expired_token": "400 with code 190: the token ran out",
        "throttled_in_400": "400 with code 4: too many calls",
        "transient": "500 with code 2, is_transient",
        "warning": "200 with a warning in `messages`; the events are taken",
    }
    fault_outcomes = {
        "expired_token": "blocked",
        "throttled_in_400": "retry",
        "transient": "retry",
        "warning": "delivered",
    }

    def answer(self, ask: Ask) -> Reply:
        """Take all events of a request, or none."""
        version, dataset, *edge = [*ask.path.strip("/").split("/"), "", ""]
        try:
            body: Any = ask.json() if ask.body else None
        except msgspec.DecodeError:
            return failed(100, 2804001, "Invalid JSON")
        if token_of(ask, body) != self.credentials["access_token"]:
            return failed(190, 0, "Invalid OAuth access token")
        if dataset != self.credentials["dataset_id"] or edge[0] not in ("", "events"):
            return failed(100, 33, f"Unsupported request - object {dataset} does not exist")
        if version in RETIRED:
            self.complain("version", "path", f"{version} is retired")
        if ask.method == "GET":
            return Reply(200, {"id": dataset, "name": "Simulated dataset"})
        return self._events(body, ask.now_ms)

    def _events(self, body: Any, now_ms: int) -> Reply:
        events = rules.values_of(checks.at(body, "data"))
        if not 1 <= len(events) <= 1000:
            return failed(100, 2804001, f"data has {len(events)} events; 1 to 1000 are taken")
        for index, event in enumerate(events):
            findings = [*judge(event, f"data.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                code = 2804003 if fatal[0].rule == "too_old" else 2804001
                return failed(100, code, f"{fatal[0].where}: {fatal[0].message}")
        if not body.get("test_event_code"):
            for event in events:
                name = event["event_name"]
                id = f"{name}/{event['event_id']}" if event.get("event_id") else ""
                self.take(id, name, event)
        return received(len(events))

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as Graph does on a bad day; with `warning` the events are taken."""
        if fault == "expired_token":
            return failed(190, 463, "Error validating access token: Session has expired")
        if fault == "throttled_in_400":
            return failed(4, 0, "Application request limit reached")
        if fault == "transient":
            return failed(2, 0, "Service temporarily unavailable", status=500, is_transient=True)
        if fault == "warning":
            reply = self.answer(ask)
            return reply if reply.status != 200 else received(1, "a parameter was not used")
        return super().misbehave(fault, ask)


def token_of(ask: Ask, body: Any) -> str:
    """Return the token, wherever the request has it: header, query, or body."""
    given = ask.headers.get("authorization", "").removeprefix("Bearer ")
    return given or ask.first("access_token") or str(checks.at(body, "access_token") or "")


def received(count: int, *messages: str) -> Reply:
    """Return the answer to events that were taken."""
    return Reply(200, {"events_received": count, "messages": [*messages], "fbtrace_id": "A1sim"})


def failed(
    code: int, subcode: int, message: str, *, status: int = 400, is_transient: bool = False
) -> Reply:
    """Return Graph's error object."""
    error: dict[str, Any] = {
        "message": message,
        "type": "OAuthException",
        "code": code,
        "is_transient": is_transient,
        "fbtrace_id": "A1sim",
    }
    if subcode:
        error["error_subcode"] = subcode
    return Reply(status, {"error": error})


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user, source = checks.object_at(event, "user_data"), checks.at(event, "action_source")
    yield from rules.missing(event, ["event_name", "user_data"], f"{where}.")
    yield from rules.not_one_of(source, SOURCES.split(), f"{where}.action_source", "action_source")
    days = 62 if source == "physical_store" else 7
    time = checks.at(event, "event_time")
    yield from rules.moment(time, "seconds", now_ms, days * DAY, 60, f"{where}.event_time")
    if not rules.has_any(user, IDENTIFIERS):
        yield Finding("needs_identifier", f"{where}.user_data", "no parameter to find a person by")
    yield from people(user, f"{where}.user_data")
    if source == "website":
        needed = ["event_source_url", "user_data.client_user_agent"]
        yield from rules.missing(event, needed, f"{where}.")
    if source == "app":
        yield from app(checks.object_at(event, "app_data"), f"{where}.app_data")
    yield from money(event, where)


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form."""
    yield from rules.not_hashed(user, HASHED, where)
    yield from rules.hashed(user, RAW, where)
    yield from rules.wrong_emails(user.get("em"), "trim_lower", f"{where}.em")
    yield from rules.wrong_phones(user.get("ph"), "digits", f"{where}.ph")
    clicked = user.get("fbc")
    if clicked and (not str(clicked).startswith("fb.") or str(clicked).count(".") < 3):
        yield Finding("fbc", f"{where}.fbc", "not fb.INDEX.MILLISECONDS.CLICK", fatal=False)


def app(app_data: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find what an event of an app lacks."""
    for flag in ("advertiser_tracking_enabled", "application_tracking_enabled"):
        if app_data.get(flag) not in (0, 1):
            yield Finding("app_flag", f"{where}.{flag}", "must be 0 or 1")
    extended = rules.values_of(app_data.get("extinfo"))
    if len(extended) != 16 or not all(isinstance(item, str) for item in extended):
        yield Finding("extinfo", f"{where}.extinfo", "must be 16 texts")
    elif extended[0] not in ("a2", "i2") or not extended[4]:
        yield Finding("extinfo", f"{where}.extinfo", "needs a2 or i2, and the system's version")


def money(event: Any, where: str) -> Iterator[Finding]:
    """Find what is wrong with an amount; a purchase must have one."""
    custom = checks.object_at(event, "custom_data")
    if checks.at(event, "event_name") == "Purchase":
        yield from rules.missing(custom, ["value", "currency"], f"{where}.custom_data.")
    yield from rules.amount(custom.get("value"), f"{where}.custom_data.value")
    if custom.get("currency") is not None:
        yield from rules.currency(custom["currency"], f"{where}.custom_data.currency")
    for index, one in enumerate(checks.list_at(custom, "contents")):
        yield from rules.missing(one, ["id", "quantity"], f"{where}.custom_data.contents.{index}.")
