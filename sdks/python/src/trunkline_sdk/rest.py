"""The REST API: what a user did, and what changed about them, as messages."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Generic, TypedDict, TypeVar

from trunkline_sdk.clock import now_ms
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

MESSAGE_BYTES_MAX = 32_768
USER_BYTES_MAX = 8_192  # of what stands beside the messages

R = TypeVar("R")


class UserFields(TypedDict, total=False):
    """What may be said of a user. Only the fields given change; None clears one."""

    firstName: str | None
    lastName: str | None
    phoneNumber: str | None
    hashedPhoneNumber: str | None
    email: str | None
    hashedEmail: str | None
    country: str | None
    city: str | None
    region: str | None
    locality: str | None
    gender: str | None
    birthday: int | None
    customAttributes: Mapping[str, object] | None


class Rest(Generic[R]):
    """The REST calls of one app. Made by a client's `rest(app_id, api_key)`."""

    def __init__(self, route: str, accept: Callable[[Entry], R]) -> None:
        self._route = route
        self._accept = accept

    def user(self, who: Who, fields: UserFields, *, message_id: str | None = None,
             timestamp: Moment | None = None) -> R:  # fmt: skip
        """Change what is known of a user."""
        unknown = sorted(set(fields) - set(UserFields.__annotations__))
        if unknown:
            raise InvalidEvent(
                f"fields has {', '.join(unknown)}; the names are "
                f"{', '.join(UserFields.__annotations__)}, others go into customAttributes"
            )
        return self.message(who, "user", fields, message_id=message_id, timestamp=timestamp)

    def action(
        self,
        who: Who,
        name: str | None = None,
        attributes: Mapping[str, object] | None = None,
        *,
        custom_name: str | None = None,
        message_id: str | None = None,
        timestamp: Moment | None = None,
    ) -> R:
        """Say what a user did: `name` is a defined event's slug, `custom_name` a name of yours."""
        own = {**_named(name, custom_name), "attributes": attributes}
        return self.message(who, "action", own, message_id=message_id, timestamp=timestamp)

    def revenue(
        self,
        who: Who,
        name: str | None = None,
        revenue: float = 0.0,
        *,
        currency: str | None = None,
        order_id: str | None = None,
        attributes: Mapping[str, object] | None = None,
        custom_name: str | None = None,
        is_confirmed: bool = False,
        message_id: str | None = None,
        timestamp: Moment | None = None,
    ) -> R:
        """Say what a user paid; `is_confirmed` makes it a business event (Server keys only)."""
        own = {
            **_named(name, custom_name), "revenue": revenue, "currency": currency,
            "orderId": order_id, "attributes": attributes,
        }  # fmt: skip
        kind = "businessEvent" if is_confirmed else "revenue"
        return self.message(who, kind, own, message_id=message_id, timestamp=timestamp)

    def push_token(self, who: Who, token: str, platform: str = "android", *,
                   message_id: str | None = None) -> R:  # fmt: skip
        """Say under which token a user's device takes pushes."""
        own = {"token": read_text(token, "token"), "platform": platform}
        return self.message(who, "pushToken", own, message_id=message_id)

    def message(
        self,
        who: Who,
        kind: str,
        fields: Mapping[str, object],
        *,
        message_id: str | None = None,
        timestamp: Moment | None = None,
    ) -> R:
        """Send a message of any type, `systemEvent` and `pushSubscription` among them."""
        now = now_ms()
        user = encode_event(_user(who), "who", USER_BYTES_MAX).decode()
        given = str(uuid.uuid4()) if message_id is None else check_message_id(message_id)
        # In a profile null clears a field; elsewhere it says that nothing was given.
        kept = {n: v for n, v in fields.items() if v is not None or kind == "user"}
        message = {"type": kind, "id": given, "time": read_moment(timestamp, now, "timestamp")}
        body = encode_event({**kept, **message}, f"the message {kind}", MESSAGE_BYTES_MAX)
        return self._accept(Entry(self._route, user, given, body, now))


class Who:
    """The user of a message: at least one id; `device` is what an SDK would collect (`metaData`).

    `user_id` is your own id, `metrix_user_id` the platform's.
    """

    def __init__(
        self,
        user_id: Id | None = None,
        *,
        metrix_user_id: str | None = None,
        automation_user_id: str | None = None,
        device: Mapping[str, object] | None = None,
    ) -> None:
        self.user_id = read_id(user_id, "user_id")
        self.metrix_user_id = read_id(metrix_user_id, "metrix_user_id")
        self.automation_user_id = read_id(automation_user_id, "automation_user_id")
        self.device = device
        if not (self.user_id or self.metrix_user_id or self.automation_user_id):
            raise InvalidEvent(
                "Who names nobody; give user_id, metrix_user_id or automation_user_id"
            )


def _user(who: Who) -> dict[str, object]:
    fields = {
        "customUserId": who.user_id, "metrixUserId": who.metrix_user_id,
        "automationUserId": who.automation_user_id, "metaData": who.device,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _named(name: str | None, custom_name: str | None) -> dict[str, str]:
    if (name is None) == (custom_name is None):
        raise InvalidEvent("give either name, the slug of a defined event, or custom_name")
    if name is not None:
        return {"name": read_text(name, "name")}
    return {"customName": read_text(custom_name, "custom_name")}
