"""Google Analytics' Measurement Protocol: 204 to everything, and silence about what it drops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from trunkline.simulators import ad_rules as rules
from trunkline.simulators import checks
from trunkline.simulators.ad_rules import DAY, Finding
from trunkline.simulators.simulator import Ask, Reply, Simulator

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
PREFIXES = ("google_", "ga_", "firebase_", "_")
RESERVED = (
    "ad_activeview ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure "
    "app_clear_data app_exception app_install app_remove app_store_refund app_update app_upgrade "
    "error first_open first_visit in_app_purchase notification_dismiss notification_foreground "
    "notification_open notification_receive notification_send os_update screen_view "
    "session_start user_engagement"
)
BODY_BYTES_MAX = 130_000


class GoogleAnalytics(Simulator):
    """`/mp/collect`, and `/debug/mp/collect`, which says what is wrong and stores nothing.

    A wrong secret is answered 204, too: only `complaints` and what is missing in `taken` tell.
    """

    vendor = "ga4"
    title = "Google Analytics 4 Measurement Protocol"
    docs = "https://developers.google.com/analytics/devguides/collection/protocol/ga4"
    credentials = {
        "measurement_id": "G-ABCDE12345",
        "firebase_app_id": "1:123456789012:android:0123456789abcdef",
        "api_secret": "ga4-simulated-secret",
    }
    own_faults = {"silent_drop": "204 as always, and nothing is stored"}
    fault_outcomes = {"silent_drop": "delivered"}

    def answer(self, ask: Ask) -> Reply:
        """Answer 204, or on the debug path with what is wrong."""
        findings = [*judge(ask)]
        if ask.path == "/debug/mp/collect":
            return Reply(200, {"validationMessages": [message(found) for found in findings]})
        findings += unknown_source(ask, self.credentials)
        rules.complain(self, findings)
        if not rules.is_fatal(findings):
            for event in checks.list_at(ask.json(), "events"):
                self.take("", event["name"], event)
        return Reply(204)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Drop everything, as the vendor does with what it does not like."""
        if fault == "silent_drop":
            self.complain("silent_drop", ask.path, "dropped without a word")
            return Reply(204)
        return super().misbehave(fault, ask)


def message(found: Finding) -> dict[str, str]:
    """Return a finding as the debug path words it."""
    return {
        "fieldPath": found.where,
        "description": found.message,
        "validationCode": "VALUE_INVALID",
    }


def unknown_source(ask: Ask, known: Any) -> list[Finding]:
    """Find a secret or a stream that is not known; the debug path does not look at them."""
    secret = [Finding("api_secret", "query", "the secret is not known")]
    return [
        *(secret if ask.first("api_secret") != known["api_secret"] else []),
        *(
            Finding(name, "query", f"{ask.first(name)} is not known")
            for name in ("measurement_id", "firebase_app_id")
            if ask.first(name) not in ("", known[name])
        ),
    ]


def judge(ask: Ask) -> Iterator[Finding]:
    """Find what a request lacks."""
    if len(ask.body) > BODY_BYTES_MAX:
        yield Finding("body_size", "", f"{len(ask.body)} bytes; at most {BODY_BYTES_MAX}")
    try:
        body = ask.json()
    except msgspec.DecodeError:
        yield Finding("no_json", "", "the body is no JSON")
        return
    yield from source(ask, body)
    events = checks.list_at(body, "events")
    if not 1 <= len(events) <= 25:
        yield Finding("events", "events", f"{len(events)} events; 1 to 25 are taken")
    for index, event in enumerate(events):
        yield from judge_event(event, f"events.{index}")
    yield from properties(checks.object_at(body, "user_properties"))
    for place in [body, *events]:
        if checks.at(place, "timestamp_micros") is not None:
            time = checks.at(place, "timestamp_micros")
            time = int(time) if isinstance(time, str) and time.isdigit() else time
            yield from rules.moment(time, "micros", ask.now_ms, 3 * DAY, 300, "timestamp_micros")
    user = checks.object_at(body, "user_data")
    names = ("sha256_email_address", "sha256_phone_number")
    yield from rules.not_hashed(user, names, "user_data")
    yield from rules.wrong_emails(user.get(names[0]), "google", f"user_data.{names[0]}")
    yield from rules.wrong_phones(user.get(names[1]), "e164", f"user_data.{names[1]}")


def source(ask: Ask, body: Any) -> Iterator[Finding]:
    """Find what does not go together: a stream of the web or an app, and its ids."""
    if ask.first("firebase_app_id"):
        if not re.fullmatch(r"[0-9a-fA-F]{32}", str(checks.at(body, "app_instance_id"))):
            yield Finding("app_instance_id", "app_instance_id", "must be 32 hex digits")
    elif not ask.first("measurement_id"):
        yield Finding("stream", "query", "measurement_id or firebase_app_id is required")
    elif not checks.at(body, "client_id"):
        yield Finding("client_id", "client_id", "is required")


def judge_event(event: Any, where: str) -> Iterator[Finding]:
    """Find what is wrong with an event."""
    name, params = str(checks.at(event, "name") or ""), checks.object_at(event, "params")
    yield from named(name, f"{where}.name")
    if name in RESERVED.split():
        yield Finding("reserved", f"{where}.name", f"{name} is reserved")
    if len(params) > 25:
        yield Finding("params", f"{where}.params", f"{len(params)} params; at most 25")
    for key, value in params.items():
        yield from named(key, f"{where}.params.{key}")
        if isinstance(value, str) and len(value) > 100:
            message = f"{len(value)} characters; at most 100"
            yield Finding("long_value", f"{where}.params.{key}", message, fatal=False)
        if value is None or (isinstance(value, list | dict) and key != "items"):
            yield Finding("param_kind", f"{where}.params.{key}", "no text and no number")
    yield from money(name, params, f"{where}.params")


def money(name: str, params: dict[str, Any], where: str) -> Iterator[Finding]:
    """Find what is wrong with amounts and items."""
    yield from rules.amount(params.get("value"), f"{where}.value")
    if params.get("value") is not None:
        yield from rules.currency(params.get("currency"), f"{where}.currency")
    if name in ("purchase", "refund"):
        yield from rules.missing(params, ["transaction_id"], f"{where}.")
    for name in ("session_id", "engagement_time_msec"):
        if params.get(name) is None:
            message = "without it the event is in no session"
            yield Finding("no_session", f"{where}.{name}", message, fatal=False)
    for index, item in enumerate(checks.list_at(params, "items")):
        if not checks.at(item, "item_id") and not checks.at(item, "item_name"):
            yield Finding("item", f"{where}.items.{index}", "needs item_id or item_name")


def named(name: str, where: str) -> Iterator[Finding]:
    """Find a name that is too long, has other characters, or a prefix of the vendor's."""
    if not NAME.fullmatch(name):
        yield Finding("name", where, f"{name!r}: a letter, then letters, digits, _; at most 40")
    if name.startswith(PREFIXES):
        yield Finding("reserved", where, f"{name!r} begins as the vendor's own")


def properties(given: dict[str, Any]) -> Iterator[Finding]:
    """Find user properties that are too many, too long, or no `{value}`."""
    if len(given) > 25:
        yield Finding("user_properties", "user_properties", f"{len(given)}; at most 25")
    for name, one in given.items():
        value = checks.at(one, "value")
        if len(name) > 24 or value is None or len(str(value)) > 36:
            message = "a name of 24 and a value of 36 characters at most"
            yield Finding("user_property", f"user_properties.{name}", message, fatal=False)
