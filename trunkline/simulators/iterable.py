"""Iterable: events alone or in bulk (a 200 that counts failures), purchases, users."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from trunkline.simulators import checks
from trunkline.simulators.simulator import Ask, Reply, Simulator

BULK_BYTES_MAX = 4 * 1_048_576
_ROUTES = (
    "/api/events/track",
    "/api/events/trackBulk",
    "/api/commerce/trackPurchase",
    "/api/users/update",
    "/api/users/bulkUpdate",
)


class Iterable(Simulator):
    """One project. An event or purchase whose `id` came before replaces itself."""

    vendor = "iterable"
    title = "Iterable events, purchases and users"
    docs = "https://api.iterable.com/api/docs"
    credentials: ClassVar = {"api_key": "0123456789abcdef0123456789abcdef"}
    deduplicates = True
    own_faults: ClassVar = {
        "first_invalid": "200 of a bulk request whose first event's e-mail is invalid; else 400"
    }
    fault_outcomes: ClassVar = {"first_invalid": "partial"}

    def answer(self, ask: Ask) -> Reply:
        """Judge by the path."""
        return self._answer(ask, is_first_bad=False)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Find the first event's address invalid."""
        del fault  # there is one
        return self._answer(ask, is_first_bad=True)

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return the 429 of this vendor."""
        del ask  # it is the same everywhere
        told = {"code": "RateLimitExceeded", "msg": "Rate limit exceeded", "params": None}
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        return Reply(429, told, headers)

    def _answer(self, ask: Ask, *, is_first_bad: bool) -> Reply:
        if ask.headers.get("api-key") != self.credentials["api_key"]:
            return _told(401, "BadApiKey", "Invalid API key")
        if ask.method == "GET" and ask.path in ("/api/channels", "/api/lists"):
            return Reply(200, {ask.path.rpartition("/")[2]: []})
        if ask.method != "POST" or ask.path not in _ROUTES:
            return _told(404, "NotFound", "no such path")
        body = checks.json_object_of(ask)
        if isinstance(body, str):
            return _told(400, "BadJsonBody", body)
        return self._route(ask, body, is_first_bad)

    def _route(self, ask: Ask, body: dict[str, Any], is_first_bad: bool) -> Reply:
        if ask.path.endswith("trackBulk"):
            if len(ask.body) > BULK_BYTES_MAX:
                return _told(413, "RequestEntityTooLarge", "over 4 MB")
            return self._bulk(checks.list_at(body, "events"), is_first_bad)
        if ask.path.endswith("bulkUpdate"):
            return self._users(checks.list_at(body, "users"), is_first_bad)
        if ask.path.endswith("users/update"):
            return self._users([body], is_first_bad, is_single=True)
        return self._single(ask.path.endswith("trackPurchase"), body, is_first_bad)

    def _single(self, is_purchase: bool, body: dict[str, Any], is_first_bad: bool) -> Reply:
        code, message = _fault_of_purchase(body) if is_purchase else _fault_of_event(body)
        if is_first_bad:
            code, message = "InvalidEmailAddressError", "a fault that was asked for"
        if code:
            return _told(400, code, message)
        self._store(body, "purchase" if is_purchase else body["eventName"])
        return _told(200, "Success", "")

    def _bulk(self, events: list[Any], is_first_bad: bool) -> Reply:
        if not events:
            return _told(400, "BadParams", "events is missing or empty")
        emails: list[str] = []
        users: list[str] = []
        for index, event in enumerate(events):
            code, message = _fault_of_event(event)
            if code == "BadParams":
                return _told(400, code, f"events[{index}]: {message}")
            if code or (is_first_bad and not index):
                by_email = checks.at(event, "email")
                (emails if by_email else users).append(by_email or event["userId"])
            else:
                self._store(event, event["eventName"])
        return _counted(len(events), emails, users)

    def _users(self, users: list[Any], is_first_bad: bool, *, is_single: bool = False) -> Reply:
        emails: list[str] = []
        ids: list[str] = []
        for index, user in enumerate(users):
            code, message = _fault_of_person(user)
            if code == "BadParams" or (is_single and (code or is_first_bad)):
                return _told(400, code or "BadParams", message)
            if code or (is_first_bad and not index):
                by_email = checks.at(user, "email")
                (emails if by_email else ids).append(by_email or user["userId"])
            else:
                self.take(msgspec.json.encode(user).decode(), "identify", user)
        return _told(200, "Success", "") if is_single else _counted(len(users), emails, ids)

    def _store(self, event: dict[str, Any], name: str) -> None:
        if not event.get("id"):
            self.complain("no_id", name, "without id a retry counts twice")
        self.take(str(event.get("id") or ""), name, event)


def _told(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"code": code, "msg": message, "params": None})


def _counted(count: int, emails: list[str], users: list[str]) -> Reply:
    failed = len(emails) + len(users)
    told = {"successCount": count - failed, "failCount": failed}
    return Reply(200, {**told, "invalidEmails": emails, "invalidUserIds": users})


def _fault_of_person(person: Any) -> tuple[str, str]:
    email, user = checks.at(person, "email"), checks.at(person, "userId")
    if not email and not user:
        return "BadParams", "email or userId is required"
    if email and not checks.is_email(email):
        return "InvalidEmailAddressError", f"Invalid email: {email}"
    if user and not checks.is_text(user, 128):
        return "InvalidUserIdError", "userId is a text of at most 128 characters"
    return "", ""


def _fault_of_event(event: Any) -> tuple[str, str]:
    if not checks.is_text(checks.at(event, "eventName"), 255):
        return "BadParams", "eventName is required"
    at = checks.at(event, "createdAt")
    if at is not None and (not checks.is_whole(at) or at > 10**11):
        return "BadParams", "createdAt is Unix time in seconds"
    if not isinstance(checks.at(event, "dataFields"), dict | None):
        return "BadParams", "dataFields is an object"
    return _fault_of_person(event)


def _fault_of_purchase(body: dict[str, Any]) -> tuple[str, str]:
    items = checks.list_at(body, "items")
    if not items or not checks.is_number(body.get("total")):
        return "BadParams", "items and total are required"
    for item in items:
        lacking = checks.missing_of(checks.object_at({"i": item}, "i"), ("id", "name"))
        if lacking:
            return "BadParams", f"items: {', '.join(lacking)} is missing"
        if not checks.is_number(item.get("price")) or not checks.is_whole(item.get("quantity")):
            return "BadParams", "items: price is a number and quantity a whole one"
    return _fault_of_person(checks.object_at(body, "user"))
