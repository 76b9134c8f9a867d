"""Firebase Cloud Messaging, HTTP v1: one message a request, to one device, topic or condition.

A device token tells what became of it: one that begins with `unregistered` is of an app that was
removed, one with `other-project` belongs to somebody else's app, one with a space is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trunkline.simulators.checks import (
    at,
    is_object,
    json_object_of,
    object_at,
    size_of,
    unknown_of,
)
from trunkline.simulators.google_sign_in import (
    CLIENT_EMAIL,
    TOKEN_PATH,
    GoogleTokens,
    failed,
    private_key_pem,
)
from trunkline.simulators.simulator import Ask, Reply, Simulator

PROJECT = "simulated-project"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
PAYLOAD_BYTES_MAX = 4_096
TOPIC_BYTES_MAX = 2_048
TTL_SECONDS_MAX = 2_419_200  # 28 days

_TARGETS = ("token", "topic", "condition")
_MESSAGE_KEYS = (
    *_TARGETS, "name", "data", "notification", "android", "webpush", "apns", "fcm_options",
)  # fmt: skip
_NOTIFICATION_KEYS = ("title", "body", "image")
_ANDROID_KEYS = (
    "collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification",
    "fcm_options", "direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok",
)  # fmt: skip
_RESERVED = ("from", "message_type", "notification")
_RESERVED_PREFIXES = ("google", "gcm")
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_Fault = tuple[str, str]  # field, what is wrong with it


class _Credentials(Mapping[str, str]):
    """The key takes a moment to make, so it is made when somebody asks for it."""

    _names = ("project_id", "client_email", "private_key")

    def __getitem__(self, name: str) -> str:
        if name == "private_key":
            return private_key_pem()
        return {"project_id": PROJECT, "client_email": CLIENT_EMAIL}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class FcmSimulator(Simulator):
    """What `messages:send` takes and how it answers."""

    vendor = "fcm"
    title = "Firebase Cloud Messaging"
    docs = "https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send"
    credentials = _Credentials()
    token_paths = frozenset({TOKEN_PATH})
    own_faults = {
        "unregistered": "404 UNREGISTERED: the app was removed from the device",
        "other_sender": "403 SENDER_ID_MISMATCH: the token belongs to another project",
        "quota": "429 QUOTA_EXCEEDED without Retry-After",
        "internal": "500 INTERNAL",
        "token_ran_out": "401 UNAUTHENTICATED for the access token, once",
        "push_certificate": "401 THIRD_PARTY_AUTH_ERROR: the APNs key in Firebase is bad",
    }
    fault_outcomes = {
        "unregistered": "rejected",
        "other_sender": "rejected",
        "quota": "retry",
        "internal": "retry",
        "token_ran_out": "delivered",
        "push_certificate": "blocked",
    }

    def __init__(self) -> None:
        super().__init__()
        self._tokens = GoogleTokens(SCOPE)

    def answer(self, ask: Ask) -> Reply:
        """Issue a token, or take a message."""
        if ask.path == TOKEN_PATH:
            reply = self._tokens.answer(ask)
            self.complaints += self._tokens.complaints
            self._tokens.complaints.clear()
            return reply
        if refusal := self._tokens.refusal_of(ask):
            return refusal
        if ask.method != "POST" or ask.path != f"/v1/projects/{PROJECT}/messages:send":
            return failed(404, "NOT_FOUND", f"no {ask.method} {ask.path} here")
        body = json_object_of(ask)
        if isinstance(body, str):
            self.complain("json", "body", body)
            return failed(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {body}")
        return self._message(body)

    def misbehave(self, fault: str, ask: Ask) -> Reply:
        """Answer as on a bad day; nothing is taken, but where a token that ran out was renewed."""
        if fault == "token_ran_out":
            self._tokens.run_out(ask)
            return self.answer(ask)
        return {
            "unregistered": _refused(404, "NOT_FOUND", "UNREGISTERED"),
            "other_sender": _refused(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            "quota": _refused(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            "internal": _refused(500, "INTERNAL", "INTERNAL"),
            "push_certificate": _refused(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
        }[fault]

    def throttled(self, ask: Ask, after_seconds: int | None) -> Reply:
        """Return QUOTA_EXCEEDED."""
        reply = self.misbehave("quota", ask)
        headers = {} if after_seconds is None else {"Retry-After": str(after_seconds)}
        return Reply(reply.status, reply.body, headers)

    def unavailable(self, ask: Ask) -> Reply:
        """Return UNAVAILABLE."""
        return _refused(503, "UNAVAILABLE", "UNAVAILABLE", f"no {ask.path} for now")

    def _message(self, body: dict[str, Any]) -> Reply:
        message = object_at(body, "message")
        faults = [*_faults_of_envelope(body), *_faults_of(message)]
        for field, what in faults:
            self.complain("invalid_argument", field, what)
        if faults:
            return _violations(faults)
        token = str(message.get("token", ""))
        if token.startswith("unregistered"):
            return _refused(404, "NOT_FOUND", "UNREGISTERED")
        if token.startswith("other-project"):
            return _refused(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")
        number = len(self.taken) + 1
        if body.get("validate_only") is not True:
            title = at(message, "notification.title")
            self.take("", title if isinstance(title, str) else "", message)
        return Reply(200, {"name": f"projects/{PROJECT}/messages/0:{number:016}%simulated"})


def _faults_of_envelope(body: dict[str, Any]) -> Iterator[_Fault]:
    for name in unknown_of(body, ("message", "validate_only")):
        yield name, "there is no such field"
    if not is_object(body.get("message")):
        yield "message", "a message is expected"
    if not isinstance(body.get("validate_only", False), bool):
        yield "validate_only", "a boolean is expected"


def _faults_of(message: dict[str, Any]) -> Iterator[_Fault]:
    for name in unknown_of(message, _MESSAGE_KEYS):
        yield f"message.{name}", "there is no such field"
    targets = [name for name in _TARGETS if message.get(name)]
    if len(targets) != 1:
        yield "message", f"exactly one of {', '.join(_TARGETS)} is expected, {len(targets)} came"
    if re.search(r"[\s<>]", str(message.get("token", ""))):
        yield "message.token", "The registration token is not a valid FCM registration token"
    for name in unknown_of(object_at(message, "notification"), _NOTIFICATION_KEYS):
        yield f"message.notification.{name}", "there is no such field"
    yield from _faults_of_data(message.get("data", {}))
    yield from _faults_of_android(object_at(message, "android"))
    payload = {name: message.get(name) for name in ("data", "notification")}
    most = TOPIC_BYTES_MAX if targets == ["topic"] else PAYLOAD_BYTES_MAX
    if size_of(payload) > most:
        yield "message", f"Message is too big: {size_of(payload)} bytes of at most {most}"


def _faults_of_data(found: Any) -> Iterator[_Fault]:
    if not is_object(found):
        yield "message.data", "a map of texts is expected"
        return
    for key, value in found.items():
        if not isinstance(value, str):
            yield f"message.data.{key}", "a text is expected"
        if key in _RESERVED or key.startswith(_RESERVED_PREFIXES):
            yield f"message.data.{key}", "Invalid data payload key"


def _faults_of_android(android: dict[str, Any]) -> Iterator[_Fault]:
    for name in unknown_of(android, _ANDROID_KEYS):
        yield f"message.android.{name}", "there is no such field"
    if str(android.get("priority", "HIGH")).upper() not in ("HIGH", "NORMAL"):
        yield "message.android.priority", "HIGH or NORMAL is expected"
    ttl = android.get("ttl", "0s")
    seconds = re.fullmatch(r"([0-9]{1,9})(?:\.[0-9]{1,9})?s", ttl if isinstance(ttl, str) else "")
    if seconds is None or int(seconds[1]) > TTL_SECONDS_MAX:
        yield "message.android.ttl", "a duration such as 3600s is expected, of at most 28 days"


def _refused(status: int, name: str, code: str, message: str = "") -> Reply:
    details = [{"@type": _FCM_ERROR, "errorCode": code}]
    return failed(status, name, message or f"simulated {code}", details)


def _violations(faults: list[_Fault]) -> Reply:
    told = [{"field": field, "description": what} for field, what in faults]
    details = [
        {"@type": _FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
        {"@type": _BAD_REQUEST, "fieldViolations": told},
    ]
    return failed(400, "INVALID_ARGUMENT", faults[0][1], details)
