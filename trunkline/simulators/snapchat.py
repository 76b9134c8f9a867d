"""Snap's Conversions API v3: the body's `status` says how it went, also under a 200."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

NAMES = (
    "PURCHASE SAVE START_CHECKOUT ADD_CART VIEW_CONTENT ADD_BILLING SIGN_UP SEARCH PAGE_VIEW "
    "SUBSCRIBE AD_CLICK AD_VIEW COMPLETE_TUTORIAL LEVEL_COMPLETE INVITE LOGIN SHARE RESERVE "
    "ACHIEVEMENT_UNLOCKED ADD_TO_WISHLIST SPENT_CREDITS RATE START_TRIAL LIST_VIEW APP_INSTALL "
    "APP_OPEN CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 CUSTOM_EVENT_4 CUSTOM_EVENT_5"
)
HASHED = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id")
RAW = ("client_ip_address", "client_user_agent", "sc_click_id", "sc_cookie1", "madid")


class Snapchat(Simulator):
    """`/v3/ASSET/events`, and `/validate` under it, which stores nothing."""

    vendor = "snapchat"
    title = "Snap Conversions API"
    docs = "https://developers.snap.com/api/marketing-api/Conversions-API"
    credentials = {"access_token": "snap-simulated-token", "asset_id": "pixel-0001"}
    deduplicates = True
    own_faults = {
        "error_in_200": "200 with status FAILED and no record named; nothing is taken",
        "partial": "200 with status FAILED and the first record named; the others are taken",
        "expired_token": "401: the token ran out",
    }
    fault_outcomes = {"error_in_200": "rejected", "partial": "partial", "expired_token": "blocked"}

    def answer(self, ask: Ask) -> Reply:
        """Judge a request and take what is right of it."""
        parts = ask.path.strip("/").split("/")
        given = ask.headers.get("authorization", "").removeprefix("Bearer ")
        if (given or ask.first("access_token")) != self.credentials["access_token"]:
            return said(401, "FAILED", "The access token is invalid or expired")
        if parts[:2] != ["v3", self.credentials["asset_id"]] or parts[2:3] != ["events"]:
            return said(403, "FAILED", "No permission on this asset")
        try:
            events = rules.values_of(checks.at(ask.json(), "data"))
        except msgspec.DecodeError:
            return said(400, "FAILED", "Malformed JSON")
        if not 1 <= len(events) <= 2000:
            return said(400, "FAILED", f"{len(events)} events; 1 to 2000 are taken")
        return self._events(events, ask, is_test=parts[3:] == ["validate"])

    def _events(self, events: list[Any], ask: Ask, *, is_test: bool) -> Reply:
        records: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            findings = [*judge(event, f"data.{index}", ask.now_ms)]
            rules.complain(self, findings)
            records += [
                {"index": index, "reason": f"{f.where}: {f.message}"} for f in findings if f.fatal
            ][:1]
        if records:
            return said(400, "FAILED", "Some events are not valid", records)
        if not is_test:
            for event in events:
                self.take(str(event.get("event_id") or ""), event["event_name"], event)
        return said(200, "VALID" if is_test else "OK", "Events have been processed")

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; `partial` takes all but the first event."""
        if fault == "expired_token":
            return said(401, "FAILED", "The access token has expired")
        if fault == "error_in_200":
            return said(200, "FAILED", "The events could not be processed")
        if fault == "partial":
            for event in rules.values_of(checks.at(ask.json(), "data"))[1:]:
                self.take(str(event.get("event_id") or ""), event["event_name"], event)
            records = [{"index": 0, "reason": "data.0: refused"}]
            return said(200, "FAILED", "Some events were not processed", records)
        return super().misbehave(fault, ask)


def said(status: int, word: str, reason: str, records: list[dict[str, Any]] | None = None) -> Reply:
    """Return the body of every answer."""
    body: dict[str, Any] = {"status": word, "reason": reason}
    return Reply(status, body if records is None else {**body, "error_records": records})


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user, source = checks.object_at(event, "user_data"), str(checks.at(event, "action_source"))
    name = checks.at(event, "event_name")
    yield from rules.not_one_of(name, NAMES.split(), f"{where}.event_name", "event_name")
    sources = ("WEB", "MOBILE_APP", "OFFLINE", "WEBSITE", "APP")
    yield from rules.not_one_of(source.upper(), sources, f"{where}.action_source", "action_source")
    time = checks.at(event, "event_time")
    yield from rules.moment(time, "seconds", now_ms, 37 * DAY, 300, f"{where}.event_time")
    if source.upper() in ("WEB", "WEBSITE"):
        yield from rules.missing(event, ["event_source_url"], f"{where}.")
    if source.upper() in ("MOBILE_APP", "APP"):
        yield from rules.missing(event, ["app_data.app_id", "app_data.extinfo"], f"{where}.")
        if len(rules.values_of(checks.at(event, "app_data.extinfo"))) != 16:
            yield Finding("extinfo", f"{where}.app_data.extinfo", "must be 16 texts")
    groups = [("em",), ("ph",), ("madid",), ("client_ip_address", "client_user_agent")]
    if not rules.has_any(user, groups):
        yield Finding("needs_identifier", f"{where}.user_data", "em, ph, madid, or IP with agent")
    yield from people(user, f"{where}.user_data")
    custom = checks.object_at(event, "custom_data")
    yield from rules.amount(custom.get("value"), f"{where}.custom_data.value")
    if custom.get("value") is not None:
        yield from rules.currency(custom.get("currency"), f"{where}.custom_data.currency")


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form."""
    yield from rules.not_hashed(user, HASHED, where)
    yield from rules.hashed(user, RAW, where)
    yield from rules.wrong_emails(user.get("em"), "trim_lower", f"{where}.em")
    yield from rules.wrong_phones(user.get("ph"), "digits", f"{where}.ph")
