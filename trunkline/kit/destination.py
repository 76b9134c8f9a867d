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
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct

from trunkline.kit.addresses import hosts_in
from trunkline.kit.shaping import CodeSource
from trunkline.model.event import lane_of
from trunkline.model.outcome import Filtered, Outcome, outcome_of_status

BATCH_BYTES_MAX = 4_194_304  # of events, where a destination does not say otherwise
REQUESTS_MAX = 10  # an exchange ends within this many requests (contract tests)
EXAMPLE_DESTINATION = "zcmwmxbkmuodelu/ledger"
_NAMESPACE = uuid.UUID(
    "5c1f5f3e-3f56-5e0e-9a3c-6d4f7b1a2e90"
)  # fixed for ever: receivers keep keys


SECRET_MARK = "x-secret"  # in a field's JSON schema: a secret, or something that holds one
SecretText = Annotated[str, Meta(min_length=1, extra_json_schema={SECRET_MARK: True})]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets for a destination. Every field carries a description.

    These are read by the forwarder for every kind; a kind adds its own. A field of `SecretText`,
    or one that holds such, never shows in a repr. A subclass checks what types cannot say in
    `__post_init__`, with a `ValueError` that names the field and no secret's value.
    """

    batch_events_max: Annotated[
        int,
        Meta(ge=1, le=1000, description="How many events may go in one request."),
    ] = 100
    batch_seconds_max: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="How long to wait for a batch to fill, in seconds. With 0 a free slot "
            "sends at once what waits.",
        ),
    ] = 0.0
    timeout_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=120,
            description="How long one request may take, in seconds, from the lookup of the name "
            "to the last byte of the answer. Past it the attempt counts as a retry.",
        ),
    ] = 10.0
    concurrency_max: Annotated[
        int,
        Meta(ge=1, le=256, description="How many requests may be under way at a time."),
    ] = 8
    requests_per_second_max: Annotated[
        Annotated[float, Meta(ge=0.01, le=10_000)] | None,
        Meta(
            description="How many requests may be made in a second; unused ones are kept for one "
            "second. The wait for it is no part of `timeout_seconds` and counts as no attempt. "
            "Left out: no limit, or that of the kit."
        ),
    ] = None
    retry_hours_max: Annotated[
        float,
        Meta(
            ge=0,
            le=8760,
            description="How long an event is retried, in hours; then it becomes a dead letter. "
            "Time in which the destination is parked does not count.",
        ),
    ] = 72.0
    params: Annotated[
        dict[str, SecretText],
        Meta(
            description="Values for the params of the playbook and the connection, name to value: "
            "`$$NAME$$` in any of their texts. Values count as secrets."
        ),
    ] = {}
    parked_bytes_max: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="How many bytes of events are held while the destination is parked; past "
            "it the oldest expire. Left out: a quarter of the disk."
        ),
    ] = None
    allow_private_addresses: Annotated[
        bool,
        Meta(
            description="Let the destination be at a loopback, private or otherwise not public "
            "address. Off: such a target is refused, whatever its name."
        ),
    ] = False

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        secrets = secret_fields(type(self))
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, "***" if name in secrets and value else value) for name, value in values]


@cache
def secret_fields(settings_type: type[Settings]) -> frozenset[str]:
    """Return the names of the fields that are secrets or hold some."""
    hints = get_type_hints(settings_type, include_extras=True)
    return frozenset(n for n in settings_type.__struct_fields__ if _is_secret(hints[n]))


def _is_secret(hint: Any) -> bool:
    if isinstance(hint, Meta):
        return bool((hint.extra_json_schema or {}).get(SECRET_MARK))
    return any(_is_secret(part) for part in get_args(hint))


SettingsT = TypeVar("SettingsT", bound=Settings)


class Mapped(Struct, frozen=True, dict=True):
    """An event as a destination is given it. `body` is its canonical JSON, or what a playbook made.

    `origin` is the canonical JSON where a playbook made something else of it.
    """

    message_id: str
    app: str
    user: str
    type: str
    name: str
    body: bytes
    origin: bytes = b""

    @cached_property
    def value(self) -> dict[str, Any]:
        """The body, decoded once for all who ask."""
        return msgspec.json.decode(self.body, type=dict[str, Any])

    @cached_property
    def event(self) -> dict[str, Any]:
        """The canonical event."""
        return msgspec.json.decode(self.origin, type=dict[str, Any]) if self.origin else self.value


class Attempt(Struct, frozen=True):
    """One try: when, the how-manieth (1 is the first), for which destination, under which key."""

    now_ms: int
    number: int
    destination: str
    delivery_id: str


class Request(Struct, frozen=True):
    """What to send. The forwarder adds nothing but the connection.

    `hides_answer`: the answer may hold a secret, so nothing of it is kept for the trace.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    hides_answer: bool = False


class Call(Struct, frozen=True):
    """Code of an operator that a destination needs run (`Destination.code`), over these values."""

    name: str
    values: dict[str, Any]


