"""`POST /v1/custom/event`: any JSON becomes a track event by the metadata that come with it.

For systems that cannot be taught another body than their own: a shop's webhook, a form, a device.
One request is one event. Keys, checks, limits and answers are those of the tracking API; where the
metadata stand and what they say is in `kit/custom_shape.py`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import msgspec
from msgspec import Struct

from trunkline.kit.batch_body import explain_json
from trunkline.kit.custom_shape import (
    METADATA_HEADER,
    build_event,
    check_metadata,
    hide_keys,
    merge_metadata,
    read_field,
    read_header,
    shape_custom,
)
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.posting import PostedAs
from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX, Problem, problem
from trunkline.kit.tracking_intake import (
    INFLATED_BYTES_MAX,
    WIRE_BYTES_MAX,
    Intake,
    Speaker,
    error_answer,
    failure_answer,
)
from trunkline.kit.write_keys import read_query
from trunkline.model import refusal
from trunkline.model.event import JsonObject
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot

_PATH = "/v1/custom/event"

_encode = msgspec.json.Encoder().encode


class _Read(Struct):
    """A body and what stood beside it. `fault` is the first thing that was wrong with them."""

    value: Any
    kept: bytes
    places: list[JsonObject]
    fault: Problem | None


class CustomEventProtocol(Protocol):
    """Events of any JSON. `dice` gives the ids that senders leave out."""

    name: ClassVar[str] = "custom_event"
    routes: ClassVar[Sequence[Route]] = (Route("POST", _PATH, WIRE_BYTES_MAX, INFLATED_BYTES_MAX),)

    def __init__(self, dice: random.Random | None = None) -> None:
        self._speaker = Speaker(self.name, dice or random.SystemRandom())

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        query = read_query(request.query)
        read = _read(request, query)
        intake = Intake(request, snapshot, self._speaker)
        intake.open(*_write_keys(read, query))
        if read.fault is not None and not intake.has_seen_key:
            return Decoded(error_answer(read.fault))  # where the key may stand cannot be read
        metadata = merge_metadata(*read.places)
        fault = read.fault or check_metadata(metadata)
        intake.envelope = _encode(metadata)
        header = {METADATA_HEADER.lower(): intake.envelope.decode()}
        intake.posted = PostedAs(request, headers=header)
        intake.judge(0, build_event(metadata, read.value), read.kept, "track", fault)
        return intake.close_single()

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure with every field that some client parses."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. Pure in record and app."""
        return shape_custom(record, app)


def _read(request: Request, query: Mapping[str, str]) -> _Read:
    """Read the body, and the metadata of all three places, the body's first."""
    value, kept, fault = _read_body(request.body)
    places: list[JsonObject] = []
    for found in (read_field(value), read_header(request.headers.get(METADATA_HEADER.lower(), ""))):
        if isinstance(found, Problem):
            fault = fault or found
        else:
            places.append(found)
    return _Read(value, kept, [*places, dict(query)], fault)


def _read_body(body: bytes) -> tuple[Any, bytes, Problem | None]:
    if len(body) > EVENT_BYTES_MAX:
        size, limit = str(len(body)), str(EVENT_BYTES_MAX)
        row = refusal.TRACKING_TOO_LARGE
        too_large = problem(row, what="the event", size=size, limit=limit)
        return {}, body[:EVENT_BYTES_MAX], too_large
    try:
        value, clean = read_json(body)
    except JsonError as error:
        found = explain_json(error)
        return ({} if error.value is None else error.value), body, found
    return value, hide_keys(value, clean), None


def _write_keys(read: _Read, query: Mapping[str, str]) -> list[str]:
    """Return the texts that may be the write key, the one that counts first at the front."""
    beside = cast("JsonObject", read.value).get("writeKey") if isinstance(read.value, dict) else ""
    given = [beside, query.get("writeKey"), *(place.get("writeKey") for place in read.places)]
    return [text for text in given if isinstance(text, str)]
