"""The checks of the REST contract, for each message by itself, and the name a message's event has.

A check returns a `Problem` or None and changes nothing. What a real client sends is taken: genders
in any case, `phone` for `phoneNumber`, ids that only look like UUIDs.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from hashlib import sha256
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.redact import redact_pair
from trunkline.kit.times import MS_MAX, MS_MIN, parse_time_ms
from trunkline.kit.tracking_checks import (
    MESSAGE_ID_MAX,
    Problem,
    check_plan,
    describe,
    problem,
    read_id,
)
from trunkline.model import refusal, refusal_rest
from trunkline.model.event import EventType, JsonObject
from trunkline.model.snapshot import App, EventDefinition, Key, fold_name

CURRENCIES = ("IRR", "USD", "EUR")
GENDERS = ("male", "female", "other")
USER_TEXTS = (
    "firstName",
    "lastName",
    "phoneNumber",
    "hashedPhoneNumber",
    "email",
    "hashedEmail",
    "country",
    "city",
    "region",
    "locality",
    "gender",
    "phone",
    "customId",
)

# The end of what the trace says of such an event; what defines events looks for it.
NOT_DEFINED = "is not defined yet: it kept its customName"

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Checked(Struct):
    """What a message that passed is known by."""

    given_id: str
    type: EventType


class Named(Struct):
    """The name of a message's event, its definition if there is one, and what the trace says."""

    name: str
    definition: EventDefinition | None = None
    note: str = ""


def check_message(message: JsonObject, app: App, key: Key) -> Checked | Problem:
    """Judge one message of an app that came with a key."""
    kind = message.get("type")
    rule = _RULES.get(kind) if isinstance(kind, str) else None
    if rule is None:
        return _explain_type(kind)
    check, event_type = rule
    given_id = read_id(message.get("id"))
    if not given_id or len(given_id) > MESSAGE_ID_MAX:
        return _explain_id(message.get("id"), given_id)
    found = _check_time(message.get("time")) or check(message, app, key)
    return found or Checked(given_id, event_type)


def content_id(app: str, user: str, message: JsonObject) -> str:
    """Return the messageId of a message: fixed for ever, golden tests hold it.

    SHA-256, as 64 lower-case hexadecimal digits, over the app's id, a zero byte, the user's id, a
    zero byte, and the decoded message (so its id, type and content) as canonical JSON, in the form
    that S2S uses: UTF-8, no spaces, keys sorted at every level. The id alone would not do: the web
    SDK gives every profile update of a page load the same one.
    """
    head = app.encode() + b"\0" + user.encode() + b"\0"
    return sha256(head + _encode_sorted(message)).hexdigest()


# The name of an event.


def name_event(message: JsonObject, app: App | None) -> Named:
    """Return the name that a message's event gets; its `name` is "" where it names none.

    `name` is a slug, or the name of a definition; `customName` names an event that may not be
    defined yet: such an event keeps the name it came with, and with it `NOT_DEFINED` in its notes.
    """
    slug, custom = _text(message, "name"), _text(message, "customName")
    if message["type"] == "systemEvent" and not slug and not custom:
        return Named(_name_of_system_event(message))
    definition = _find_definition(slug, app)
    if definition is not None:
        return Named(definition.name, definition)
    if custom:
        definition = _find_definition(custom, app)
        note = "" if definition else f"{describe(custom)} {NOT_DEFINED}"
        return Named(custom, definition, note)
    note = f"no event with the slug {describe(slug)} is defined: its slug is its name"
    return Named(slug, None, "" if message["type"] == "systemEvent" else note)


def _find_definition(name: str, app: App | None) -> EventDefinition | None:
    if app is None or not name:
        return None
    return app.events_by_slug.get(name) or app.events_by_name.get(fold_name(name))


def _name_of_system_event(message: JsonObject) -> str:
    # The SDK's service worker writes {"event": "track", "action": "WebPushDelivery"}.
    event = _text(message, "event")
    return event if event and event != "track" else _text(message, "action")


def _text(message: JsonObject, field: str) -> str:
    value = message.get(field)
    return value if isinstance(value, str) and value.strip() else ""


# The checks of each type.


def _check_action(message: JsonObject, app: App, key: Key) -> Problem | None:
    for field in ("name", "customName"):
        found = _check_text(message, field, "a string")
        if found is not None:
            return found
    name = name_event(message, app).name
    if not name:
        expected = "the slug of a defined event as name, or a name of your own as customName"
        return problem(refusal_rest.REST_MISSING, field="name", expected=expected)
    return _check_object(message, "attributes") or check_plan({"event": name}, app, key)


def _check_revenue(message: JsonObject, app: App, key: Key) -> Problem | None:
    if message.get("revenue") is None:
        expected = "the amount, a number without quotes"
        return problem(refusal_rest.REST_MISSING, field="revenue", expected=expected)
    return _check_amount(message, app) or _check_action(message, app, key)


