"""Pinterest's conversions: each event has a verdict of its own, in the order they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

NAMES = (
    "add_payment_info add_to_cart add_to_wishlist app_install app_open checkout contact custom "
    "customize_product find_location initiate_checkout lead page_visit schedule search signup "
    "start_trial submit_application subscribe view_category view_content watch_video"
)
HASHED = ("em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id")
LISTS = (*HASHED, "hashed_maids")
RAW = ("client_ip_address", "client_user_agent", "click_id")


class Pinterest(Simulator):
    """`/v5/ad_accounts/ID/events`. Good events of a mixed request are stored: 422 tells which."""

    vendor = "pinterest"
    title = "Pinterest API for Conversions"
    docs = "https://developers.pinterest.com/docs/api-features/conversions-overview/"
    credentials = {"access_token": "pina-simulated-token", "ad_account_id": "549755885175"}
    deduplicates = True
    own_faults = {
        "partial": "422: the first event failed, the others are taken",
        "expired_token": "401: the token ran out",
        "unavailable_4197": "503 with code 4197",
    }
    fault_outcomes = {"partial": "partial", "expired_token": "blocked", "unavailable_4197": "retry"}

    def answer(self, ask: Ask) -> Reply:
        """Take what is right of a request and say of each event how it went."""
        if checks.bearer_of(ask) != self.credentials["access_token"]:
            return failed(401, 2, "Authentication failed.")
        if ask.path != f"/v5/ad_accounts/{self.credentials['ad_account_id']}/events":
            return failed(403, 29, "You are not permitted to access that resource.")
        try:
            events = checks.list_at(ask.json(), "data")
        except msgspec.DecodeError:
            return failed(400, 4196, "Invalid JSON")
        is_test = ask.first("test") == "true"
        most = 20 if is_test else 1000
        if not 1 <= len(events) <= most:
            return failed(400, 4196, f"data: {len(events)} events; 1 to {most} are taken")
        return self._verdicts(events, ask.now_ms, is_test=is_test)

    def _verdicts(self, events: list[Any], now_ms: int, *, is_test: bool) -> Reply:
        verdicts: list[dict[str, str]] = []
        for index, event in enumerate(events):
            findings = [*judge(event, f"data.{index}", now_ms)]
            rules.complain(self, findings)
            fatal = [finding for finding in findings if finding.fatal]
            if fatal:
                verdicts.append(verdict("failed", f"{fatal[0].where}: {fatal[0].message}"))
                continue
            verdicts.append(verdict("processed"))
            if not is_test:
                self._store(event)
        return judged(verdicts)

    def _store(self, event: Any) -> None:
        # Offline events are never told apart from earlier ones.
        is_offline = event["action_source"] == "offline"
        id = "" if is_offline else f"{event['event_name']}/{event['event_id']}"
        self.take(id, event["event_name"], event)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; `partial` takes all but the first event."""
        if fault == "expired_token":
            return failed(401, 2, "Authentication failed: the token has expired.")
        if fault == "unavailable_4197":
            return failed(503, 4197, "Service is temporarily unavailable.")
        if fault == "partial":
            events = checks.list_at(ask.json(), "data")
            for event in events[1:]:
                self._store(event)
            good = [verdict("processed")] * (len(events) - 1)
            return judged([verdict("failed", "data.0: refused"), *good])
        return super().misbehave(fault, ask)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the vendor's 429."""
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        body = failed(429, 8, f"You have exceeded your rate limit on {ask.path}.").body
        return Reply(429, body, headers)


def failed(status: int, code: int, message: str) -> Reply:
    """Return an error of the whole request."""
    return Reply(status, {"code": code, "message": message})


def verdict(status: str, error: str = "") -> dict[str, str]:
    """Return what is said of one event."""
    return {"status": status, "error_message": error, "warning_message": ""}


def judged(verdicts: list[dict[str, str]]) -> Reply:
    """Return the answer to a request of which each event was judged."""
    good = sum(one["status"] == "processed" for one in verdicts)
    counts = {"num_events_received": len(verdicts), "num_events_processed": good}
    return Reply(200 if good == len(verdicts) else 422, {**counts, "events": verdicts})


def judge(event: Any, where: str, now_ms: int) -> Iterator[Finding]:
    """Find what an event lacks."""
    user, source = checks.object_at(event, "user_data"), checks.at(event, "action_source")
    yield from rules.missing(event, ["event_id"], f"{where}.")
    name = checks.at(event, "event_name")
    yield from rules.not_one_of(name, NAMES.split(), f"{where}.event_name", "event_name")
    sources = ("app_android", "app_ios", "web", "offline")
    yield from rules.not_one_of(source, sources, f"{where}.action_source", "action_source")
    time = checks.at(event, "event_time")
    yield from rules.moment(time, "seconds", now_ms, 7 * DAY, 300, f"{where}.event_time")
    groups = [("em",), ("hashed_maids",), ("client_ip_address", "client_user_agent")]
    if not rules.has_any(user, groups):
        yield Finding("needs_identifier", f"{where}.user_data", "em, maids, or IP with agent")
    yield from people(user, f"{where}.user_data")
    yield from money(checks.object_at(event, "custom_data"), f"{where}.custom_data")


def people(user: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find personal data in a wrong form."""
    for name in LISTS:
        if name in user and not isinstance(user[name], list):
            yield Finding("not_a_list", f"{where}.{name}", "must be a list")
    yield from rules.not_hashed(user, LISTS, where)
    yield from rules.hashed(user, RAW, where)
    yield from rules.wrong_emails(user.get("em"), "trim_lower", f"{where}.em")
    yield from rules.wrong_phones(user.get("ph"), "digits", f"{where}.ph")


def money(custom: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find amounts that are no texts of numbers."""
    yield from rules.amount(custom.get("value"), f"{where}.value", text=True)
    if custom.get("value") is not None:
        yield from rules.currency(custom.get("currency"), f"{where}.currency")
    for index, item in enumerate(checks.list_at(custom, "contents")):
        price = checks.at(item, "item_price")
        yield from rules.amount(price, f"{where}.contents.{index}.item_price", text=True)
