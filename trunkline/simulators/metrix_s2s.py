"""Metrix, the S2S in-app event API: one event a request, for one device.

An event is defined where its slug has five lower-case letters that are not all the same, so `taqsq`
is and `zzzzz` is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from trunkline.simulators.checks import (
    at,
    is_ipv4,
    is_number,
    is_text,
    is_whole,
    json_object_of,
    unknown_of,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

CURRENCIES = ("IRR", "USD", "EUR")
FIELDS_MAX = 50
BYTES_MAX = 512
SECONDS_BELOW = 100_000_000_000  # a smaller eventTime is meant as seconds

_DEVICES = ("advertisingId", "idfa", "oaid")
_KEYS = (
    *_DEVICES, "metrixUserId", "eventSlug", "eventTime", "metrixSessionId", "deviceIp",
    "customAttributes", "customMetrics", "messageId",
)  # fmt: skip
_Fault = tuple[str, str]  # field, what is wrong with it


class MetrixS2sSimulator(Simulator):
    """What `/inappevent/{appId}` takes and how it answers. It does not tell duplicates."""

    vendor = "metrix-s2s"
    title = "Metrix S2S"
    docs = "https://docs.metrix.ir"
    credentials = {"app_id": "simulatedappids", "dev_key": "simulated-dev-key"}
    own_faults = {
        "s2s_is_off": "403 S2S_FEATURE_NOT_AVAILABLE",
        "address_not_listed": "403 INVALID_PARAMETERS: the sender's address is not allowed",
        "slug_is_gone": "404 EVENT_TYPE_DOES_NOT_EXIST",
    }
    fault_outcomes = {
        "s2s_is_off": "blocked",
        "address_not_listed": "blocked",
        "slug_is_gone": "rejected",
    }

    def answer(self, ask: Ask) -> Reply:
        """Take one event."""
        if ask.method != "POST" or not ask.path.startswith("/inappevent/"):
            return _failed(404, "NOT_FOUND", "NOT_FOUND")
        if not self._is_signed_in(ask):
            return _failed(403, "FORBIDDEN", "INVALID_PARAMETERS")
        body = json_object_of(ask)
        if isinstance(body, str):
            self.complain("json", "body", body)
            return _failed(400, "BAD_REQUEST", "MALFORMED_JSON")
        return self._event(body)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the event for what lies in the app's settings."""
        return {
            "s2s_is_off": _failed(403, "FORBIDDEN", "S2S_FEATURE_NOT_AVAILABLE", ask.path),
            "address_not_listed": _failed(403, "FORBIDDEN", "INVALID_PARAMETERS", ask.path),
            "slug_is_gone": _failed(404, "NOT_FOUND", "EVENT_TYPE_DOES_NOT_EXIST", ask.path),
        }[fault]

    def _is_signed_in(self, ask: Ask) -> bool:
        key = ask.headers.get("authorization", "")
        if key.lower().startswith("bearer "):
            self.complain("authorization", "headers", "the key stands alone, without Bearer")
        app = ask.path.removeprefix("/inappevent/")
        return (app, key) == (self.credentials["app_id"], self.credentials["dev_key"])

    def _event(self, body: dict[str, Any]) -> Reply:
        devices = [name for name in _DEVICES if body.get(name) not in (None, "", "null")]
        if not devices:
            self.complain("device", "body", f"none of {', '.join(_DEVICES)}")
            return _failed(400, "BAD_REQUEST", "IDFA_AND_ADVERTISING_ID_SHOULD_NOT_BE_NULL")
        if len(devices) > 1:
            self.complain("device", "body", f"{' and '.join(devices)} together")
            return _failed(400, "BAD_REQUEST", "ONLY_ONE_OF_IDFA_AND_ADVERTISING_ID_SHOULD_BE_SET")
        faults = [*_faults_of(body), *_faults_of_revenue(body)]
        for field, what in faults:
            self.complain("parameters", field, what)
        if faults:
            return _failed(400, "BAD_REQUEST", "INVALID_PARAMETERS", str(faults[0]))
        slug = str(body["eventSlug"])
        if not re.fullmatch(r"[a-z]{5}", slug) or slug == slug[0] * 5:
            return _failed(404, "NOT_FOUND", "EVENT_TYPE_DOES_NOT_EXIST")
        self.take("", slug, body)
        return Reply(200, {"status": "success", "userId": body["metrixUserId"]})


def _faults_of(body: dict[str, Any]) -> Iterator[_Fault]:
    for name in unknown_of(body, _KEYS):
        yield name, "there is no such field"
    for name in ("metrixUserId", "eventSlug"):
        if not is_text(body.get(name)):
            yield name, "a text is expected"
    for name in (*_DEVICES, "metrixSessionId"):
        if not isinstance(body.get(name, ""), str):
            yield name, "a text is expected"
    if (fault := _fault_of_time(body.get("eventTime"))) and "eventTime" in body:
        yield "eventTime", fault
    if "deviceIp" in body and not (is_ipv4(body["deviceIp"]) or ":" in str(body["deviceIp"])):
        yield "deviceIp", "an address is expected"
    yield from _faults_of_map(body, "customAttributes", "a text")
    yield from _faults_of_map(body, "customMetrics", "a number")


def _fault_of_time(value: object) -> str:
    is_digits = isinstance(value, str) and value.isascii() and value.isdigit()
    if not is_digits and not is_whole(value):
        return "whole milliseconds are expected, as a number or as digits"
    if int(cast("int | str", value)) < SECONDS_BELOW:
        return f"{value} are seconds; milliseconds are expected"
    return ""


def _faults_of_map(body: dict[str, Any], name: str, kind: str) -> Iterator[_Fault]:
    found = body.get(name, {})
    if not isinstance(found, dict):
        yield name, "an object is expected"
        return
    fields = cast("dict[str, Any]", found)
    if len(fields) > FIELDS_MAX:
        yield name, f"{len(fields)} keys; at most {FIELDS_MAX} are taken"
    for key, value in fields.items():
        is_right = is_number(value) if kind == "a number" else isinstance(value, str)
        if not is_right:
            yield f"{name}.{key}", f"{kind} is expected"
        if len(key.encode()) > BYTES_MAX or len(str(value).encode()) > BYTES_MAX:
            yield f"{name}.{key}", f"more than {BYTES_MAX} bytes"


def _faults_of_revenue(body: dict[str, Any]) -> Iterator[_Fault]:
    revenue, currency = (
        at(body, "customMetrics._revenue"), at(body, "customAttributes._currency")
    )  # fmt: skip
    if currency is not None and currency not in CURRENCIES:
        yield "customAttributes._currency", f"{currency!r} is none of {', '.join(CURRENCIES)}"
    if revenue is not None and currency is None:
        yield "customAttributes._currency", "missing beside _revenue"


def _failed(status: int, error: str, type: str, description: str = "") -> Reply:
    told = {"status": status, "error": error, "type": type, "message": type}
    return Reply(status, told | ({"description": description} if description else {}))
