"""The REST API: `POST /` and `POST /v1/messages`, events and profiles of one user a request.

Back ends send with a Server key; browsers and apps with a Client key, which may send less. The
vendor's own web SDK is a client too: it never reads a body, sends its whole list again until it
sees a 2xx, and gives many messages one id. So the answer is 200 for every request that names a
user, and the messages that were not taken stand in it with their reasons.

One request: find its key → cut it open → who is the user → judge each message by itself → one
answer. The checks are in `kit/rest_checks.py`, the canonical form in `kit/rest_shape.py`.
Measured (289 B a message, CPU time, Python 3.11): `decode` 6.4 µs a message of a request of 100,
21 µs a request of one; `normalise` 12 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import msgspec
from msgspec import Raw

from trunkline.kit.batch_body import Unreadable, read_event
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.rest_access import error_answer, failure_answer, find_grant
from trunkline.kit.rest_batch import Parts, Sender, cut_request, read_sender
from trunkline.kit.rest_checks import Checked, check_message, content_id
from trunkline.kit.rest_intake import RestIntake
from trunkline.kit.rest_shape import shape_message
from trunkline.kit.tracking_checks import (
    EVENT_BYTES_MAX,
    EVENTS_MAX,
    MESSAGE_ID_MAX,
    Problem,
    describe,
    problem,
    read_id,
)
from trunkline.model import refusal_rest
from trunkline.model.event import JsonObject, lane_of
from trunkline.model.record import AcceptedEvent, note_given_id
from trunkline.model.snapshot import App, Snapshot

WIRE_BYTES_MAX = 512 * 1024
INFLATED_BYTES_MAX = 4 * 1024 * 1024
IDENTITY_BYTES_MAX = 65_536
SDK_ID_MAX = 100  # characters

_IDENTITY_PATH = "/identity"

_encode = msgspec.json.Encoder().encode


class RestProtocol(Protocol):
    """The REST API."""

    name: ClassVar[str] = "rest"
    routes: ClassVar[Sequence[Route]] = (
        Route("POST", "/", WIRE_BYTES_MAX, INFLATED_BYTES_MAX),
        Route("POST", "/v1/messages", WIRE_BYTES_MAX, INFLATED_BYTES_MAX),
        Route("POST", _IDENTITY_PATH, IDENTITY_BYTES_MAX, IDENTITY_BYTES_MAX),
    )

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        if request.route.path == _IDENTITY_PATH:
            return Decoded(_tell_identity(request.body))
        grant = find_grant(request, snapshot)
        if isinstance(grant, Problem):
            return Decoded(error_answer(grant))  # nobody's: whoever sends these may be anybody
        return _Intake(self.name, request, snapshot, grant).take_all()

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure with every field that some client parses."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored message into a canonical event. Pure in record and app."""
        return shape_message(record, app)


class _Intake(RestIntake):
    """One request's messages on their way in."""

    def take_all(self) -> Decoded:
        """Judge the request, then each of its messages."""
        parts = cut_request(self.request.body)
        count = 1 if isinstance(parts, Problem) else max(1, len(parts.messages))
        obstacle = self._find_obstacle()
        if obstacle is not None:
            return self.refuse(obstacle, count)
        if isinstance(parts, Problem):
            return self.refuse(parts, count)
        sender = self._read_sender(parts)
        if isinstance(sender, Problem):
            return self.refuse(sender, count)
        self.posted_as = PostedAs(self.request, within="messages", beside=_encode(parts.beside))
        for index, raw in enumerate(parts.messages):
            self._take(index, raw, sender)
        return self.answer()

    def _find_obstacle(self) -> Problem | None:
        if "rest" not in self.snapshot.plan.features:
            return problem(refusal_rest.REST_NOT_IN_PLAN)
        return self.grant.problem

    def _read_sender(self, parts: Parts) -> Sender | Problem:
        count = len(parts.messages)
        if count > EVENTS_MAX:
            row = refusal_rest.REST_TOO_MANY
            return problem(row, count=str(count), limit=str(EVENTS_MAX))
        return read_sender(parts, self.request.headers)

    def _take(self, index: int, raw: Raw, sender: Sender) -> None:
        """Judge one message and keep it, as accepted or as refused."""
        data = bytes(raw)
        item = read_event(data)
        if isinstance(item, Unreadable):
            self.reject(index, item.problem, data[:EVENT_BYTES_MAX], _given_id(item.event))
            return
        message, body = item
        checked = check_message(message, self.grant.app, self.grant.key)
        if isinstance(checked, Problem):
            self.reject(index, checked, data, _given_id(message))
            return
        self._accept(checked, sender, message, body)

    def _accept(self, checked: Checked, sender: Sender, message: JsonObject, body: bytes) -> None:
        request, grant = self.request, self.grant
        self.accepted.append(
            AcceptedEvent(
                grant.app.id,
                content_id(grant.app.id, sender.user_id, message),
                lane_of(sender.user_id, sender.anonymous_id),
                self.protocol,
                checked.type,
                grant.key.name,
                grant.key.type == "client",
                self.snapshot.version,
                request.received_ms,
                request.address,
                self.user_agent,
                request.request_id,
                sender.envelope,
                body,
                (note_given_id(checked.given_id),),
            )
        )


def _given_id(message: JsonObject) -> str:
    return (read_id(message.get("id")) or "")[:MESSAGE_ID_MAX]


def _tell_identity(body: bytes) -> Answer:
    """Answer which user an SDK's own id stands for: that id, so that nothing has to be kept.

    The SDK sends it as `customUserId` until its user signs in; a back end that is told this id and
    sends it over S2S speaks of the same user.
    """
    try:
        value, _ = read_json(body)
    except JsonError as error:
        return _explain_identity(f"in a body that cannot be read: {error}")
    if not isinstance(value, dict):
        return _explain_identity(f"not in {describe(value)}")
    sdk_id = cast("JsonObject", value).get("sdkId")
    if not isinstance(sdk_id, str) or not 0 < len(sdk_id) <= SDK_ID_MAX:
        return _explain_identity("missing" if sdk_id is None else describe(sdk_id))
    return Answer(200, _encode({"metrixUserId": sdk_id}))


def _explain_identity(came: str) -> Answer:
    row = refusal_rest.REST_IDENTITY
    return error_answer(problem(row, came=came, limit=str(SDK_ID_MAX)))
