"""What the event log holds: the records of ACCEPTED and of EVENTS, as bytes and back.

ACCEPTED is written by the gateways: one record for each event they said yes to, with its body as
received, and one for each refusal with a known key. EVENTS is written by the pipeline: one record
for each event that is no duplicate, in its canonical form. Both are MessagePack arrays; a field is
only ever added at the end, with a default, so that an older home can be read.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

ACCEPTED = "accepted"
EVENTS = "events"


class AcceptedEvent(Struct, frozen=True, array_like=True, tag="e", tag_field="record"):
    """An event that was answered yes: checked, not yet shaped.

    `body` is the event's own JSON object, `envelope` what stood beside it in a batch (`sentAt`,
    `context`, `integrations`) as a JSON object or empty. `user` is the lane that order is kept in.
    `historical`: imported, with a time of its own that is never corrected. `refused_ms`: when it
    had come and was refused, for what is sent again after that; else 0.
    """

    app: str
    message_id: str
    user: str
    protocol: str
    type: str
    key: str
    is_client: bool
    snapshot: int
    received_ms: int
    address: str
    user_agent: str
    request_id: str
    envelope: bytes
    body: bytes
    notes: tuple[str, ...] = ()
    historical: bool = False
    refused_ms: int = 0

    @property
    def came_ms(self) -> int:
        """When it came at first: what its sender's clock is compared with."""
        return self.refused_ms or self.received_ms


class Posting(Struct, frozen=True, array_like=True, tag="p", tag_field="record"):
    """How a refused event came, so that it can be sent again: everything but itself and its key.

    `headers` are those that decide something. `within` names the array of the body that it stood
    in, "" where it was all of the body; `beside` is a JSON object of what stood beside that array.
    `whole` is the redacted body where the one of the refusal was cut. `index` is where in that
    array it stood, from 0; -1 where that is not known. Nothing here is secret.
    """

    path: str
    headers: dict[str, str] = {}
    within: str = ""
    beside: bytes = b""
    whole: bytes = b""
    index: int = -1


class AcceptedRefusal(Struct, frozen=True, array_like=True, tag="r", tag_field="record"):
    """An event that was answered no, with a key that is known: its owner wants to see it.

    `body` is redacted and cut; `count` is above 1 where refusals came too fast to keep each.
    `origin` is what it takes to send it again: how it came, or the record that the pipeline could
    not shape; None where that is not known.
    """

    app: str
    protocol: str
    key: str
    snapshot: int
    received_ms: int
    address: str
    request_id: str
    code: str
    message: str
    message_id: str
    body: bytes
    count: int = 1
    origin: Posting | AcceptedEvent | None = None


Accepted = AcceptedEvent | AcceptedRefusal


class Routing(Struct, frozen=True, array_like=True):
    """What decides which destinations may have an event, without decoding it again."""

    integrations: dict[str, Any] = {}
    consent: dict[str, Any] = {}


class StoredEvent(Struct, frozen=True, array_like=True):
    """An event in EVENTS: its canonical JSON, and what is asked of it without decoding that.

    `origin_*` says which record of ACCEPTED it came from: the output is the commit point.
    `snapshot` is the catalog snapshot of its acceptance. `erased_ms`: when the event of a person
    was erased; then nothing of it is left but what counts need (`kit/erasure.py`). Else 0.
    `is_client`: it came with a Client key, which anybody can read from a page or an app.
    """

    origin_partition: int
    origin_offset: int
    app: str
    message_id: str
    user: str
    type: str
    name: str
    snapshot: int
    received_ms: int
    protocol: str
    key: str
    address: str
    request_id: str
    historical: bool
    routing: Routing | None
    event: bytes
    original: bytes
    notes: tuple[str, ...] = ()
    erased_ms: int = 0
    is_client: bool = False


_GIVEN = "the sender's id is "
_ENCODER = msgspec.msgpack.Encoder()
_ACCEPTED = msgspec.msgpack.Decoder(Accepted)
_STORED = msgspec.msgpack.Decoder(StoredEvent)
_ORIGIN = msgspec.msgpack.Decoder(Posting | AcceptedEvent | None)

encode_record = _ENCODER.encode


def decode_accepted(value: bytes) -> Accepted:
    """Return the record of ACCEPTED; `msgspec.DecodeError` where the bytes are not one."""
    return _ACCEPTED.decode(value)


def decode_stored(value: bytes) -> StoredEvent:
    """Return the record of EVENTS; `msgspec.DecodeError` where the bytes are not one."""
    return _STORED.decode(value)


def decode_origin(value: bytes) -> Posting | AcceptedEvent | None:
    """Return what it takes to send a refused event again; `msgspec.DecodeError` for other bytes."""
    return _ORIGIN.decode(value)


def note_given_id(given: str) -> str:
    """Return the note of an event whose messageId is not what its sender called it."""
    return _GIVEN + given


def read_given_id(notes: tuple[str, ...]) -> str:
    """Return what the sender called an event, where that is not its messageId; else ""."""
    return next((note[len(_GIVEN) :] for note in notes if note.startswith(_GIVEN)), "")


def partition_key(app: str, user: str) -> bytes:
    """Return the key that keeps a user's events in one partition."""
    return f"{app}\0{user}".encode()
