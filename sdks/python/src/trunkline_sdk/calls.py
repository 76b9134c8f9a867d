"""The calls of the tracking API, shared by every kind of client.

What a call returns differs: the message id, or an awaitable of it. So the calls are generic in it,
and a client says only what becomes of an entry.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Optional, TypeVar

from trunkline_sdk.clock import format_ms, now_ms
from trunkline_sdk.encoding import (
    Id,
    Moment,
    check_message_id,
    encode_event,
    read_id,
    read_moment,
    read_text,
)
from trunkline_sdk.entry import Entry
from trunkline_sdk.errors import InvalidEvent
from trunkline_sdk.rest import Rest
from trunkline_sdk.s2s import S2S
from trunkline_sdk.wires import RestWire, S2SWire, Wire

EVENT_BYTES_MAX = 32_768
LIBRARY = {"name": "trunkline-sdk-python", "version": "0.1.0"}

R = TypeVar("R")
Fields = Optional[Mapping[str, object]]


class Calls(ABC, Generic[R]):
    """Every call checks its event first: `InvalidEvent` and `EventTooLarge` say what is wrong.

    Each event gets its message id and time here, once, so that sending it again counts once. Give a
    `message_id` of your own (at most 100 characters) where the call itself may be repeated.
    """

    @abstractmethod
    def _accept(self, entry: Entry) -> R:
        """Queue an entry."""

    @abstractmethod
    def _register(self, wire: Wire) -> None:
        """Make a key known, so that entries of its route can be sent."""

    @property
    @abstractmethod
    def _tracking_route(self) -> str:
        """The route of the write key."""

    def track(
        self,
        user_id: Id | None = None,
        event: str = "",
        properties: Fields = None,
        *,
        anonymous_id: Id | None = None,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that a user did something."""
        own = {"event": read_text(event, "event"), "properties": properties}
        common = (user_id, anonymous_id, context, integrations, timestamp, message_id)
        return self._take("track", own, *common)

    def identify(
        self,
        user_id: Id | None = None,
        traits: Fields = None,
        *,
        anonymous_id: Id | None = None,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say who a user is: only the traits given change."""
        common = (user_id, anonymous_id, context, integrations, timestamp, message_id)
        return self._take("identify", {"traits": traits}, *common)

    def page(
        self,
        user_id: Id | None = None,
        name: str | None = None,
        properties: Fields = None,
        *,
        category: str | None = None,
        anonymous_id: Id | None = None,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that a user saw a page."""
        own = {"name": name, "category": category, "properties": properties}
        common = (user_id, anonymous_id, context, integrations, timestamp, message_id)
        return self._take("page", own, *common)

    def screen(
        self,
        user_id: Id | None = None,
        name: str | None = None,
        properties: Fields = None,
        *,
        category: str | None = None,
        anonymous_id: Id | None = None,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that a user saw a screen of an app."""
        own = {"name": name, "category": category, "properties": properties}
        common = (user_id, anonymous_id, context, integrations, timestamp, message_id)
        return self._take("screen", own, *common)

    def group(
        self,
        user_id: Id | None = None,
        group_id: Id | None = None,
        traits: Fields = None,
        *,
        anonymous_id: Id | None = None,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that a user belongs to a group."""
        own = {"groupId": _needed(group_id, "group_id"), "traits": traits}
        common = (user_id, anonymous_id, context, integrations, timestamp, message_id)
        return self._take("group", own, *common)

    def alias(
        self,
        previous_id: Id | None = None,
        user_id: Id | None = None,
        *,
        context: Fields = None,
        integrations: Fields = None,
        timestamp: Moment | None = None,
        message_id: str | None = None,
    ) -> R:
        """Say that the user once known as `previous_id` is `user_id`."""
        _needed(user_id, "user_id")
        own = {"previousId": _needed(previous_id, "previous_id")}
        return self._take("alias", own, user_id, None, context, integrations, timestamp, message_id)

    def s2s(self, app_id: str, dev_key: str) -> S2S[R]:
        """Return the calls of the S2S API for an app; keep it, it is cheap."""
        wire = S2SWire(app_id, dev_key)
        self._register(wire)
        return S2S(wire.route, self._accept)

    def rest(self, app_id: str, api_key: str) -> Rest[R]:
        """Return the calls of the REST API for an app; keep it, it is cheap."""
        wire = RestWire(app_id, api_key)
        self._register(wire)
        return Rest(wire.route, self._accept)

    def _take(
        self,
        kind: str,
        own: Mapping[str, object],
        user_id: Id | None,
        anonymous_id: Id | None,
        context: Fields,
        integrations: Fields,
        timestamp: Moment | None,
        message_id: str | None,
    ) -> R:
        now = now_ms()
        user, anonymous = read_id(user_id, "user_id"), read_id(anonymous_id, "anonymous_id")
        if user is None and anonymous is None:
            raise InvalidEvent(f"{kind} names nobody; give a user_id or an anonymous_id")
        given = str(uuid.uuid4()) if message_id is None else check_message_id(message_id)
        event = {
            "type": kind,
            "messageId": given,
            "timestamp": format_ms(read_moment(timestamp, now, "timestamp")),
            "userId": user,
            "anonymousId": anonymous,
            **own,
            "context": {"library": LIBRARY, **_object(context, "context")},
            "integrations": integrations,
        }
        for name in ("properties", "traits", "integrations"):
            _object(event.get(name), name)
        kept = {name: value for name, value in event.items() if value is not None}
        body = encode_event(kept, f"the {kind} event", EVENT_BYTES_MAX)
        return self._accept(Entry(self._tracking_route, "", given, body, now))


def _needed(value: Id | None, what: str) -> str:
    found = read_id(value, what)
    if found is None:
        raise InvalidEvent(f"{what} is {value!r}; send text or a whole number")
    return found


def _object(value: object, what: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEvent(f"{what} is a {type(value).__name__}; send a mapping")
    return value  # pyright: ignore[reportUnknownVariableType]
