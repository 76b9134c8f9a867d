"""From a REST message as it was sent to the canonical event.

Pure: the same record gives the same event whenever it is read again. A message of a user's profile
or of a push address becomes `identify`, everything that happened becomes `track`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from trunkline.kit.protocol import Normalised
from trunkline.kit.rest_batch import choose_user
from trunkline.kit.rest_checks import USER_TEXTS, name_event
from trunkline.kit.times import HOUR_MS, format_ms, parse_time_ms
from trunkline.kit.tracking_checks import read_id
from trunkline.model.event import Event, JsonObject, Source
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App

TIME_MIN_MS = 946_684_800_000  # 2000-01-01
AHEAD_MAX_MS = 24 * HOUR_MS

_SYSTEM_NAMES = ("event", "action")

_decode = msgspec.json.Decoder().decode


class _Shape:
    """One message on its way: what is left of it, and what it has become so far."""

    def __init__(self, record: AcceptedEvent, app: App | None) -> None:
        self.record = record
        self.app = app
        self.rest: JsonObject = _decode(record.body)
        self.envelope = _read_envelope(record.envelope)
        self.context = _make_context(self.envelope, record)
        self.notes: list[str] = []
        self.kind: str = self.rest["type"]

    def finish(self) -> Normalised:
        """Return the event, and what its trace says."""
        name, slug, properties, traits = UNSET, UNSET, {}, {}
        if self.record.type == "track":
            name, slug, properties = self._take_happening()
        else:
            traits = self._take_profile()
        time, original = self._take_times()
        for field in ("type", "id"):
            self.rest.pop(field)
        unknown = {**self.envelope.get("more", {}), **_present(self.rest)}
        ids: dict[str, str] = self.envelope["ids"]
        event = Event(
            message_id=self.record.message_id,
            type=self.record.type,
            event=name,
            user_id=choose_user(ids),
            anonymous_id=ids.get("metrixUserId", UNSET),
            timestamp=time,
            original_timestamp=original,
            received_at=format_ms(self.record.received_ms),
            properties={**unknown, **properties} or UNSET,
            traits=traits or UNSET,
            context=self.context or UNSET,
            app=self.record.app,
            source=Source(protocol=self.record.protocol, key=self.record.key, slug=slug),
        )
        return Normalised(event, notes=tuple(self.notes))

    def _take_times(self) -> tuple[str, str]:
        received = self.record.came_ms
        given = parse_time_ms(self.rest.pop("time"))
        if given is not None and TIME_MIN_MS <= given <= received + AHEAD_MAX_MS:
            return format_ms(given), format_ms(given)
        # A phone whose clock was lost must not cost its owner the event.
        self.notes.append("time is before 2000 or over 24 h ahead: the time of receipt stands")
        return format_ms(received), format_ms(received if given is None else given)

    def _take_happening(self) -> tuple[str, str | UnsetType, JsonObject]:
        """Take what an event is made of: its name, its slug, its properties."""
        named = name_event(self.rest, self.app)
        if named.note:
            self.notes.append(named.note)
        if self.kind == "systemEvent":
            self._drop_system_names(named.name)
        for field in ("name", "customName"):
            self.rest.pop(field, None)
        properties = _take_object(self.rest, "attributes")
        if self.kind in ("revenue", "businessEvent"):
            properties.update(self._take_amount())
        slug = named.definition.slug if named.definition else UNSET
        return named.name, slug, properties

    def _drop_system_names(self, name: str) -> None:
        for field in _SYSTEM_NAMES:
            if self.rest.get(field) in (name, "track"):
                self.rest.pop(field)

    def _take_amount(self) -> JsonObject:
        amount = self.rest.pop("revenue", None)
        currency = self.rest.pop("currency", None)
        order = read_id(self.rest.pop("orderId", None))
        taken: JsonObject = {} if amount is None else {"revenue": amount}
        if amount is not None and not currency and self.app is not None:
            currency = self.app.currency
            self.notes.append(f"no currency came: it is the app's default, {currency}")
        if currency:
            taken["currency"] = currency
        if order:
            taken["order_id"] = order
        return taken

    def _take_profile(self) -> JsonObject:
        """Take a user's traits, or put a push address into the context."""
        if self.kind == "pushToken":
            self._put_token()
            return {}
        if self.kind == "pushSubscription":
            push = {"subscription": self.rest.pop("subscription")}
            status = self.rest.pop("status", None)
            self.context["push"] = push if status is None else {**push, "status": status}
            return {}
        traits = _take_object(self.rest, "customAttributes")
        phone = self.rest.pop("phone", UNSET)
        if phone is not UNSET:
            self.rest.setdefault("phoneNumber", phone)
        for field in (*USER_TEXTS, "birthday"):
            if field in self.rest:
                traits[field] = self.rest.pop(field)  # null too: it clears the trait
        return traits

    def _put_token(self) -> None:
        device = {**self.context.get("device", {}), "token": self.rest.pop("token")}
        platform = self.rest.pop("platform", None) or "android"
        device.setdefault("type", platform)
        self.context["device"] = device


def shape_message(record: AcceptedEvent, app: App | None) -> Normalised:
    """Return the canonical event of a record whose body passed the checks."""
    return _Shape(record, app).finish()


@lru_cache(maxsize=64)  # one request's messages come one after another; it is read, never changed
def _read_envelope(envelope: bytes) -> JsonObject:
    return _decode(envelope)


def _make_context(envelope: JsonObject, record: AcceptedEvent) -> JsonObject:
    """Return the context: what `metaData` says, and for a Client key what the request says."""
    context = _take_meta(dict(envelope.get("metaData", {})))
    if record.is_client and record.address:
        context.setdefault("ip", record.address)
    if record.is_client and record.user_agent:
        context.setdefault("userAgent", record.user_agent)
    if "sdk" in envelope:
        context["library"] = {"name": "metrix", "version": envelope["sdk"]}
    ids: JsonObject = envelope["ids"]
    if len(ids) > 1 and "automationUserId" in ids:
        context["automationUserId"] = ids["automationUserId"]
    return context


def _take_meta(meta: JsonObject) -> JsonObject:
    """Return a context of what fits one; the others stay together under `metaData`."""
    fit = {name: meta.pop(name) for name in [*meta] if name in _META and _META[name](meta[name])}
    others = _present(meta)
    return {**fit, "metaData": others} if others else fit


def _take_object(message: JsonObject, name: str) -> JsonObject:
    value = message.pop(name, None)
    return dict(cast("JsonObject", value)) if isinstance(value, dict) else {}


def _present(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ip_address(value))
    except ValueError:
        return False


_META: dict[str, Callable[[Any], bool]] = {
    "device": _is_object,
    "app": _is_object,
    "browser": _is_object,
    "location": _is_object,
    "ip": _is_address,
    "userAgent": _is_text,
}
