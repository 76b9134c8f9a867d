"""Who an event names: its identifiers, the surest first.

Canonical events hold ids of four kinds. Their order here is their rank: what is known less surely
belongs to what is known more surely, a browser to the account that signs in on it, a phone to both.
Values that stand for nobody (`null`, an advertising id of zeroes) are no identifiers: as one they
would join everybody who lacks one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import Struct

from trunkline.kit.times import parse_time_ms

Kind = Literal["userId", "automationUserId", "anonymousId", "device"]
KINDS: tuple[Kind, ...] = ("userId", "automationUserId", "anonymousId", "device")
RANKS: dict[str, int] = {kind: rank for rank, kind in enumerate(KINDS)}
VALUE_CHARACTERS_MAX = 1024

DEVICE_TYPES = ("android", "ios", "huawei", "other")
_DEVICE_TYPES = {
    "android": "android",
    "ios": "ios",
    "iphone os": "ios",
    "ipados": "ios",
    "huawei": "huawei",
    "harmonyos": "huawei",
}
_NOBODY = frozenset(
    (
        *("null", "(null)", "<null>", "none", "nil", "undefined", "nan", "n/a", "na", "true"),
        *("false", "unknown", "anonymous", "guest", "-1", "not available", "[object object]"),
    )
)
_ZEROES = re.compile(r"[0\-]*")
# Here `userId` repeats `anonymousId` where the sender gave no account, only its anonymous id.
_REPEATING_PROTOCOLS = ("s2s", "rest")


class Identifier(NamedTuple):
    """One way to know somebody. Of kind `device` the value is `<type>:<advertising id>`."""

    kind: str
    value: str


class Who(NamedTuple):
    """Whom an event names. `identifiers` by rank, at most one of a kind; none: nobody is named.

    `previous` is what an `alias` says the first of them was called before. `at_ms` is the event's
    own time, None where it has none.
    """

    identifiers: tuple[Identifier, ...]
    at_ms: int | None
    previous: str = ""


Ids = tuple[str, ...]  # as an event has them: userId, anonymousId, then what its context names


class _Device(Struct, gc=False):
    type: str = ""
    advertisingId: str = ""


class _Context(Struct, gc=False):
    device: _Device | None = None
    automationUserId: str = ""


class Named(Struct, rename="camel", gc=False):
    """What of a canonical event says whom it names and when, as it stands there."""

    timestamp: str = ""
    user_id: str = ""
    anonymous_id: str = ""
    previous_id: str = ""
    context: _Context | None = None


class _Traits(Struct):
    traits: dict[str, msgspec.Raw] = {}


class PushToken(Struct, omit_defaults=True):
    """Where a push service finds a device; `platform` is "android", "ios" or what was said."""

    token: str
    platform: str = ""


class _Addressed(Struct, gc=False):
    token: str = ""
    type: str = ""
    advertisingId: str = ""
    id: str = ""


class _Pushed(Struct):
    subscription: msgspec.Raw = msgspec.Raw(b"null")


class _Addresses(Struct):
    device: _Addressed | None = None
    push: _Pushed | None = None


class _AddressContext(Struct):
    context: _Addresses | None = None


PUSH_TOKEN = "pushToken"  # the trait
_NAMED = msgspec.json.Decoder(Named)
_LOOSE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TRAITS = msgspec.json.Decoder(_Traits)
_ADDRESSES = msgspec.json.Decoder(_AddressContext)
_ANYTHING = msgspec.json.Decoder()
_NO_DEVICE = _Device()


def read_who(event: bytes, protocol: str) -> Who:
    """Return whom a canonical event names, from its JSON. Raises `msgspec.DecodeError` for none."""
    named = read_named(event)
    found = identifiers_of(ids_of(named, protocol))
    return Who(found, parse_time_ms(named.timestamp), previous_of(named))


def read_named(event: bytes) -> Named:
    """Return what a canonical event says of who and when. Raises `msgspec.DecodeError` for none."""
    try:
        return _NAMED.decode(event)
    except msgspec.ValidationError:  # what a sender wrote into its context has another form
        return _read_loosely(event)


def ids_of(named: Named, protocol: str) -> Ids:
    """Return the ids of an event, whatever they are worth; of the same ones come the same
    identifiers."""
    user, anonymous = named.user_id, named.anonymous_id
    if user == anonymous and protocol in _REPEATING_PROTOCOLS:
        user = ""
    context = named.context
    if context is None or (context.device is None and not context.automationUserId):
        return user, anonymous
    device = context.device or _NO_DEVICE
    return user, anonymous, context.automationUserId, device.type, device.advertisingId


def time_of(timestamp: str) -> int | None:
    """Return an event's own time in milliseconds, as `parse_time_ms`; None where it has none.

    In a stream events of one second follow each other: 0.9 µs become 0.4.
    """
    if len(timestamp) == 24 and timestamp[19] == "." and timestamp[23] == "Z":
        millis = timestamp[20:23]
        second = _second_of(timestamp[:19]) if millis.isdecimal() and millis.isascii() else None
        if second is not None:
            return second + int(millis)
    return parse_time_ms(timestamp)


@lru_cache(maxsize=1024)
def _second_of(text: str) -> int | None:
    return parse_time_ms(text + ".000Z")


def previous_of(named: Named) -> str:
    """Return what an `alias` says somebody was called before; "" where that is nobody."""
    return named.previous_id if _is_somebody(named.previous_id) else ""


def identifiers_of(ids: Ids) -> tuple[Identifier, ...]:
    """Return the identifiers among the ids of an event, by rank, at most one of a kind."""
    user, anonymous, automation, type_, advertising_id = ids if len(ids) > 2 else (*ids, "", "", "")
    given = (
        Identifier("userId", user),
        Identifier("automationUserId", automation),
        Identifier("anonymousId", anonymous),
    )
    found = tuple(each for each in given if _is_somebody(each.value))
    if _is_somebody(advertising_id):
        found += (device_identifier(type_, advertising_id),)
    return found


def read_traits(event: bytes) -> dict[str, bytes]:
    """Return the traits of a canonical event, each as JSON; `null` clears one.

    Where the person can be sent messages is among them: `PUSH_TOKEN`, a `PushToken`, and
    `pushSubscription`, what a browser gave.
    """
    try:
        found = {name: bytes(value) for name, value in _TRAITS.decode(event).traits.items()}
    except msgspec.ValidationError:
        found = {}
    if b'"token"' in event or b'"subscription"' in event:
        found |= _read_addresses(event)
    return found


def _read_addresses(event: bytes) -> dict[str, bytes]:
    try:
        context = _ADDRESSES.decode(event).context
    except msgspec.ValidationError:  # a sender's own fields of these names
        return {}
    found: dict[str, bytes] = {}
    device, push = (context.device, context.push) if context else (None, None)
    if device is not None and device.token:
        found[PUSH_TOKEN] = msgspec.json.encode(PushToken(device.token, device.type))
    if push is not None and (subscription := bytes(push.subscription)) != b"null":
        found["pushSubscription"] = subscription
    return found


def device_of(event: bytes) -> str:
    """Return the device that a canonical event names, as `type:id`; "" for none.

    By its advertising id, or by its own where it has none, as phones that do not let themselves be
    followed.
    """
    try:
        context = _ADDRESSES.decode(event).context
    except msgspec.DecodeError:
        return ""
    device = context.device if context else None
    if device is None:
        return ""
    found = next((each for each in (device.advertisingId, device.id) if _is_somebody(each)), "")
    return device_identifier(device.type, found).value if found else ""


def device_identifier(type_: str, advertising_id: str) -> Identifier:
    """Return the identifier of a device. Its id is hexadecimal, so its case says nothing."""
    known = _DEVICE_TYPES.get(type_.strip().lower(), "other")
    return Identifier("device", f"{known}:{advertising_id.strip().lower()}")


def parse_identifier(text: str) -> tuple[Identifier, ...]:
    """Return what a person may mean by an id, the likeliest first: `kind:value`, or a value."""
    kind, colon, value = text.partition(":")
    exact = (Identifier(kind, value),) if colon and kind in RANKS else ()
    bare = tuple(Identifier(each, text) for each in KINDS[:-1])
    # As `device` has a type before its id, both `android:<id>` and the bare id are understood.
    devices = (text.lower(), *(f"{each}:{text.lower()}" for each in DEVICE_TYPES))
    return exact + bare + tuple(Identifier("device", each) for each in devices)


def _is_somebody(value: str) -> bool:
    if not value or len(value) > VALUE_CHARACTERS_MAX:
        return False
    return value.lower() not in _NOBODY and not _ZEROES.fullmatch(value)


def _read_loosely(event: bytes) -> Named:
    fields = _LOOSE.decode(event)
    context = _object(_decode(fields, "context"))
    device = _object(context.get("device"))
    return Named(
        timestamp=_text(_decode(fields, "timestamp")),
        user_id=_text(_decode(fields, "userId")),
        anonymous_id=_text(_decode(fields, "anonymousId")),
        previous_id=_text(_decode(fields, "previousId")),
        context=_Context(
            device=_Device(_text(device.get("type")), _text(device.get("advertisingId"))),
            automationUserId=_text(context.get("automationUserId")),
        ),
    )


def _decode(fields: dict[str, msgspec.Raw], name: str) -> Any:
    return _ANYTHING.decode(fields[name]) if name in fields else None


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
