"""The tracking API: what server SDKs and first-party Analytics.js speak.

Unmodified libraries work, and none of them loses or duplicates an event because of what we answer.
From that follows nearly everything here: exactly 200 with a JSON body for whatever was stored,
since some resend for ever on 202, 207 or an empty body; one bad event never costs a batch; errors
that carry every field some library reads; 401 and 403 only where nothing but a person can help.

One request: find its key → cut the batch open → judge each event by itself → one answer. The
checks are in `kit/tracking_checks.py`, the canonical form in `kit/tracking_shape.py`.
"""

from __future__ import annotations

import binascii
import http
import random
import re
import uuid
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import msgspec
from msgspec import Raw, Struct

from trunkline.kit.batch_body import Unreadable, hide_write_key, read_batch, read_event
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.redact import redact
from trunkline.kit.tracking_checks import (
    EVENT_BYTES_MAX,
    EVENTS_MAX,
    MESSAGE_ID_MAX,
    Checked,
    Problem,
    check_event,
    check_plan,
    notes_of,
    problem,
    read_id,
)
from trunkline.kit.tracking_shape import shape_event
from trunkline.kit.write_keys import Grant, Keyring, read_query
from trunkline.model import refusal
from trunkline.model.event import EVENT_TYPES, EventType, JsonObject, lane_of
from trunkline.model.record import AcceptedEvent, AcceptedRefusal
from trunkline.model.snapshot import App, Snapshot
from trunkline.telemetry.tracking import client_metrics_dropped

WIRE_BYTES_MAX = 512 * 1024
INFLATED_BYTES_MAX = 4 * 1024 * 1024
SHIFT_HOURS_MAX_WITHOUT_APP = 24.0
USER_AGENT_MAX = 512  # characters

_GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1×1, transparent
_PIXEL_PREFIX = "/v1/pixel/"
_PATH_TYPES: dict[str, EventType] = {
    f"/v1/{name}": kind for kind in EVENT_TYPES for name in (kind, kind[0])
}
_BATCH_PATHS = ("/v1/batch", "/v1/b", "/v1/import", "/batch", "/b", "/import")
_SETTINGS_PATHS = ("/v1/projects/{writeKey}/settings", "/projects/{writeKey}/settings")
_HOST = re.compile(
    r"[A-Za-z0-9._\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)
_STATUSES = frozenset(http.HTTPStatus)
_BOOLEANS = {"true": True, "false": False}
_WITH_BOOLEANS = (["context"], ["integrations"])
_DOTS_MAX = 15  # deeper names keep their dots
_SHOWN_MAX = 100  # refused events of one request whose bodies are kept; the rest are counted only
_SHOWN_BYTES_MAX = 8192  # of a refused body that is larger than any event

_encode = msgspec.json.Encoder().encode
_GOOD = Answer(200, b'{"success":true}')
_PIXEL = Answer(200, _GIF, "image/gif", (("Cache-Control", "no-store"),))


class _Series(Struct):
    series: list[Raw] = []


_decode_series = msgspec.json.Decoder(_Series).decode


class Rejected(Struct, rename="camel"):
    """What the answer to a batch says of an event that was refused."""

    index: int
    message_id: str
    code: str
    message: str


class TrackingProtocol(Protocol):
    """The tracking API. `dice` gives the message ids that senders leave out."""

    name: ClassVar[str] = "tracking"
    routes: ClassVar[Sequence[Route]] = (
        *(Route("POST", p, WIRE_BYTES_MAX, INFLATED_BYTES_MAX) for p in _PATH_TYPES),
        *(Route("POST", p, WIRE_BYTES_MAX, INFLATED_BYTES_MAX) for p in _BATCH_PATHS),
        Route("POST", "/v1/m", WIRE_BYTES_MAX, INFLATED_BYTES_MAX),
        Route("GET", _PIXEL_PREFIX + "{type}", 0, 0),
        *(Route("GET", p, 0, 0) for p in _SETTINGS_PATHS),
    )

    def __init__(self, dice: random.Random | None = None) -> None:
        # The system's dice: a seeded generator, forked into two gateways, would give two events
        # one id, and the pipeline would take the second one for a duplicate.
        self._dice = dice or random.SystemRandom()
        self._handlers: dict[str, Callable[[Request, Snapshot], Decoded]] = {
            **dict.fromkeys(_PATH_TYPES, self._take_single),
            **dict.fromkeys(_BATCH_PATHS, self._take_batch),
            **dict.fromkeys(_SETTINGS_PATHS, _tell_settings),
            "/v1/m": _drop_metrics,
            _PIXEL_PREFIX + "{type}": self._take_pixel,
        }

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        return self._handlers[request.route.path](request, snapshot)

    def failure(self, request_path: str, failure: Failure) -> Answer:
        """Say a failure with every field that some client parses; a pixel gets its image."""
        if request_path.startswith(_PIXEL_PREFIX) and failure.code != "method_not_allowed":
            return _PIXEL
        seconds = failure.retry_after_seconds
        headers = () if seconds is None else (("Retry-After", str(int(seconds))),)
        body = _error_body(failure.status, failure.code, failure.sentence, "")
        return Answer(failure.status, body, headers=headers)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. Pure in record and app."""
        hours = SHIFT_HOURS_MAX_WITHOUT_APP if app is None else app.clock_shift_hours_max
        return shape_event(record, hours)

    def _take_single(self, request: Request, snapshot: Snapshot) -> Decoded:
        intake = _Intake(request, snapshot, self._dice)
        intake.open("")
        intake.take(0, request.body, _PATH_TYPES[request.route.path])
        return intake.close_single()

    def _take_batch(self, request: Request, snapshot: Snapshot) -> Decoded:
        intake = _Intake(request, snapshot, self._dice)
        batch = read_batch(request.body)
        if isinstance(batch, Problem):
            intake.open("")
            return intake.refuse_request(batch, 1)
        intake.open(batch.write_key)
        count = len(batch.events)
        if count > EVENTS_MAX:
            too_many = problem(refusal.TRACKING_TOO_MANY, count=str(count), limit=str(EVENTS_MAX))
            return intake.refuse_request(too_many, count)
        if intake.blocked is not None:
            return intake.refuse_request(intake.blocked, count)
        intake.envelope, intake.notes = batch.envelope, batch.notes
        # Measured for events of 658 bytes, best of many on two shared cores: 6.7 µs an event in a
        # batch of 100, of which the bare decode takes 1.7 and the guard of the depth 0.6; a single
        # call takes 9.5 µs in all.
        for index, raw in enumerate(batch.events):
            intake.take(index, bytes(raw), "")
        return intake.close_batch()

    def _take_pixel(self, request: Request, snapshot: Snapshot) -> Decoded:
        intake = _Intake(request, snapshot, self._dice)
        intake.open("")
        intake.take(0, _read_pixel(request.query), request.params["type"])
        decoded = intake.close_single()
        return msgspec.structs.replace(decoded, answer=_PIXEL)


class _Intake:
    """One request's events on their way in: what was taken, what was refused, and the answer."""

    def __init__(self, request: Request, snapshot: Snapshot, dice: random.Random) -> None:
        self.envelope = b""
        self.notes: tuple[str, ...] = ()
        self._request = request
        self._snapshot = snapshot
        self._dice = dice
        self._keys = Keyring(request, snapshot)
        self._grant: Grant | None = None
        self._has_own_key = False
        self._accepted: list[AcceptedEvent] = []
        self._refused: list[AcceptedRefusal] = []
        self._problems: list[tuple[str, Problem]] = []  # message id and problem, each refused event
        self._indexes: list[int] = []  # where in the batch each of them stood
        self._user_agent = request.headers.get("user-agent", "")[:USER_AGENT_MAX]

    def open(self, write_key: str) -> None:
        """Find the key of the whole request: in its headers, or beside the batch."""
        self._grant = self._keys.find_in_headers() or self._keys.find(write_key)
        self._has_own_key = self._keys.has_seen_key

    def take(self, index: int, data: bytes, path_type: str) -> None:
        """Judge one event and keep it, as accepted or as refused."""
        item = read_event(data)
        if isinstance(item, Unreadable):
            grant = self._grant or self._find_own_key(item.event)
            self._refuse(index, item.problem, grant, data[:EVENT_BYTES_MAX], item.event)
            return
        event, body = item
        grant = self._grant or self._find_own_key(event)
        if grant is None:
            self._refuse(index, self._find_key_problem(event), None, data, event)
            return
        checked = _judge(event, path_type, grant)
        if isinstance(checked, Problem):
            self._refuse(index, checked, grant, data, event)
            return
        if "writeKey" in event:
            body = hide_write_key(event, body)
        self._accept(checked, grant, event, body)

    def close_single(self) -> Decoded:
        """Answer a request that holds one event."""
        answer = _error_answer(self._problems[0][1]) if self._problems else _GOOD
        return Decoded(answer, self._accepted, self._refused)

    def close_batch(self) -> Decoded:
        """Answer a batch: 200, unless it has no key that may be used here."""
        if self._accepted or self._has_usable_key():
            return Decoded(self._answer_batch(), self._accepted, self._refused)
        found = self._keys.first_problem or _explain_key(self._keys.has_seen_key)
        return Decoded(_error_answer(found), (), self._refused)

    def refuse_request(self, found: Problem, events: int) -> Decoded:
        """Refuse all of a request; its owner sees it once, counted as its events."""
        grant = self._grant or self._keys.find_in_query()
        if grant is None:
            return Decoded(_error_answer(found))
        body = self._request.body
        data = body if len(body) <= EVENT_BYTES_MAX else body[:_SHOWN_BYTES_MAX]
        return Decoded(_error_answer(found), (), (self._tell(found, grant, data, "", events),))

    @property
    def blocked(self) -> Problem | None:
        """Why the key of the whole request may not be used from here."""
        return None if self._grant is None else self._grant.problem

    def _has_usable_key(self) -> bool:
        self._keys.find_in_query()  # an empty batch has not looked there
        return self._keys.has_usable

    def _find_own_key(self, event: JsonObject) -> Grant | None:
        own = event.get("writeKey")
        found = self._keys.find(own) if isinstance(own, str) else None
        return found or self._keys.find_in_query()

    def _accept(self, checked: Checked, grant: Grant, event: JsonObject, body: bytes) -> None:
        request, app = self._request, grant.app
        notes = self.notes
        if app.unknown_events == "flag" and checked.type == "track":
            notes += notes_of(event, app)
        self._accepted.append(
            AcceptedEvent(
                app.id,
                checked.message_id or self._throw_id(),
                lane_of(checked.user_id, checked.anonymous_id),
                TrackingProtocol.name,
                checked.type,
                grant.key.name,
                grant.key.type == "client",
                self._snapshot.version,
                request.received_ms,
                request.address,
                self._user_agent,
                request.request_id,
                self.envelope,
                body,
                notes,
            )
        )

    def _throw_id(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def _refuse(
        self, index: int, found: Problem, grant: Grant | None, data: bytes, event: JsonObject
    ) -> None:
        message_id = _peek_message_id(event)
        self._indexes.append(index)
        self._problems.append((message_id, found))
        if grant is not None:
            shown = data if len(self._refused) < _SHOWN_MAX else b""
            self._refused.append(self._tell(found, grant, shown, message_id, 1))

    def _tell(
        self, found: Problem, grant: Grant, data: bytes, message_id: str, count: int
    ) -> AcceptedRefusal:
        return AcceptedRefusal(
            app=grant.app.id,
            protocol=TrackingProtocol.name,
            key=grant.key.name,
            snapshot=self._snapshot.version,
            received_ms=self._request.received_ms,
            address=self._request.address,
            request_id=self._request.request_id,
            code=found.code,
            message=found.message,
            message_id=message_id,
            body=redact(data) if data else b"",
            count=count,
        )

    def _find_key_problem(self, event: JsonObject) -> Problem:
        has_key = self._has_own_key or "writeKey" in event or "writeKey" in self._request.query
        return _explain_key(has_key)

    def _answer_batch(self) -> Answer:
        if not self._problems:
            return _GOOD
        rejected = [
            Rejected(index, message_id, found.code, found.message)
            for index, (message_id, found) in zip(self._indexes, self._problems, strict=True)
        ]
        # Only on request: some libraries resend a batch for ever on anything but exactly 200.
        asked = "multi-status" in self._request.headers.get("prefer", "").lower()
        return Answer(207 if asked else 200, _encode({"success": True, "rejected": rejected}))


def _explain_key(has_key: bool) -> Problem:
    return problem(refusal.TRACKING_KEY if has_key else refusal.TRACKING_NO_KEY)


def _judge(event: JsonObject, path_type: str, grant: Grant) -> Checked | Problem:
    if grant.problem is not None:
        return grant.problem
    checked = check_event(event, path_type)
    if isinstance(checked, Checked) and checked.type == "track":
        return check_plan(event, grant.app, grant.key) or checked
    return checked


def _peek_message_id(event: JsonObject) -> str:
    return (read_id(event.get("messageId")) or "")[:MESSAGE_ID_MAX]


def _error_answer(found: Problem) -> Answer:
    return Answer(found.status, _error_body(found.status, found.code, found.message, found.hint))


def _error_body(status: int, code: str, message: str, details: str) -> bytes:
    """Write the fields of every shape that some client reads: one without `code` resends."""
    return _encode(
        {
            "success": False,
            "code": code,
            "message": message,
            "error": {"code": code, "message": message},
            "Error": _phrase(status),
            "Message": message,
            "Details": details,
        }
    )


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in _STATUSES else "Error"


def _drop_metrics(request: Request, snapshot: Snapshot) -> Decoded:
    del snapshot  # what a library measures of itself belongs to no app
    try:
        client_metrics_dropped(len(_decode_series(request.body).series))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        client_metrics_dropped(1)
    return Decoded(_GOOD)


def _tell_settings(request: Request, snapshot: Snapshot) -> Decoded:
    keys = Keyring(request, snapshot)
    write_key = request.params["writeKey"]
    grant = keys.find(write_key)
    if grant is None:
        return Decoded(_error_answer(problem(refusal.TRACKING_KEY)))
    if grant.problem is not None:
        return Decoded(_error_answer(grant.problem))
    return Decoded(Answer(200, _encode(_settings_of(write_key, request.headers.get("host", "")))))


def _settings_of(write_key: str, host: str) -> JsonObject:
    """Return the document that browser and mobile libraries start from.

    A second name in `integrations` makes the browser's library fetch code from elsewhere; without
    `metrics` it posts measurements of itself.
    """
    told = host if _HOST.fullmatch(host) else "localhost"
    service: JsonObject = {
        "apiKey": write_key,
        "apiHost": f"{told}/v1",
        "unbundledIntegrations": [],
        "addBundledMetadata": True,
        "maybeBundledConfigIds": {},
    }
    return {
        "integrations": {"Segment.io": service},
        "plan": {"track": {"__default": {"enabled": True}}},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
        "enabledMiddleware": {},
    }


def _read_pixel(query: str) -> bytes:
    """Return the event of a pixel's query: base64url JSON in `data`, or fields with dots."""
    fields = read_query(query)
    data = fields.get("data")
    if data is None:
        return _encode(_nest(fields))
    text = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return data.encode("utf-8", "replace")  # no JSON: refused as what it is


def _nest(fields: Mapping[str, str]) -> JsonObject:
    """Return `properties.color=red` as an object in an object. Where two clash the first stays."""
    event: JsonObject = {}
    for name, text in fields.items():
        *path, last = name.split(".", _DOTS_MAX)
        place = _enter(event, path)
        if place is not None and last not in place:
            # In a query everything is text; "false" must not count as a yes to a destination.
            place[last] = _BOOLEANS.get(text, text) if path[:1] in _WITH_BOOLEANS else text
    return event


def _enter(event: JsonObject, path: Sequence[str]) -> JsonObject | None:
    place = event
    for name in path:
        below: Any = place.setdefault(name, {})
        if not isinstance(below, dict):
            return None
        place = cast("JsonObject", below)
    return place
