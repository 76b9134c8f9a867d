"""The tracking API: what server SDKs and first-party Analytics.js speak.

Unmodified libraries work, and none of them loses or duplicates an event because of what we answer.
From that follows nearly everything here: exactly 200 with a JSON body for whatever was stored,
since some resend for ever on 202, 207 or an empty body; one bad event never costs a batch; errors
that carry every field some library reads; 401 and 403 only where nothing but a person can help.

One request: find its key → cut the batch open → judge each event by itself → one answer. These
steps are in `kit/tracking_intake.py`, the checks in `kit/tracking_checks.py`, the canonical form in
`kit/tracking_shape.py`; here are the paths, the pixel, and what libraries ask before they start.
"""

from __future__ import annotations

import binascii
import random
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import msgspec
from msgspec import Raw, Struct

from trunkline.kit.page_script import page_settings
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.tracking_checks import Problem, problem
from trunkline.kit.tracking_intake import (
    GOOD,
    INFLATED_BYTES_MAX,
    WIRE_BYTES_MAX,
    Intake,
    Speaker,
    error_answer,
    failure_answer,
    shape_record,
    take_batch,
    take_single,
)
from trunkline.kit.write_keys import Grant, Keyring, read_query
from trunkline.model import refusal
from trunkline.model.event import EVENT_TYPES, EventType, JsonObject
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot
from trunkline.telemetry.tracking import client_metrics_dropped

_GIF = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # 1×1, transparent
_PIXEL_PREFIX = "/v1/pixel/"
_PATH_TYPES: dict[str, EventType] = {
    f"/v1/{name}": kind for kind in EVENT_TYPES for name in (kind, kind[0])
}
_BEACON_PATH = (
    "/beacon/v1/batch"  # RudderStack's, for pages that are closing; the key is in its query
)
# Ways in that say nothing of what they are for, which pages use where a blocker stops the others.
_SHORT_PATH = "/s/e"  # one event, of the type that it names
_SHORT_BATCH_PATH = "/s/b"
_BATCH_PATHS = (
    *("/v1/batch", "/v1/b", "/v1/import", "/batch", "/b", "/import"),
    *(_BEACON_PATH, _SHORT_BATCH_PATH),
)
_SOURCE_PATH = "/sourceConfig"
_SETTINGS_PATHS = ("/v1/projects/{writeKey}/settings", "/projects/{writeKey}/settings")
_HOST = re.compile(
    r"[A-Za-z0-9._\-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)
_BOOLEANS = {"true": True, "false": False}
_WITH_BOOLEANS = (["context"], ["integrations"])
_DOTS_MAX = 15  # deeper names keep their dots

_encode = msgspec.json.Encoder().encode
_NO_KEY = problem(refusal.TRACKING_NO_KEY)
_SETTINGS_CACHING = (("Cache-Control", "public, max-age=60"),)
_PIXEL = Answer(200, _GIF, "image/gif", (("Cache-Control", "no-store"),))


class _Series(Struct):
    series: list[Raw] = []


_decode_series = msgspec.json.Decoder(_Series).decode


class TrackingProtocol(Protocol):
    """The tracking API. `dice` gives the message ids that senders leave out."""

    name: ClassVar[str] = "tracking"
    routes: ClassVar[Sequence[Route]] = (
        *(Route("POST", p, WIRE_BYTES_MAX, INFLATED_BYTES_MAX) for p in _PATH_TYPES),
        *(Route("POST", p, WIRE_BYTES_MAX, INFLATED_BYTES_MAX) for p in _BATCH_PATHS),
        Route("POST", _SHORT_PATH, WIRE_BYTES_MAX, INFLATED_BYTES_MAX),
        Route("POST", "/v1/m", WIRE_BYTES_MAX, INFLATED_BYTES_MAX),
        Route("GET", _PIXEL_PREFIX + "{type}", 0, 0),
        *(Route("GET", p, 0, 0) for p in _SETTINGS_PATHS),
        Route("GET", _SOURCE_PATH, 0, 0),
    )

    def __init__(self, dice: random.Random | None = None) -> None:
        # The system's dice: a seeded generator, forked into two gateways, would give two events
        # one id, and the pipeline would take the second one for a duplicate.
        self._speaker = Speaker(self.name, dice or random.SystemRandom())
        self._handlers: dict[str, Callable[[Request, Snapshot], Decoded]] = {
            **dict.fromkeys((*_PATH_TYPES, _SHORT_PATH), self._take_single),
            **dict.fromkeys(_BATCH_PATHS, self._take_batch),
            **dict.fromkeys(_SETTINGS_PATHS, _tell_settings),
            _SOURCE_PATH: _tell_source,
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
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. Pure in record and app."""
        return shape_record(record, app)

    def _take_single(self, request: Request, snapshot: Snapshot) -> Decoded:
        return take_single(
            request, snapshot, self._speaker, _PATH_TYPES.get(request.route.path, "")
        )

    def _take_batch(self, request: Request, snapshot: Snapshot) -> Decoded:
        return take_batch(request, snapshot, self._speaker)

    def _take_pixel(self, request: Request, snapshot: Snapshot) -> Decoded:
        kind = request.params["type"]
        intake = Intake(request, snapshot, self._speaker)
        intake.posted = PostedAs(request, path=f"/v1/{kind}")
        intake.open()
        intake.take(0, _read_pixel(request.query), kind)
        decoded = intake.close_single()
        return msgspec.structs.replace(decoded, answer=_PIXEL)


def _drop_metrics(request: Request, snapshot: Snapshot) -> Decoded:
    del snapshot  # what a library measures of itself belongs to no app
    try:
        client_metrics_dropped(len(_decode_series(request.body).series))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        client_metrics_dropped(1)
    return Decoded(GOOD)


def _tell_settings(request: Request, snapshot: Snapshot) -> Decoded:
    write_key = request.params["writeKey"]
    keys = Keyring(request, snapshot)
    found = _judge_asking(keys.find(write_key))
    if isinstance(found, Problem):
        return _end_asking(error_answer(found), keys)
    settings = _settings_of(write_key, request.headers.get("host", ""))
    return _end_asking(Answer(200, _encode(settings), headers=_SETTINGS_CACHING), keys)


def _tell_source(request: Request, snapshot: Snapshot) -> Decoded:
    keys = Keyring(request, snapshot)
    found = _judge_asking(keys.find_in_headers() or keys.find_in_query())
    if isinstance(found, Problem):
        return _end_asking(error_answer(found if keys.has_seen_key else _NO_KEY), keys)
    return _end_asking(Answer(200, _encode(_source_of(found.app))), keys)


def _end_asking(answer: Answer, keys: Keyring) -> Decoded:
    return Decoded(answer, used=keys.used, leaked=keys.leaked)


def _judge_asking(grant: Grant | None) -> Grant | Problem:
    if grant is None:
        return problem(refusal.TRACKING_KEY)
    return grant.problem or grant


def _source_of(app: App) -> JsonObject:
    """Return the document that RudderStack's browser library starts from.

    It holds no destination, so that the library loads no vendor's script; all goes through here.
    """
    off = {"enabled": False}
    source: JsonObject = {
        "id": app.id,
        "name": app.name,
        "enabled": True,
        "workspaceId": app.id,
        "config": {"statsCollection": {"errors": off, "metrics": off}},
        "destinations": [],
    }
    return {"source": source}


def _settings_of(write_key: str, host: str) -> JsonObject:
    """Return the document that browser and mobile libraries start from."""
    told = host if _HOST.fullmatch(host) else "localhost"
    return page_settings(write_key, told)


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
