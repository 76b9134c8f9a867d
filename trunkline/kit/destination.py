"""The destination contract: how one file teaches Trunkline to reach one service.

A destination is pure: a generator that yields requests, receives responses, and returns one
outcome for each event. The forwarder owns sockets, clock, dice, retries, order and telemetry. That
is why a destination needs no mocks, and why none of them can lose an event.

What is no request and response (a file, Kafka, a database) implements the sibling `Channel`.
"""

from __future__ import annotations

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct

from trunkline.model.outcome import Outcome, outcome_of_status

REQUESTS_MAX = 10  # an exchange ends within this many requests (contract tests)
_NAMESPACE = uuid.UUID(
    "5c1f5f3e-3f56-5e0e-9a3c-6d4f7b1a2e90"
)  # fixed for ever: receivers keep keys


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets for a destination. Every field carries a description.

    These are read by the forwarder for every kind; a kind adds its own.
    """

    batch_events_max: int = 100
    batch_seconds_max: float = 0.0
    timeout_seconds: float = 10.0
    concurrency_max: int = 8
    retry_hours_max: float = 72.0
    parked_bytes_max: int | None = None
    allow_private_addresses: bool = False


SettingsT = TypeVar("SettingsT", bound=Settings)


class Mapped(Struct, frozen=True, dict=True):
    """An event as a destination is given it. `body` is its canonical JSON."""

    message_id: str
    app: str
    user: str
    type: str
    name: str
    body: bytes

    @cached_property
    def value(self) -> dict[str, Any]:
        """The event, decoded once for all who ask."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


class Attempt(Struct, frozen=True):
    """One try: when, the how-manieth (1 is the first), for which destination, under which key."""

    now_ms: int
    number: int
    destination: str
    delivery_id: str


class Request(Struct, frozen=True):
    """What to send. The forwarder adds nothing but the connection."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Response(Struct, frozen=True):
    """What came back. `headers` has lower-case names; `body` is cut at 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    after_seconds: float = 0.0


class Example(Struct, frozen=True):
    """Settings, events and the request they must give: page, golden test and test event in one."""

    title: str
    settings: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    request: Request | None = None


class Destination(ABC, Generic[SettingsT]):
    """A kind of destination that speaks HTTP."""

    kind: ClassVar[str]
    title: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    examples: ClassVar[Sequence[Example]]

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @abstractmethod
    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        """Return the request that carries these events."""

    def judge(self, response: Response) -> Outcome:
        """Return what an answer means, by the table of the delivery contract."""
        return outcome_of_status(response.status, response.after_seconds)

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request, Response, Sequence[Outcome]]:
        """Yield requests, receive responses, return one outcome for each event, in order."""
        response = yield self.build(events, attempt)
        return [self.judge(response)] * len(events)


class Channel(ABC, Generic[SettingsT]):
    """A kind of destination that is no HTTP call. It does its own I/O and no other."""

    kind: ClassVar[str]
    title: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    examples: ClassVar[Sequence[Example]]

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @abstractmethod
    def open(self) -> None:
        """Connect. Blocking. An exception counts as a retry of what waits."""

    @abstractmethod
    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        """Deliver durably and return one outcome for each event. Blocking, on a thread."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""


def delivery_id(destination: str, message_ids: Sequence[str]) -> str:
    """Return the idempotency key of a delivery (delivery contract).

    One event: UUIDv5 of destination and messageId. More: a hash of the destination and the
    ordered messageIds, so the same composition has the same key.
    """
    if len(message_ids) == 1:
        return str(uuid.uuid5(_NAMESPACE, f"{destination}\0{message_ids[0]}"))
    state = hashlib.sha256(destination.encode())
    for message_id in message_ids:
        state.update(b"\0" + message_id.encode("utf-8", "surrogatepass"))
    return state.hexdigest()[:40]
