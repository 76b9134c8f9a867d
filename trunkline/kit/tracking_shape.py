"""From a tracking event as it was sent to the canonical event.

Pure: the same record gives the same event whenever it is read again. Every field that fits the
canonical event is taken out of what was sent; what is left stays at the top level, as the event
contract has it for this API. Integers beyond 64 bits stay exact in an event's own fields; what
decides where an event goes (`integrations`, consent) is narrowed, since MessagePack carries it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from trunkline.kit.protocol import Normalised
from trunkline.kit.times import HOUR_MS, format_ms, parse_time_ms
from trunkline.kit.tracking_checks import read_id
from trunkline.model.event import Event, EventType, JsonObject, Source
from trunkline.model.record import AcceptedEvent

# Ours to say, whatever a sender says: what is here never comes from a body. `writeKey` is a secret.
RESERVED_FIELDS = ("type", "app", "source", "receivedAt", "historical", "writeKey")

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1

_decode = msgspec.json.Decoder().decode


def shape_event(record: AcceptedEvent, clock_shift_hours_max: float) -> Normalised:
    """Return the canonical event of a record whose body passed the checks."""
    sent: JsonObject = _decode(record.body)
    envelope = _read_envelope(record.envelope)
    for name in RESERVED_FIELDS:
        sent.pop(name, None)
    sent.pop("messageId", None)
    context = _take_context(sent, envelope, record)
    times, notes = _take_times(sent, envelope, record, clock_shift_hours_max)
    event = Event(
        message_id=record.message_id,
        type=record.type,
        event=_take_text(sent, "event"),
        name=_take_text(sent, "name"),
        category=_take_text(sent, "category"),
        user_id=_take_text(sent, "userId"),
        anonymous_id=_take_text(sent, "anonymousId"),
        timestamp=times[0],
        original_timestamp=times[1],
        sent_at=times[2],
        received_at=format_ms(record.received_ms),
        properties=_take_object(sent, "properties"),
        traits=_take_traits(sent, context, cast("EventType", record.type)),
        context=context or UNSET,
        integrations=_take_integrations(sent, envelope),
        group_id=_take_text(sent, "groupId"),
        previous_id=_take_text(sent, "previousId"),
        app=record.app,
        source=Source(protocol=record.protocol, key=record.key),
    )
    extra = {name: value for name, value in sent.items() if value is not None}
    return Normalised(event, extra or None, notes)


@lru_cache(maxsize=64)  # one batch's events come one after another; its envelope is read once
def _read_envelope(envelope: bytes) -> JsonObject:
    return _decode(envelope) if envelope else {}


def _take_text(sent: JsonObject, name: str) -> str | UnsetType:
    """Take a field that is text; what is neither text nor number stays among the unknown ones."""
    value = sent.get(name)
    if value is None:  # most fields of most events
        return UNSET
    text = read_id(value)
    if text is None:
        return UNSET
    del sent[name]
    return text or UNSET


def _take_object(sent: JsonObject, name: str) -> JsonObject | UnsetType:
    value = sent.pop(name, None)
    return cast("JsonObject", value) if isinstance(value, dict) else UNSET


def _take_context(sent: JsonObject, envelope: JsonObject, record: AcceptedEvent) -> JsonObject:
    own = _take_object(sent, "context") or {}
    shared = envelope.get("context")
    context = _merge_context(shared, own) if shared else own
    if record.is_client or context.get("direct") is True:
        if not context.get("ip") and record.address:
            context["ip"] = record.address
        if not context.get("userAgent") and record.user_agent:
            context["userAgent"] = record.user_agent
    if "consent" in context:
        context["consent"] = _narrow(context["consent"])
    return context


def _merge_context(shared: JsonObject, own: JsonObject) -> JsonObject:
    """Merge the batch's context under the event's own, whose `library` stays whole.

    Merged field by field, one library's name would stand beside another one's version.
    """
    merged = _merge(shared, own)
    if own.get("library") is not None:
        merged["library"] = own["library"]
    return merged


def _merge(under: JsonObject, over: JsonObject) -> JsonObject:
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[name] = _merge(cast("JsonObject", below), cast("JsonObject", value))
        else:
            merged[name] = value
    return merged


def _take_traits(sent: JsonObject, context: JsonObject, kind: EventType) -> JsonObject | UnsetType:
    """Take the traits, with the user's from `context.traits` under them.

    A group's traits are the group's: the user's would give a company a first name.
    """
    own = _take_object(sent, "traits")
    hoisted = context.get("traits")
    if kind == "group" or not isinstance(hoisted, dict) or not hoisted:
        return own
    return {**cast("JsonObject", hoisted), **(own or {})}


def _take_integrations(sent: JsonObject, envelope: JsonObject) -> JsonObject | UnsetType:
    own = _take_object(sent, "integrations")
    shared: JsonObject | None = envelope.get("integrations")
    merged = {**shared, **(own or {})} if shared else own
    return _narrow(merged) if merged else merged


def _take_times(
    sent: JsonObject, envelope: JsonObject, record: AcceptedEvent, shift_hours_max: float
) -> tuple[tuple[str, str | UnsetType, str | UnsetType], tuple[str, ...]]:
    """Return timestamp, originalTimestamp, sentAt, and what the trace says of the correction.

    `timestamp = receivedAt − (sentAt − originalTimestamp)`, where the client's `timestamp` is the
    original one: Rudder's library for Node always writes `originalTimestamp`, the time of the call,
    and `timestamp` only where its user said when it happened. The batch's `sentAt` goes before the
    event's: it was written last, when the batch left. What was imported keeps its own time, and
    what was refused at first has the time that it had then.
    """
    stamped, original = _take_time(sent, "timestamp"), _take_time(sent, "originalTimestamp")
    own_sent = _take_time(sent, "sentAt")
    shared_sent = parse_time_ms(envelope.get("sentAt"))
    sent_ms = own_sent if shared_sent is None else shared_sent
    original = original if stamped is None else stamped
    left_ms = None if record.historical else sent_ms
    at, notes = _correct(original, left_ms, record.came_ms, shift_hours_max)
    return (format_ms(at), _format(original), _format(sent_ms)), notes


def _correct(
    original: int | None, sent_ms: int | None, received_ms: int, shift_hours_max: float
) -> tuple[int, tuple[str, ...]]:
    if original is None:
        return received_ms, ()
    if sent_ms is None:
        return original, ()
    shift = received_ms - sent_ms
    if abs(shift) <= shift_hours_max * HOUR_MS:
        return original + shift, ()
    hours = shift / HOUR_MS
    note = f"sentAt is {hours:+.1f} h off; the limit is {shift_hours_max:g} h: time not corrected"
    return original, (note,)


def _take_time(sent: JsonObject, name: str) -> int | None:
    value: Any = sent.pop(name, None)
    return None if value is None else parse_time_ms(value)


def _format(ms: int | None) -> str | UnsetType:
    return UNSET if ms is None else format_ms(ms)


def _narrow(value: Any) -> Any:
    """Return a value with integers beyond 64 bits as doubles: MessagePack has no others.

    Nested as deep as the checks let a body be, and never beyond a double.
    """
    if isinstance(value, dict):
        pairs = cast("JsonObject", value)
        return {name: _narrow(item) for name, item in pairs.items()}
    if isinstance(value, list):
        return [_narrow(item) for item in cast("list[Any]", value)]
    if isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        return float(value)
    return value
