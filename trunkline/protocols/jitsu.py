"""Jitsu's paths: `/api/s/{type}` for one event, `/api/s/s2s/…` for back ends, batches too.

The events are those of the tracking API, and so are keys, checks and the canonical form: what was
sent to Jitsu's own server can be sent here as it is. Only the paths differ, where a page's name
stands, and the words of a yes: Jitsu's clients look for `ok`, and in a batch for the counts and a
sentence for each refused event.
What a key may do is told by its type, not by the path that it came to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from msgspec import UNSET, UnsetType

from trunkline.kit.protocol import Answer, Decoded, Failure, Normalised, Protocol, Request, Route
from trunkline.kit.tracking_intake import (
    INFLATED_BYTES_MAX,
    WIRE_BYTES_MAX,
    Rejected,
    Speaker,
    failure_answer,
    shape_record,
    take_batch,
    take_single,
)
from trunkline.model.event import EVENT_TYPES, Event, JsonObject
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Snapshot

_BATCH_PATH = "/api/s/s2s/batch"
_SINGLE_PATHS = ("/api/s/{type}", "/api/s/s2s/{type}")
_LETTERS = {kind[0]: kind for kind in EVENT_TYPES}
_TYPE_IN_BODY = ("event", "e")
_NAMED_TYPES = ("page", "screen")


class JitsuProtocol(Protocol):
    """Jitsu's paths of the tracking API. `dice` gives the message ids that senders leave out."""

    name: ClassVar[str] = "jitsu"
    routes: ClassVar[Sequence[Route]] = tuple(
        Route("POST", path, WIRE_BYTES_MAX, INFLATED_BYTES_MAX)
        for path in (_BATCH_PATH, *_SINGLE_PATHS)
    )

    def __init__(self, dice: random.Random | None = None) -> None:
        self._speaker = Speaker(self.name, dice or random.SystemRandom(), _say_ok)

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""
        if request.route.path == _BATCH_PATH:
            return take_batch(request, snapshot, self._speaker)
        return take_single(request, snapshot, self._speaker, _read_type(request.params["type"]))

    def failure(self, request_path: str, failure: Failure) -> Answer:  # noqa: ARG002
        """Say a failure with every field that some client parses."""
        return failure_answer(failure)

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. Pure in record and app."""
        shaped = shape_record(record, app)
        if record.type in _NAMED_TYPES:
            _name_page(shaped.event)
        return shaped


def _read_type(given: str) -> str:
    """Return the type that a path names: "" where the event itself says it."""
    return "" if given in _TYPE_IN_BODY else _LETTERS.get(given, given)


def _name_page(event: Event) -> None:
    """Give a page its name and category: Jitsu's library has them among the properties only."""
    said = event.properties or {}
    event.name = event.name or _read_name(said.get("name"))
    event.category = event.category or _read_name(said.get("category"))


def _read_name(said: object) -> str | UnsetType:
    return said if isinstance(said, str) and said else UNSET


def _say_ok(accepted: int, rejected: Sequence[Rejected]) -> JsonObject:
    said: JsonObject = {"ok": not rejected}
    if rejected:
        said["errors"] = [f"{_tell_which(each)}: {each.message}" for each in rejected]
    return said | {"receivedEvents": accepted + len(rejected), "okEvents": accepted}


def _tell_which(rejected: Rejected) -> str:
    """Name an event as Jitsu does; one that brought no id by its place in the request."""
    if rejected.message_id:
        return f"Message ID: {rejected.message_id}"
    return f"Event at index {rejected.index}"