def _check_business(message: JsonObject, app: App, key: Key) -> Problem | None:
    if key.type == "client":
        return problem(refusal_rest.REST_BUSINESS, key=describe(key.name))
    return _check_amount(message, app) or _check_action(message, app, key)


def _check_amount(message: JsonObject, app: App) -> Problem | None:
    amount = message.get("revenue")
    if amount is not None and not _is_number(amount):
        return _wrong("revenue", amount, "a number without quotes")
    if read_id(message.get("orderId")) is None:
        return _wrong("orderId", message["orderId"], "a string, or leave it out")
    currency = message.get("currency")
    allowed = {*CURRENCIES, *app.currencies, app.currency}
    if currency in (None, "") or (isinstance(currency, str) and currency in allowed):
        return None
    return _wrong("currency", currency, f"one of {', '.join(sorted(allowed))}, or leave it out")


def _check_user(message: JsonObject, app: App, key: Key) -> Problem | None:
    del app, key
    for field in USER_TEXTS:
        found = _check_text(message, field, "a string, or null to clear it")
        if found is not None:
            return found
    gender = message.get("gender")
    if gender and gender.casefold() not in GENDERS:
        return _wrong("gender", gender, "one of Male, Female, Other, or null to clear it")
    birthday = message.get("birthday")
    if birthday is not None and not (_is_number(birthday) and MS_MIN <= birthday <= MS_MAX):
        expected = "milliseconds since 1970 UTC, a number, negative before; or null to clear it"
        return _wrong("birthday", birthday, expected)
    return _check_object(message, "customAttributes")


def _check_subscription(message: JsonObject, app: App, key: Key) -> Problem | None:
    del app, key
    expected = "the Web Push subscription, an object with an endpoint"
    subscription = message.get("subscription")
    if subscription is None:
        return problem(refusal_rest.REST_MISSING, field="subscription", expected=expected)
    if not isinstance(subscription, dict):
        return _wrong("subscription", subscription, expected)
    endpoint = cast("JsonObject", subscription).get("endpoint")
    if not isinstance(endpoint, str) or not endpoint:
        return _wrong("subscription.endpoint", endpoint, "the push service's URL, a string")
    return None


def _check_token(message: JsonObject, app: App, key: Key) -> Problem | None:
    del app, key
    expected = "the FCM token, a string"
    token = message.get("token")
    if token is None or token == "":
        return problem(refusal_rest.REST_MISSING, field="token", expected=expected)
    return _check_text(message, "token", expected) or _check_text(
        message, "platform", "a string such as android, or leave it out"
    )


_Check = Callable[[JsonObject, App, Key], Problem | None]
_RULES: dict[str, tuple[_Check, EventType]] = {
    "action": (_check_action, "track"),
    "revenue": (_check_revenue, "track"),
    "businessEvent": (_check_business, "track"),
    "user": (_check_user, "identify"),
    "systemEvent": (_check_action, "track"),
    "pushSubscription": (_check_subscription, "identify"),
    "pushToken": (_check_token, "identify"),
}
MESSAGE_TYPES = tuple(_RULES)


# What fields have in common.


def _check_time(value: Any) -> Problem | None:
    if value is None or value == "":
        expected = "when it happened, in milliseconds since 1970 UTC"
        return problem(refusal_rest.REST_MISSING, field="time", expected=expected)
    if parse_time_ms(value) is None:
        return problem(refusal_rest.REST_TIME, came=describe(value))
    return None


def _check_text(message: JsonObject, field: str, expected: str) -> Problem | None:
    value = message.get(field)
    return None if value is None or isinstance(value, str) else _wrong(field, value, expected)


def _check_object(message: JsonObject, field: str) -> Problem | None:
    value = message.get(field)
    # PHP writes an empty map as []; it holds nothing, so nothing is lost by taking it.
    if value is None or isinstance(value, dict) or value == []:
        return None
    return _wrong(field, value, "an object, or leave it out")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(field: str, value: Any, expected: str) -> Problem:
    came = describe(redact_pair(field, value))
    return problem(refusal_rest.REST_FIELD, field=field, came=came, expected=expected)


def _explain_type(kind: Any) -> Problem:
    came = "missing" if kind is None else describe(kind)
    near = get_close_matches(kind, MESSAGE_TYPES, 1) if isinstance(kind, str) else []
    if near:
        came += f", perhaps {near[0]}"
    return problem(refusal.TRACKING_TYPE, came=came, expected=", ".join(MESSAGE_TYPES))


def _explain_id(came: Any, text: str | None) -> Problem:
    expected = f"an id of your own, a string of at most {MESSAGE_ID_MAX} characters"
    if text == "":
        return problem(refusal_rest.REST_MISSING, field="id", expected=expected)
    what = describe(came) if text is None else f"{len(text)} characters long"
    return problem(refusal_rest.REST_FIELD, field="id", came=what, expected=expected)
