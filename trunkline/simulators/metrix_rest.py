"""Metrix, the REST API: messages of one user a request.

A 200 says that the request was received. A message without its own moment is dropped after it, for
two of one user in the same millisecond count as one; so does a message whose id came before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from trunkline.simulators.checks import (
    is_currency,
    is_number,
    is_object,
    is_text,
    is_whole,
    json_object_of,
    list_at,
    unknown_of,
)
from trunkline.simulators.simulator import KEPT_MAX, Ask, Reply, Simulator

MESSAGES_MAX = 500
YEAR_2000_MS = 946_684_800_000

_USERS = ("customUserId", "metrixUserId", "automationUserId")
_TYPES = (
    "action", "revenue", "businessEvent", "user", "systemEvent", "pushSubscription", "pushToken",
)  # fmt: skip
_NAMED = ("action", "revenue", "businessEvent")
_Fault = tuple[str, str]  # where in the message, what is wrong


class MetrixRestSimulator(Simulator):
    """What `POST /` takes, what it drops in silence, and how it answers."""

    vendor = "metrix-rest"
    title = "Metrix REST"
    docs = "https://docs.metrix.ir"
    credentials = {"application_id": "simulatedappids", "api_key": "simulated-server-key"}
    deduplicates = True
    own_faults = {
        "key_revoked": "403: the key, or the sender's address, is not allowed",
        "bad_request": "400: nothing of the request is taken",
    }
    fault_outcomes = {"key_revoked": "blocked", "bad_request": "rejected"}

    def __init__(self) -> None:
        super().__init__()
        self._moments: dict[tuple[str, int], str] = {}  # user and time → id of the message

    def answer(self, ask: Ask) -> Reply:
        """Receive messages, take those that are as they should be."""
        if ask.method != "POST" or ask.path not in ("/", "/v1/messages"):
            return Reply(404, {"error": "NOT_FOUND"})
        if not self._is_signed_in(ask):
            return Reply(403, {"error": "FORBIDDEN", "message": "INVALID_PARAMETERS"})
        body = json_object_of(ask)
        if isinstance(body, str):
            self.complain("json", "body", body)
            return Reply(400, {"error": "BAD_REQUEST", "message": body})
        if fault := _fault_of_envelope(body):
            self.complain("envelope", "body", fault)
            return Reply(400, {"error": "BAD_REQUEST", "message": fault})
        user = next(str(body[name]) for name in _USERS if body.get(name))
        for position, message in enumerate(list_at(body, "messages")):
            self._message(user, message, f"messages.{position}")
        return Reply(200, {"status": "success"})

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Refuse the request."""
        if fault == "key_revoked":
            return Reply(403, {"error": "FORBIDDEN", "message": "INVALID_PARAMETERS"})
        return Reply(400, {"error": "BAD_REQUEST", "message": f"{ask.path} cannot take this"})

    def _is_signed_in(self, ask: Ask) -> bool:
        told = (ask.headers.get("x-application-id"), ask.headers.get("x-api-key"))
        return told == (self.credentials["application_id"], self.credentials["api_key"])

    def _message(self, user: str, message: Any, where: str) -> None:
        faults = [*_faults_of(message)]
        for field, what in faults:
            self.complain("message", f"{where}.{field}", what)
        if faults:
            return
        id, moment = str(message["id"]), (user, int(message["time"]))
        came = self._moments.setdefault(moment, id)
        if came != id:
            self.complain("same_millisecond", where, f"{came} of this user has the same time")
            return
        if len(self._moments) > KEPT_MAX:
            self._moments.clear()
        name = message.get("name") or message.get("customName") or message["type"]
        self.take(id, str(name), {"user": user, **message})


def _fault_of_envelope(body: dict[str, Any]) -> str:
    if unknown := unknown_of(body, (*_USERS, "messages", "metaData")):
        return f"there is no field {unknown[0]}"
    if not any(is_text(body.get(name)) for name in _USERS):
        return f"one of {', '.join(_USERS)} is expected"
    if not 0 < len(list_at(body, "messages")) <= MESSAGES_MAX:
        return f"`messages` is expected, a list of 1 to {MESSAGES_MAX}"
    return ""


def _faults_of(message: object) -> Iterator[_Fault]:
    if not isinstance(message, dict):
        yield "", "an object is expected"
        return
    fields = cast("dict[str, Any]", message)
    if fields.get("type") not in _TYPES:
        yield "type", f"one of {', '.join(_TYPES)} is expected"
    if not is_text(fields.get("id")):
        yield "id", "a text is expected"
    if not is_whole(fields.get("time")) or fields["time"] < YEAR_2000_MS:
        yield "time", "whole milliseconds since 1970 are expected"
    if not is_object(fields.get("attributes", {})):
        yield "attributes", "an object is expected"
    if fields.get("type") in _NAMED:
        yield from _faults_of_name(fields)
    if fields.get("type") == "revenue":
        yield from _faults_of_revenue(fields)


def _faults_of_name(fields: dict[str, Any]) -> Iterator[_Fault]:
    given = [name for name in ("name", "customName") if is_text(fields.get(name))]
    if len(given) != 1:
        yield "name", "exactly one of name and customName is expected"
    if "name" in given and not re.fullmatch(r"[a-z]{5}", fields["name"]):
        yield "name", "a slug of five letters is expected; other names are customName"


def _faults_of_revenue(fields: dict[str, Any]) -> Iterator[_Fault]:
    if not is_number(fields.get("revenue")):
        yield "revenue", "a number is expected"
    if "currency" in fields and not is_currency(fields["currency"]):
        yield "currency", "a code of ISO 4217 is expected"