class Response(Struct, frozen=True):
    """What came back. `headers` has lower-case names; `body` is cut at 512 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    after_seconds: float = 0.0


class NoAnswer(Exception):
    """A request came to no answer: raised where it was yielded. `outcome` is what that means.

    `was_sent` is False only where it is certain that the request did not reach the vendor.
    """

    def __init__(self, outcome: Outcome, message: str = "", *, was_sent: bool = True) -> None:
        super().__init__(message or str(outcome))
        self.outcome = outcome
        self.was_sent = was_sent


class Example(Struct, frozen=True):
    """Settings, canonical events and what they must give: page, golden test and test event in one.

    `request` is what a `Destination` builds from the events at `example_attempt`; `text` is what a
    `Channel` has then written.
    """

    title: str
    settings: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    request: Request | None = None
    text: bytes | None = None


class Batching(Struct, frozen=True):
    """What a destination's batches are beside `batch_events_max`.

    `bytes_max` is how many bytes of events one holds, `users_max` of how many users (0: any). What
    was made of one event shares a batch where that holds it; with `is_whole` in any case, because
    the destination remembers what it sent of an event. `by_device`: the destination wants the
    events of a device in their order, whoever used it.
    """

    bytes_max: int = BATCH_BYTES_MAX
    users_max: int = 0
    is_whole: bool = False
    by_device: bool = False


class Destination(ABC, Generic[SettingsT]):
    """A kind of destination that speaks HTTP."""

    batching: Batching = Batching()
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

    def notes(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Sequence[str]]:
        """Return for each event what is changed of it before it is sent, in sentences for people.

        `attempt` is not asked of a vendor: this is pure, and `exchange` changes the same.
        """
        del attempt
        return [()] * len(events)

    def code(self) -> Mapping[str, CodeSource]:
        """Return the code of an operator that `exchange` calls, by name. It runs in a jail."""
        return {}

    def exchange(
        self, events: Sequence[Mapped], attempt: Attempt
    ) -> Generator[Request | Call, Any, Sequence[Outcome | Filtered]]:
        """Yield requests, receive responses, return one outcome for each event, in order.

        `Filtered` (or `Rejected` with `was_sent=False`) is for events that a contract of the vendor
        forbids, and of which nothing was sent.

        A `Call` that is yielded comes back as the value that the code returned. `NoAnswer` and
        `CodeError` are raised where the request or the call was yielded; a destination that made
        requests before catches them, so that what was delivered is not sent again.
        """
        response: Response = yield self.build(events, attempt)
        return [self.judge(response)] * len(events)


class Channel(ABC, Generic[SettingsT]):
    """A kind of destination that is no HTTP call. It does its own I/O and no other.

    `host_settings` are the settings that say where it connects to: their hosts are looked up before
    it opens, and refused where they are private and the destination does not allow it.
    """

    host_settings: ClassVar[Sequence[str]] = ()
    kind: ClassVar[str]
    title: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    examples: ClassVar[Sequence[Example]]

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    def hosts(self) -> list[str]:
        """Return the hosts that the settings name."""
        texts: list[str | None] = [getattr(self.settings, name) for name in self.host_settings]
        return [host for text in texts if text for host in hosts_in(text)]

    @abstractmethod
    def open(self) -> None:
        """Connect. Blocking. An exception counts as a retry of what waits."""

    @abstractmethod
    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        """Deliver durably and return one outcome for each event. Blocking, on a thread."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect."""

    def encode(self, events: Sequence[Mapped]) -> bytes:
        """Return what is written of events, for a person to read. Pure: no connection is needed."""
        return b"".join([event.body + b"\n" for event in events])

    def check(self) -> str:
        """Connect, look whether what is needed is there and may be used, write nothing.

        Returns a sentence; raises what `open` raises.
        """
        self.open()
        self.close()
        return "It can be opened; nothing was written."


def map_event(event: dict[str, Any]) -> Mapped:
    """Return a canonical event as a destination is given it."""
    return Mapped(
        message_id=event["messageId"],
        app=event["app"],
        user=lane_of(event.get("userId", UNSET), event.get("anonymousId", UNSET)),
        type=event["type"],
        name=event.get("event") or event.get("name") or "",
        body=msgspec.json.encode(event),
    )


def example_attempt(example: Example) -> Attempt:
    """Return the attempt that an example's request is built for."""
    ids = [event["messageId"] for event in example.events]
    return Attempt(
        now_ms=1_795_170_000_000,
        number=1,
        destination=EXAMPLE_DESTINATION,
        delivery_id=delivery_id(EXAMPLE_DESTINATION, ids),
    )


def delivery_id(destination: str, message_ids: Sequence[str]) -> str:
    """Return the idempotency key of a delivery (delivery contract).

    One event: UUIDv5 of destination and messageId. More: a hash of the destination and the
    ordered messageIds, so the same composition has the same key.
    """
    if len(message_ids) == 1:
        name = f"{destination}\0{message_ids[0]}".encode("utf-8", "surrogatepass")
        text = hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).hexdigest()
        # `str(uuid.uuid5(…))` written out: 1.1 µs instead of 3.8, and it is once a request.
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"
    state = hashlib.sha256(destination.encode())
    for message_id in message_ids:
        state.update(b"\0" + message_id.encode("utf-8", "surrogatepass"))
    return state.hexdigest()[:40]
