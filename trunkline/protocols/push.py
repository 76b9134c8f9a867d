"""`POST /push`: a message to people, accepted durably and delivered as events.

For back ends, with a Server key. Each recipient becomes one track event, `Push Requested`, so a
push is delivered, retried, traced and counted as everything else is. Whoever shows messages takes
them from there: the `fcm` kit those with a device token, a webhook all of them.

A recipient is a customUserId, or an object with one and the token of a device; without a token it
goes to the device that the profile knows. One that is unfit costs the others nothing. With an
`Idempotency-Key` the same push sent again is stored once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from hashlib import sha256
from random import Random, SystemRandom
from typing import Any, ClassVar, cast

import msgspec
from msgspec import UNSET, Struct

from trunkline.kit.batch_body import explain_json
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.rest_access import error_answer, failure_answer, find_grant, find_server_problem
from trunkline.kit.rest_intake import RestIntake
from trunkline.kit.times import format_ms
from trunkline.kit.tracking_checks import (
    MESSAGE_ID_MAX,
    Problem,
    describe,
    problem,
    read_id,
)
from trunkline.model import refusal, refusal_push
from trunkline.model.event import Event, JsonObject, Source, lane_of
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot

EVENT = "Push Requested"
CHANNELS = ("SMS", "WEB_PUSH", "APP_PUSH", "EMAIL", "WEB_HOOK", "IN_APP", "ON_SITE")
SHOWN_BY_PUSH = ("WEB_PUSH", "APP_PUSH")  # what a push service shows; the `fcm` kit asks for it
RECIPIENTS_MAX = 1_000
MESSAGE_BYTES_MAX = 8_192  # stored with each recipient: 1,000 of them are 8 MB
TOKEN_CHARS_MAX = 4_096
BODY_BYTES_MAX = 512 * 1024

_RECIPIENT = "a customUserId, or an object with customUserId and token, each a string"

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(JsonObject).decode


class _Recipient(Struct, rename="camel", omit_defaults=True):
    """Who gets it: a user, and the device, where it was named."""

    custom_user_id: str
    token: str = ""


class PushProtocol(Protocol):
    """Messages to people. `dice` gives the ids of pushes that bring none."""

    name: ClassVar[str] = "push"
    routes: ClassVar[Sequence[Route]] = (Route("POST", "/push", BODY_BYTES_MAX, BODY_BYTES_MAX),)

    def __init__(self, dice: Random | None = None) -> None:
        self._dice = dice or SystemRandom()

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        grant = find_grant(request, snapshot)
        if isinstance(grant, Problem):
            return Decoded(error_answer(grant))  # nobody's: whoever sends these may be anybody
        intake = _Intake(self.name, request, snapshot, grant)
        return intake.take_all(str(uuid.UUID(int=self._dice.getrandbits(128), version=4)))

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure as all paths of the REST API do."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:  # noqa: ARG002
        """Shape a stored recipient into a canonical event. Pure in the record."""
        beside = _decode_object(record.envelope)
        recipient = _decode_object(record.body)
        channel, message = beside["channel"], beside["message"]
        properties: JsonObject = {"channel": channel, "message": message}
        if channel in SHOWN_BY_PUSH:
            properties["push"] = _shown(message)
        token = recipient.get("token")
        event = Event(
            message_id=record.message_id,
            type="track",
            event=EVENT,
            user_id=recipient["customUserId"],
            timestamp=format_ms(record.came_ms),
            received_at=format_ms(record.received_ms),
            properties=properties,
            context={"device": {"token": token}} if token else UNSET,
            app=record.app,
            source=Source(protocol=record.protocol, key=record.key),
        )
        return Normalised(event, wants_push_token=channel in SHOWN_BY_PUSH and not token)


class _Intake(RestIntake):
    """One request's recipients on their way in."""

    def take_all(self, thrown_id: str) -> Decoded:
        """Judge the request, then each recipient. `thrown_id` is its id where it brings none."""
        found = self._find_obstacle() or _read(self.request.body)
        if isinstance(found, Problem):
            return self.refuse(found)
        recipients, envelope = found
        self.posted_as = PostedAs(self.request, within="recipients", beside=envelope)
        given = self.request.headers.get("idempotency-key", "").strip()
        for index, recipient in enumerate(recipients):
            self._take(index, recipient, envelope, given or thrown_id)
        return self.answer()

    def _find_obstacle(self) -> Problem | None:
        if "push" not in self.snapshot.plan.features:
            return problem(refusal_push.PUSH_NOT_IN_PLAN)
        return find_server_problem(self.grant)

    def _take(self, index: int, value: Any, envelope: bytes, push_id: str) -> None:
        recipient = _read_recipient(index, value)
        if isinstance(recipient, Problem):
            self.reject(index, recipient, _encode(value))
            return
        request, grant = self.request, self.grant
        body = _encode(recipient)
        self.accepted.append(
            AcceptedEvent(
                grant.app.id,
                _message_id(grant.app.id, push_id, body),
                lane_of(recipient.custom_user_id, ""),
                self.protocol,
                "track",
                grant.key.name,
                False,
                self.snapshot.version,
                request.received_ms,
                request.address,
                self.user_agent,
                request.request_id,
                envelope,
                body,
            )
        )


