"""Who is to be erased: what is theirs in the logs, and what is left of it.

An event is a person's where the surest of its identifiers is one of theirs (`kit/identifiers.py`):
what somebody else did on a shared device stays. What is left of an event keeps its place and what
counts are made of: app, messageId, type, name, times. So offsets stay, the ledger balances, and an
event that is sent once more is still known to have been here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from trunkline.kit.eventlog import Record
from trunkline.kit.identifiers import Identifier, read_who
from trunkline.model.record import (
    Accepted,
    AcceptedEvent,
    StoredEvent,
    encode_record,
    partition_key,
)

ERASED = "erased"  # the reason that the ledger counts by
_BLANK = b"{}"


class NotYet(Exception):
    """What must come first has not: nothing is wrong, ask again later. The message says what."""


class Forgotten(Struct):
    """What of a person was erased of the deliveries, and how many of their events each destination
    was sent, by its uid."""

    pending: int = 0
    dead_letters: int = 0
    answers: int = 0
    sent: dict[int, int] = {}


class Person(Struct, frozen=True):
    """A person of an app by all identifiers that are known; `until` is the offset of EVENTS below
    which events are erased: what comes later is new."""

    app: str
    identifiers: frozenset[Identifier]
    until: int = 0

    def owns(self, event: bytes) -> bool:
        """Say whether a canonical event, as JSON, is theirs."""
        try:
            who = read_who(event, _source_of(event))
        except msgspec.DecodeError:
            return False
        if who.identifiers and who.identifiers[0] in self.identifiers:
            return True
        return bool(who.previous) and self.is_called(who.previous)

    def is_called(self, value: str) -> bool:
        """Say whether a bare id is one of theirs."""
        return any(each.value == value for each in self.identifiers)

    def has_lane(self, user: str) -> bool:
        """Say whether a record's user (`u:…`, `a:…`) is this person."""
        return bool(user[2:]) and self.is_called(user[2:])

    def texts(self) -> list[str]:
        """Return what to look for in texts: the ids as they may stand there."""
        found: list[str] = []
        for kind, value in sorted(self.identifiers):
            if kind == "device":  # `<type>:<id>`; senders write the id in either case
                bare = value.partition(":")[2]
                found += [bare.lower(), bare.upper()]
            else:
                found.append(value)
        return list(dict.fromkeys(text for text in found if text))

    def hints(self) -> list[bytes]:
        """Return bytes of which every record that may be theirs holds some."""
        return list(dict.fromkeys(form for text in self.texts() for form in _forms(text)))


class _Source(Struct):
    protocol: str = ""


class _Sourced(Struct):
    source: _Source | None = None


_SOURCED = msgspec.json.Decoder(_Sourced)


def _source_of(event: bytes) -> str:
    """Return the protocol that an event came by."""
    source = _SOURCED.decode(event).source
    return source.protocol if source else ""


def _forms(text: str) -> Iterable[bytes]:
    """Return how a text stands in JSON and in MessagePack; senders may escape what they like."""
    yield text.encode("utf-8", "surrogatepass")
    yield msgspec.json.encode(text)[1:-1] if _is_sound(text) else json.dumps(text)[1:-1].encode()
    yield json.dumps(text)[1:-1].encode()


def _is_sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def mentions(data: bytes, hints: Sequence[bytes]) -> bool:
    """Say whether some bytes hold one of the hints."""
    return any(hint in data for hint in hints)


def rest_of_stored(stored: StoredEvent, stamp: int, at_ms: int) -> Record:
    """Return what is left of a record of EVENTS."""
    name = stored.name if stored.type == "track" else ""  # what the ledger's tally counts by
    left = msgspec.structs.replace(
        stored,
        user="",
        name=name,
        address="",
        request_id="",
        routing=None,
        event=_BLANK,
        original=b"",
        notes=(),
        erased_ms=at_ms,
    )
    return Record(partition_key(stored.app, ""), encode_record(left), stamp)


def rest_of_accepted(accepted: Accepted, stamp: int) -> Record:
    """Return what is left of a record of ACCEPTED, which was judged already."""
    if isinstance(accepted, AcceptedEvent):
        left: Accepted = msgspec.structs.replace(
            accepted, user="", address="", user_agent="", request_id="", envelope=b"",
            body=_BLANK, notes=(),
        )  # fmt: skip
    else:
        left = msgspec.structs.replace(
            accepted, address="", request_id="", message=ERASED, message_id="", body=b"",
            origin=None,
        )  # fmt: skip
    return Record(partition_key(accepted.app, ""), encode_record(left), stamp)
