"""Singular, server-to-server events: query or form, and 200 whatever is wrong; the body says it.

What it says of a wrong SDK key is not published; here it is a reason with "invalid" in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from trunkline.simulators.checks import (
    form_of,
    is_currency,
    is_ipv4,
    is_number_text,
    is_object,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

PLATFORMS = (
    "Android", "iOS", "Web", "PC", "Xbox", "Playstation", "Nintendo", "MetaQuest", "CTV",
)  # fmt: skip
NAME_CHARACTERS_MAX = 32
DEVICE_IDS: Mapping[str, tuple[str, ...]] = {
    "iOS": ("idfa", "idfv"),
    "Android": ("aifa", "asid", "andi", "amid", "oaid"),
    "Web": ("sdid",),
}
_ADDRESSES = ("/api/v1/evt", "/api/v2/evt", "/api/v1/launch")


class Singular(Simulator):
    """Takes events and sessions of one account."""

    vendor = "singular"
    title = "Singular S2S events"
    docs = "https://support.singular.net/hc/en-us/articles/31496864868635"
    credentials: ClassVar[Mapping[str, str]] = {"sdk_key": "singular_sdk_key_1"}
    own_faults: ClassVar[Mapping[str, str]] = {
        "busy": "200 with a status of error and a reason that says nothing of the event",
        "bad_platform": "200 with a status of error: invalid platform",
    }
    fault_outcomes: ClassVar[Mapping[str, str]] = {
        "busy": "retry",
        "bad_platform": "rejected",
    }

    def answer(self, ask: Ask) -> Reply:
        """Judge one event or session; the status is 200 for all of them."""
        if ask.path not in _ADDRESSES or ask.method not in ("GET", "POST"):
            return Reply(404)
        fields = {name: values[-1] for name, values in ask.query.items() if values}
        fields |= form_of(ask)
        if fault := self._fault(fields, ask.path):
            return _error(fault)
        self._note_silent(fields, ask.now_ms)
        self.take("", fields.get("n", "__SESSION__"), fields)
        return Reply(200, {"status": "ok"})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer 200 with an error, without taking anything."""
        reasons = {"busy": "could not be handled", "bad_platform": "invalid platform: android"}
        return _error(reasons[fault]) if fault in reasons else super().misbehave(fault, ask)

    def _fault(self, fields: dict[str, str], path: str) -> str:
        is_session = path.endswith("/launch")
        needed = ("a", "p", "i") if is_session else ("a", "n", "p", "i")
        if missing := [name for name in needed if not fields.get(name)]:
            return f"missing argument: {missing[0]}"
        if fields["a"] != self.credentials["sdk_key"]:
            return "invalid argument: a"
        if fields["p"] not in PLATFORMS:
            return f"invalid platform: {fields['p']}"
        ids = ("sdid",) if path == "/api/v2/evt" else DEVICE_IDS.get(fields["p"], ("sdid",))
        if not any(fields.get(name) for name in ids):
            return "no device ID supplied"
        if not fields.get("ip") and fields.get("use_ip") != "true":
            return "missing argument: ip"
        return _fault_of_forms(fields)

    def _note_silent(self, fields: dict[str, str], now_ms: int) -> None:
        """Note what Singular takes and then cannot use."""
        if len(fields.get("n", "")) > NAME_CHARACTERS_MAX:
            self.complain("name", "n", f"longer than {NAME_CHARACTERS_MAX} characters")
        if "amt" in fields and not is_currency(fields.get("cur")):
            self.complain("currency", "cur", f"{fields.get('cur')!r} beside an amount")
        if "ip" in fields and not is_ipv4(fields["ip"]):
            self.complain("ip", "ip", "an IPv4 address is expected")
        seconds = fields.get("utime", "")
        if seconds and not (seconds.isdigit() and now_ms / 5e5 < int(seconds) < now_ms / 500):
            self.complain("time", "utime", f"{seconds} is no time in seconds")
        if empty := [name for name, value in fields.items() if not value]:
            self.complain("empty", empty[0], "an argument without a value")


def _fault_of_forms(fields: dict[str, str]) -> str:
    """Return what is wrong with the amount or the attributes, or nothing."""
    if "amt" in fields and not is_number_text(fields["amt"]):
        return "invalid argument: amt"
    return "" if _is_json_object(fields.get("e", "{}")) else "invalid argument: e"


def _is_json_object(text: str) -> bool:
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return is_object(found)


def _error(reason: str) -> Reply:
    return Reply(200, {"status": "error", "reason": reason})
