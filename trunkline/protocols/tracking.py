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
import random
import re
import uuid
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, cast

import msgspec
from msgspec import Raw, Struct

from trunkline.kit.batch_body import hide_write_key, read_batch, read_event
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
    describe,
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
_HOST = re.compile(r"[A-Za-z0-9._\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_BOOLEANS = {"true": True, "false": False}

_encode = msgspec.json.Encoder().encode
_GOOD = Answer(200, b'{"success":true}')
_PIXEL = Answer(200, _GIF, "image/gif", (("Cache-Control", "no-store"),))


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
        intake.take(request.body, _PATH_TYPES[request.route.path])
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
        intake.envelope, intake.notes = batch.envelope, batch.notes
        return intake.take_batch(batch.events)

    def _take_pixel(self, request: Request, snapshot: Snapshot) -> Decoded:
        intake = _Intake(request, snapshot, self._dice)
        intake.open("")
        intake.take(_read_pixel(request.query), request.params["type"])
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
        self._has_known_key = False
        self._has_usable_key = False
        self._problems: list[Problem] = []
        self._accepted: list[AcceptedEvent] = []
        self._refused: list[AcceptedRefusal] = []
        self._rejected: list[Rejected] = []
        self._user_agent = request.headers.get("user-agent", "")[:USER_AGENT_MAX]

    def open(self, write_key: str) -> None:
        """Find the key of the whole request: in its headers, or beside the batch."""
        self._grant = self._keys.find_in_headers() or self._keys.find(write_key)
        self._note_key(self._grant)

    def take_batch(self, events: list[Raw]) -> Decoded:
        """Take every event of a batch, and answer."""
        if not events and self._grant is None:
            self._note_key(self._keys.find_in_query())
        if self._grant is not None and self._grant.problem is not None:
            return self.refuse_request(self._grant.problem, max(1, len(events)))
        # Measured in a batch of 100 events of 712 bytes: see the end of this file.
        for raw in events:
            self.take(bytes(raw), "")
        return self._close_batch(len(events))

    def take(self, data: bytes, path_type: str) -> None:
        """Judge one event and keep it, as accepted or as refused."""
        item = read_event(data)
        if isinstance(item, Problem):
            self._refuse(item, self._grant or self._find_query_key(), data, "")
            return
        event, body = item
        grant = self._grant or self._find_own_key(event)
        found = self._judge(event, len(data), path_type, grant)
        if isinstance(found, Problem) or grant is None:
            self._refuse(cast("Problem", found), grant, data, _peek_message_id(event))
            return
        self._accept(found, grant, event, hide_write_key(event, body))

    def _judge(
        self, event: JsonObject, size: int, path_type: str, grant: Grant | None
    ) -> Checked | Problem:
        if grant is None:
            return problem(_key_row(self._keys))
        if grant.problem is not None:
            return grant.problem
        if size > EVENT_BYTES_MAX:
            return _too_large(size)
        checked = check_event(event, path_type)
        if type(checked) is Checked and checked.type == "track":
            return check_plan(event, grant.app, grant.key) or checked
        return checked
