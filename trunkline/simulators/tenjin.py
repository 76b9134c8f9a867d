"""Tenjin, server-to-server events and purchases: a form, one event a request, no dedupe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from trunkline.simulators.checks import (
    basic_of,
    form_of,
    is_country,
    is_currency,
    is_ipv4,
    is_number_text,
    is_uuid,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

PLATFORMS = ("ios", "android", "windows", "amazon", "android_other")
_NEEDED = (
    "analytics_installation_id", "advertising_id", "bundle_id", "platform", "os_version",
    "sdk_version",
)  # fmt: skip
_OF_PURCHASES = ("product_id", "price", "quantity", "currency")


class Tenjin(Simulator):
    """Takes events and purchases of one app."""

    vendor = "tenjin"
    title = "Tenjin S2S events"
    docs = "https://tenjin.com/docs/server-to-server-integration/"
    credentials: ClassVar[Mapping[str, str]] = {
        "sdk_key": "TENJINSDKKEY1",
        "bundle_id": "com.shop.app",
    }
    own_faults: ClassVar[Mapping[str, str]] = {
        "unknown_app": "404: no app with this bundle id and platform",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "unknown_app": "blocked",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event or purchase; a form without an event's name is an opening of the app."""
        address = ask.path.removeprefix("/v0/")
        if address not in ("event", "purchase") or ask.method != "POST":
            return _error(404, "no such address")
        fields = form_of(ask)
        if (basic_of(ask)[0] or fields.get("api_key")) != self.credentials["sdk_key"]:
            return _error(401, "the SDK key is not valid")
        if fields.get("bundle_id") != self.credentials["bundle_id"]:
            return _error(404, "there is no such app")
        needed = (*_NEEDED, *(_OF_PURCHASES if address == "purchase" else ()))
        if fault := _fault_of(fields, needed):
            return _error(400, fault)
        self._note_silent(fields)
        self.take("", "purchase" if address == "purchase" else fields.get("event", "open"), fields)
        return Reply(200, {"code": 200})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Say that the app is not known."""
        if fault == "unknown_app":
            return _error(404, "there is no such app")
        return super().misbehave(fault, ask)

    def _note_silent(self, fields: dict[str, str]) -> None:
        """Note what Tenjin takes and then cannot use."""
        if not is_uuid(fields["advertising_id"]):
            self.complain("advertising_id", "advertising_id", "a UUID is expected, zeros allowed")
        if "ip_address" in fields and not is_ipv4(fields["ip_address"]):
            self.complain("ip", "ip_address", fields["ip_address"])
        if "country" in fields and not is_country(fields["country"]):
            self.complain("country", "country", "two capital letters are expected")
        if empty := [name for name, value in fields.items() if not value]:
            self.complain("empty", empty[0], "a field without a value")


def _fault_of(fields: dict[str, str], needed: tuple[str, ...]) -> str:
    if missing := [name for name in needed if not fields.get(name)]:
        return f"{missing[0]} is required"
    if fields["platform"] not in PLATFORMS:
        return f"{fields['platform']} is no platform"
    if fields["platform"] == "ios" and not fields.get("developer_device_id"):
        return "developer_device_id is required on ios"
    if fields["sdk_version"] != "server":
        return "sdk_version must be server"
    return _fault_of_purchase(fields) if "price" in fields else ""


def _fault_of_purchase(fields: dict[str, str]) -> str:
    if not is_number_text(fields["price"]) or float(fields["price"]) < 0:
        return "price must be a number that is not negative"
    if not fields.get("quantity", "").isdigit():
        return "quantity must be a whole number"
    return "" if is_currency(fields.get("currency")) else "currency must be a code of ISO 4217"


def _error(status: int, words: str) -> Reply:
    return Reply(status, {"code": status, "error": words})
