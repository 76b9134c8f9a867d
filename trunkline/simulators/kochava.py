"""Kochava, server-to-server events: JSON, one event a request, no dedupe.

What it answers to an unknown app is not published; here it is 401, as to any wrong credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trunkline.simulators.checks import (
    fault_of_age,
    is_currency,
    is_number,
    is_text,
    json_object_of,
    missing_of,
    moment_ms,
    object_at,
    unknown_of,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

DEVICE_IDS = ("idfa", "idfv", "adid", "android_id", "imei", "custom")
_KEYS = (
    "event_name", "event_data", "currency", "device_ids", "origination_ip", "device_ua",
    "device_ver", "app_version", "usertime", "app_tracking_transparency", "device_limit_tracking",
)  # fmt: skip


class Kochava(Simulator):
    """Takes events of one app by its id."""

    vendor = "kochava"
    title = "Kochava S2S events"
    docs = "https://support.kochava.com/server-to-server-integration/"
    credentials: ClassVar[Mapping[str, str]] = {"kochava_app_id": "koshop-android-abc1"}
    own_faults: ClassVar[Mapping[str, str]] = {
        "error_in_200": "200 with an error in the body: the event is not taken",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "error_in_200": "rejected",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event or install."""
        if ask.path != "/track/json" or ask.method != "POST":
            return _error(404, "no such address")
        body = json_object_of(ask)
        if isinstance(body, str):
            return _error(400, body)
        if body.get("kochava_app_id") != self.credentials["kochava_app_id"]:
            return _error(401, "the app is not known")
        if fault := _fault_of(body):
            return _error(400, fault)
        told = object_at(body, "data")
        self._note_silent(told, ask.now_ms)
        self.take("", told.get("event_name", body["action"]), body)
        return Reply(200, {"success": "1"})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer 200 with an error, without taking anything."""
        if fault == "error_in_200":
            return _error(200, "device_ids are not valid")
        return super().misbehave(fault, ask)

    def _note_silent(self, told: dict[str, Any], now_ms: int) -> None:
        """Note what Kochava takes and then cannot use."""
        for key in unknown_of(told, _KEYS):
            self.complain("unknown_key", f"data.{key}", "there is no such key")
        if "usertime" in told:
            at_ms = moment_ms(told["usertime"], "seconds")
            if fault := fault_of_age(at_ms, now_ms, None, None):
                self.complain("time", "data.usertime", fault)
        if "currency" in told and not is_currency(told["currency"]):
            self.complain("currency", "data.currency", f"{told['currency']!r}")
        amount = object_at(told, "event_data").get("sum")
        if amount is not None and not is_number(amount):
            self.complain("number", "data.event_data.sum", f"{amount!r}")


def _fault_of(body: dict[str, Any]) -> str:
    if body.get("action") not in ("event", "install"):
        return "action must be event or install"
    if "kochava_device_id" not in body:
        return "kochava_device_id is missing; it may be empty"
    told = object_at(body, "data")
    needed = ("origination_ip", "device_ua", *(["event_name"] * (body["action"] == "event")))
    if missing := missing_of(told, needed):
        return f"data.{missing[0]} is missing"
    if "device_ver" not in told:
        return "data.device_ver is missing; it may be empty"
    ids = object_at(told, "device_ids")
    if not any(is_text(ids.get(name)) for name in DEVICE_IDS):
        return "data.device_ids must hold at least one id"
    return ""


def _error(status: int, words: str) -> Reply:
    return Reply(status, {"success": "0", "error": words})
