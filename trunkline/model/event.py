"""The canonical event: what every protocol becomes and what every destination is given.

Field names and rules come from the event contract. Times are RFC 3339, UTC, milliseconds, `Z`;
what is absent is left out, never null. A secret never travels: `source.key` is the key's name.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

EventType = Literal["track", "identify", "page", "screen", "group", "alias"]
EVENT_TYPES: tuple[EventType, ...] = ("track", "identify", "page", "screen", "group", "alias")

JsonObject = dict[str, Any]  # what a sender wrote: any JSON, so Any is the truth here


class Source(Struct, kw_only=True, omit_defaults=True):
    """Where an event came in: the protocol, the *name* of the key, the slug of S2S events."""

    protocol: str
    key: str
    slug: str | UnsetType = UNSET


class Event(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One thing that happened. `extra` holds unknown top-level fields of the tracking API."""

    message_id: str
    type: str
    event: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    category: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    anonymous_id: str | UnsetType = UNSET
    timestamp: str
    original_timestamp: str | UnsetType = UNSET
    sent_at: str | UnsetType = UNSET
    received_at: str
    properties: JsonObject | UnsetType = UNSET
    traits: JsonObject | UnsetType = UNSET
    context: JsonObject | UnsetType = UNSET
    integrations: JsonObject | UnsetType = UNSET
    group_id: str | UnsetType = UNSET
    previous_id: str | UnsetType = UNSET
    app: str
    source: Source
    historical: bool | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder()


def encode_event(event: Event, extra: JsonObject | None = None) -> bytes:
    """Return the canonical JSON of an event, with `extra` top-level fields behind its own."""
    data = _ENCODER.encode(event)
    if not extra:
        return data
    return data[:-1] + b"," + _ENCODER.encode(extra)[1:]


def lane_of(user_id: str | UnsetType, anonymous_id: str | UnsetType) -> str:
    """Return the user an event belongs to for order, or "" where there is none.

    `userId`, else `anonymousId`, within the app (event contract).
    """
    if user_id:
        return "u:" + user_id
    if anonymous_id:
        return "a:" + anonymous_id
    return ""