def _message_id(app: str, push_id: str, recipient: bytes) -> str:
    """Return the id of one recipient's event: the same for the same push sent again."""
    return sha256(b"\0".join((app.encode(), push_id.encode(), recipient))).hexdigest()


def _read(body: bytes) -> tuple[list[Any], bytes] | Problem:
    """Return the recipients, and channel and message as the envelope that they share."""
    try:
        value, _ = read_json(body)
    except JsonError as error:
        return explain_json(error)
    if not isinstance(value, dict):
        return problem(refusal_push.PUSH_ENVELOPE, came=describe(value))
    push = cast("JsonObject", value)
    return _check_envelope(push) or (push["recipients"], _envelope_of(push))


def _envelope_of(push: JsonObject) -> bytes:
    return _encode({"channel": push["channel"], "message": push["message"]})


def _check_envelope(push: JsonObject) -> Problem | None:
    recipients, channel, message = (push.get(n) for n in ("recipients", "channel", "message"))
    if not isinstance(recipients, list) or not recipients:
        came = "an empty array" if recipients == [] else _came(recipients)
        return _wrong("recipients", came, f"an array of 1 to {RECIPIENTS_MAX:,} recipients")
    count = len(cast("list[Any]", recipients))
    if count > RECIPIENTS_MAX:
        row = refusal_push.PUSH_TOO_MANY
        return problem(row, count=str(count), limit=str(RECIPIENTS_MAX))
    if channel not in CHANNELS:
        return _wrong("channel", _came(channel), f"one of {', '.join(CHANNELS)}")
    if not isinstance(message, dict) or not message:
        came = "an empty object" if message == {} else _came(message)
        return _wrong("message", came, "an object that says what to show, such as title and body")
    size = len(_encode(cast("JsonObject", message)))
    if size > MESSAGE_BYTES_MAX:
        row, limit = refusal.TRACKING_TOO_LARGE, str(MESSAGE_BYTES_MAX)
        return problem(row, what="the message", size=str(size), limit=limit)
    return None


def _read_recipient(index: int, value: Any) -> _Recipient | Problem:
    field, token = f"recipients.{index}", ""
    if isinstance(value, dict):
        given = cast("JsonObject", value)
        value, came = given.get("customUserId"), given.get("token")
        if came is not None and not (isinstance(came, str) and len(came) <= TOKEN_CHARS_MAX):
            expected = f"the device's token, a string of at most {TOKEN_CHARS_MAX:,} characters"
            shown = f"{len(came)} characters long" if isinstance(came, str) else _came(came)
            return _wrong(f"{field}.token", shown, expected)
        field, token = f"{field}.customUserId", came or ""
    user = read_id(value)
    if not user:
        return _wrong(field, _came(value), _RECIPIENT)
    if len(user) > MESSAGE_ID_MAX:
        expected = f"an id of at most {MESSAGE_ID_MAX} characters"
        return _wrong(field, f"{len(user)} characters long", expected)
    return _Recipient(user, token)


def _came(value: Any) -> str:
    return "missing" if value is None else describe(value)


def _wrong(field: str, came: str, expected: str) -> Problem:
    return problem(refusal_push.PUSH_FIELD, field=field, came=came, expected=expected)


def _shown(message: JsonObject) -> JsonObject:
    """Return a message in the words that push services are told it in.

    Its own words are kept beside them, in `message`; `url` is where it leads.
    """
    push: JsonObject = {n: message[n] for n in ("title", "body", "data") if n in message}
    images = message.get("images")
    first: Any = cast("list[Any]", images)[0] if isinstance(images, list) and images else None
    image = cast("JsonObject", first).get("url") if isinstance(first, dict) else None
    for name, value in (("image", image), ("link", message.get("url"))):
        if isinstance(value, str) and value:
            push[name] = value
    return push
