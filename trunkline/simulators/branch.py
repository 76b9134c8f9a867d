"""Branch, events v2: standard events and custom ones at two addresses, in real time alone.

There is no field for the time of an event: it is the moment at which it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trunkline.simulators.checks import (
    is_currency,
    is_number,
    is_object,
    json_object_of,
    list_at,
    missing_of,
    object_at,
    unknown_of,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

STANDARD = frozenset(
    [
        "ADD_TO_CART",
        "ADD_TO_WISHLIST",
        "VIEW_CART",
        "INITIATE_PURCHASE",
        "ADD_PAYMENT_INFO",
        "CLICK_AD",
        "PURCHASE",
        "RESERVE",
        "SPEND_CREDITS",
        "VIEW_AD",
        "SEARCH",
        "VIEW_ITEM",
        "VIEW_ITEMS",
        "RATE",
        "SHARE",
        "INITIATE_STREAM",
        "COMPLETE_STREAM",
        "COMPLETE_REGISTRATION",
        "COMPLETE_TUTORIAL",
        "ACHIEVE_LEVEL",
        "UNLOCK_ACHIEVEMENT",
        "INVITE",
        "LOGIN",
        "START_TRIAL",
        "SUBSCRIBE",
    ]
)
_PLAIN = ("branch_key", "name", "user_data", "custom_data", "metadata")
_OF_STANDARD = (*_PLAIN, "customer_event_alias", "event_data", "content_items")


class Branch(Simulator):
    """Takes events of one app by its key."""

    vendor = "branch"
    title = "Branch events"
    docs = "https://help.branch.io/developers-hub/reference/standardevents"
    credentials: ClassVar[Mapping[str, str]] = {"branch_key": "key_live_abcdefghijklmnop"}
    own_faults: ClassVar[Mapping[str, str]] = {
        "key_revoked": "403: the key is no longer active",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "key_revoked": "blocked",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event by the address it came to."""
        address = ask.path.removeprefix("/v2/event/")
        if address not in ("standard", "custom") or ask.method != "POST":
            return _error(404, "no such address")
        body = json_object_of(ask)
        if isinstance(body, str):
            return _error(400, body)
        if body.get("branch_key") != self.credentials["branch_key"]:
            return _error(401, "Invalid or missing Branch key")
        if fault := _fault_of(body, address):
            return _error(400, fault)
        self._note_silent(body, address)
        self.take("", body["name"], body)
        return Reply(200, {"branch_view_enabled": False})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the key."""
        if fault == "key_revoked":
            return _error(403, "The Branch key is not active")
        return super().misbehave(fault, ask)

    def _note_silent(self, body: dict[str, Any], address: str) -> None:
        known = _OF_STANDARD if address == "standard" else _PLAIN
        for key in unknown_of(body, known):
            self.complain("unknown_key", key, f"{address} events have no such key")
        custom = object_at(body, "custom_data")
        if any(not isinstance(value, str) for value in custom.values()):
            self.complain("custom_data", "custom_data", "its values must be texts")
        told = object_at(body, "event_data")
        for key in ("revenue", "shipping", "tax"):
            if key in told and not is_number(told[key]):
                self.complain("number", f"event_data.{key}", f"{told[key]!r}")
        if told.get("revenue", 0) and not is_currency(told.get("currency")):
            self.complain("currency", "event_data.currency", f"{told.get('currency')!r}")
        self._note_items(body)

    def _note_items(self, body: dict[str, Any]) -> None:
        for position, item in enumerate(list_at(body, "content_items")):
            where = f"content_items.{position}"
            if not is_object(item) or any(key[:1] not in "$_" for key in item):
                self.complain("item", where, "keys of an item begin with a dollar sign")
            elif any(not is_number(item[key]) for key in ("$price", "$quantity") if key in item):
                self.complain("item", where, "$price and $quantity are numbers")


def _fault_of(body: dict[str, Any], address: str) -> str:
    if missing_of(body, ("name",)):
        return "name is required"
    if address == "standard" and body["name"] not in STANDARD:
        return f"{body['name']} is no standard event"
    if not _is_known(object_at(body, "user_data")):
        return "user_data needs developer_identity, browser_fingerprint_id or a device id with os"
    if object_at(body, "event_data").get("revenue") is not None and _revenue(body) < 0:
        return "revenue must not be negative"
    return ""


def _revenue(body: dict[str, Any]) -> float:
    revenue = object_at(body, "event_data")["revenue"]
    return float(revenue) if is_number(revenue) else 0.0


def _is_known(user: dict[str, Any]) -> bool:
    """Say whether a person or a device is named in one of the four ways."""
    if user.get("developer_identity") or user.get("browser_fingerprint_id"):
        return True
    ids = {"iOS": ("idfa", "idfv"), "Android": ("aaid", "android_id")}.get(str(user.get("os")), ())
    return any(user.get(name) for name in ids)


def _error(status: int, words: str) -> Reply:
    return Reply(status, {"error": {"code": status, "message": words}})
