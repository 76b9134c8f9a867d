"""The protocol contract: how one file teaches the gateway to speak one wire API.

A protocol is pure. It is given a request that was read, bounded and decompressed, and the catalog's
snapshot; it returns what to store, what was refused, and the answer that is sent once the events
are durable. Later, in the pipeline, the same file shapes what was stored into canonical events. It
never raises for what a client sent: `decode` turns every body into an answer.

The order of a request's life: `routes` → body limits → `decode` → rate limit → append → answer.
For what goes wrong outside `decode` the gateway asks `failure`, so that each client is told in the
shape that it parses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from msgspec import Struct

from trunkline.kit.desk import Inquiry
from trunkline.kit.protocol_answer import Answer
from trunkline.model.event import Event, JsonObject
from trunkline.model.record import AcceptedEvent, AcceptedRefusal
from trunkline.model.snapshot import App, Snapshot

__all__ = [
    "Answer",
    "Decoded",
    "Failure",
    "FailureCode",
    "Normalised",
    "Presented",
    "Protocol",
    "Request",
    "Route",
]


class Route(Struct, frozen=True):
    """A path of the ingest port. `{name}` matches one segment; a trailing slash is the same path.

    Sizes are in bytes: as sent, and after decompression.

    Where `is_spooled`, the body may be larger than memory: `decode` judges the request before its
    body, which is empty then, and the body of an `ImportOrdered` goes to a file as it came.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    wire_bytes_max: int
    inflated_bytes_max: int
    is_spooled: bool = False


class Request(Struct, frozen=True):
    """A request that was read. `headers` has lower-case names; `body` is decompressed.

    `path` and `params` are percent-decoded, and text; `query` is as it came.
    """

    route: Route
    path: str
    params: Mapping[str, str]
    query: str
    headers: Mapping[str, str]
    body: bytes
    address: str
    received_ms: int
    request_id: str


# An app's id and the digest of a secret of one of its keys.
Presented = tuple[str, bytes]


class Decoded(Struct, frozen=True):
    """What a request came to. With events, `answer` is sent only after they are durable.

    With an `inquiry` the desk is asked and `answer` stays unsent: it is what the inquiry tells.

    `used` are the secrets that it presented and may use from where it came; `leaked` are those of
    Server keys in what a browser sent.
    """

    answer: Answer
    accepted: Sequence[AcceptedEvent] = ()
    refused: Sequence[AcceptedRefusal] = ()
    used: Sequence[Presented] = ()
    leaked: Sequence[Presented] = ()
    inquiry: Inquiry | None = None


FailureCode = Literal[
    "payload_too_large",
    "bad_encoding",
    "rate_limited",
    "overloaded",
    "unavailable",
    "not_loaded",
    "method_not_allowed",
    "not_found",
    "bad_path",
    "timeout",
    "internal",
]


class Failure(Struct, frozen=True):
    """Why a request ends outside `decode`. Nothing of it was stored."""

    code: FailureCode
    status: int
    sentence: str
    retry_after_seconds: int | None = None


class Normalised(Struct, frozen=True):
    """A canonical event and what did not fit its fields. `notes` are lines for its trace.

    `wants_push_token`: it is a message to its user, and names no device.
    """

    event: Event
    extra: JsonObject | None = None
    notes: tuple[str, ...] = ()
    wants_push_token: bool = False


class Protocol(ABC):
    """A wire API in."""

    name: ClassVar[str]
    routes: ClassVar[Sequence[Route]]

    @abstractmethod
    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        """Judge a request. Never raises for what the client sent."""

    @abstractmethod
    def failure(self, request_path: str, failure: Failure) -> Answer:
        """Say a failure in the shape that this protocol's clients parse."""

    @abstractmethod
    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        """Shape a stored event into a canonical one. `app` is None once it was removed.

        Pure in record and app: the same record gives the same event when it is read again.
        """
