"""Adjust, server-to-server events: a form, one event a request, in the order of each device.

A token that is missing or wrong is answered 202 with an `error`: no failure to an HTTP client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from trunkline.simulators.checks import (
    DAY_MS,
    MINUTE_MS,
    bearer_of,
    fault_of_age,
    form_of,
    is_currency,
    is_ipv4,
    is_number_text,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

AGE_DAYS_MAX = 58
REVENUE_MIN, REVENUE_MAX = 0.001, 1e11
_EVENT_TOKEN = re.compile(r"[a-z0-9]{6}")
DEVICE_IDS = (
    "idfa", "gps_adid", "fire_adid", "oaid", "web_uuid", "adid", "idfv", "android_id", "rida",
    "tifa", "vida", "external_device_id",
)  # fmt: skip


class Adjust(Simulator):
    """Takes events of one app, with S2S security on."""

    vendor = "adjust"
    title = "Adjust S2S events"
    docs = "https://dev.adjust.com/en/api/s2s-api/events/"
    credentials: ClassVar[Mapping[str, str]] = {
        "app_token": "abc123def456",
        "s2s_token": "adjust-s2s-token-1",
    }
    own_faults: ClassVar[Mapping[str, str]] = {
        "security": "202 with an error: the token is refused",
        "device_not_found": "404: no install of the device yet",
        "opted_out": "451: the device asked to be forgotten",
        "unique_event": "400: a unique event that was tracked before",
        "error_in_200": "200 with an error in its body: nothing is taken",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "security": "blocked",
        "device_not_found": "retry",
        "opted_out": "rejected",
        "unique_event": "delivered",
        "error_in_200": "rejected",
    }

    def __init__(self) -> None:
        super().__init__()
        self._last_ms: dict[tuple[str, str], int] = {}

    def answer(self, ask: Ask) -> Reply:
        """Judge one event, given as a form or as the query."""
        if ask.path != "/event" or ask.method not in ("POST", "GET"):
            return _error(404, "App token not found")
        if bearer_of(ask) != self.credentials["s2s_token"]:
            return _error(202, "Missing or invalid S2S token")
        fields = {name: values[-1] for name, values in ask.query.items() if values}
        fields |= form_of(ask)
        if fault := self._fault(fields, ask.now_ms):
            return fault
        self._note_silent(fields)
        if fields.get("environment") != "sandbox":  # which counts for nobody
            self.take("", fields["event_token"], fields)
        return Reply(200, {"status": "OK"})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer with one of Adjust's refusals; a unique event was taken before."""
        if fault == "unique_event":
            self.answer(ask)
        replies = {
            "security": _error(202, "Missing or invalid S2S token"),
            "device_not_found": _error(404, "Event request failed (Device not found)"),
            "opted_out": _error(451, "Device is opted out"),
            "unique_event": _error(400, "Ignoring event, earlier unique event tracked"),
            "error_in_200": _error(200, "Bad event state"),
        }
        return replies[fault] if fault in replies else super().misbehave(fault, ask)

    def _fault(self, fields: dict[str, str], now_ms: int) -> Reply | None:
        if fields.get("app_token") != self.credentials["app_token"]:
            return _error(404, "App token not found")
        if not _EVENT_TOKEN.fullmatch(fields.get("event_token", "")):
            return _error(400, "Invalid event token")
        if not any(fields.get(name) for name in DEVICE_IDS):
            return _error(400, "Bad event state: no device id")
        if "revenue" in fields and not _is_revenue(fields["revenue"]):
            return _error(400, "Invalid revenue")
        for name in ("callback_params", "partner_params"):
            if name in fields and not _is_flat(fields[name]):
                return _error(400, "Invalid callback parameters")
        return self._time_fault(fields, now_ms)

    def _time_fault(self, fields: dict[str, str], now_ms: int) -> Reply | None:
        """Refuse what is too old, or earlier than the last such event of the device."""
        if "created_at_unix" not in fields:
            return None
        text = fields["created_at_unix"]
        at_ms = int(text) * 1000 if text.isdigit() else None
        if fault := fault_of_age(at_ms, now_ms, AGE_DAYS_MAX * DAY_MS, 5 * MINUTE_MS):
            self.complain("age", "created_at_unix", fault)
            return _error(400, f"Bad event state: {fault}")
        device = next(fields[name] for name in DEVICE_IDS if fields.get(name))
        key = (device, fields["event_token"])
        if (at_ms or 0) < self._last_ms.get(key, 0):
            self.complain("order", "created_at_unix", "it is earlier than the device's last one")
            return _error(400, "Bad event state: earlier than the last event")
        self._last_ms[key] = at_ms or 0
        return None

    def _note_silent(self, fields: dict[str, str]) -> None:
        """Note what Adjust takes and then cannot use."""
        if fields.get("s2s") != "1":
            self.complain("s2s_flag", "s2s", "it must be 1")
        if fields.get("environment", "production") not in ("production", "sandbox"):
            self.complain("environment", "environment", "production or sandbox")
        if ("revenue" in fields) != ("currency" in fields):
            self.complain("revenue_dropped", "revenue", "an amount and a currency, or neither")
        if "currency" in fields and not is_currency(fields["currency"]):
            self.complain("currency", "currency", fields["currency"])
        if "ip_address" in fields and not is_ipv4(fields["ip_address"]):
            self.complain("ip", "ip_address", "Adjust reads IPv4 alone")
        if empty := [name for name, value in fields.items() if not value]:
            self.complain("empty", empty[0], "a field without a value")


def _is_revenue(text: str) -> bool:
    return is_number_text(text) and REVENUE_MIN <= float(text) <= REVENUE_MAX


def _is_flat(text: str) -> bool:
    """Say whether this is the JSON of an object of texts."""
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) and all(isinstance(v, str) for v in found.values())  # pyright: ignore[reportUnknownVariableType]


def _error(status: int, words: str) -> Reply:
    return Reply(status, {"error": words})
