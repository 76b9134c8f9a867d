"""Reading a batch so that one unreadable event costs the others nothing.

The batch is cut into its events without decoding them, and each event is decoded by itself. What
the fast decoder cannot take goes to the second one (`json_repair`), event by event. The envelope,
what stood beside the events, is kept once as JSON bytes that every event of the batch shares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from trunkline.kit.json_repair import (
    DEPTH_MAX,
    JsonError,
    decode_repaired,
    find_too_large,
    is_too_deep,
)
from trunkline.kit.times import parse_time_ms
from trunkline.kit.tracking_checks import EVENT_BYTES_MAX, Problem, describe, problem
from trunkline.model import refusal
from trunkline.model.event import JsonObject

T = TypeVar("T")

# Each event is stored with its envelope, so a small body could otherwise become gigabytes in the
# log: 2,500 events with this one are 20 MB at most. Java's and Go's have 200 bytes.
ENVELOPE_BYTES_MAX = 8192

# An integer beyond a double has at least 309 digits, so five of its bytes in a row are seen when
# looking at each 60th: 0.2 µs, where a search for the digits took 6. The fast decoder takes it.
_STRIDE = 60
_LONG_DIGITS = re.compile(rb"[0-9]{5}")

_BOM = b"\xef\xbb\xbf"
_WRITE_KEY = re.compile(rb'("writeKey"\s*:\s*)"[^"\\]*"')
_MASKED_KEY = rb'\1"[redacted]"'
# Python writes NaN and Infinity, which JSON has not. With a number beyond any double in their place
# the batch can be cut open, and only their events are refused.
_STAND_IN = b"1e123456789"
# Both patterns run through all that is well, then match one fault or the end: no position is
# looked at twice, whatever came.
_NO_NUMBER = re.compile(
    rb"""((?:[^"NI]++|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|N(?!aN)|I(?!nfinity))*+)"""
    rb"(?:(NaN|Infinity)|\Z)",
    re.DOTALL,
)
_HALF_PAIR = re.compile(
    rb"((?:[^\\]++|\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}))*+)"
    rb"(?:(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\Z)",
    re.DOTALL,
)
_MENDED_MAX = 10_000  # faults of one body; more are not mended, and the body is refused
# A larger body is refused in the fast decoder's words: the second one takes a second for 4 MiB.
_EXPLAINED_BYTES_MAX = 512 * 1024
# The fast decoder gives a batch up at some 1,000 levels. Cut here, it can be cut open, and what is
# left is too deep for an event all the same.
_LEVELS_LEFT = 4 * DEPTH_MAX
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)


class Batch(Struct):
    """A batch cut open. `envelope` is b"" where nothing stood beside the events."""

    events: list[Raw]
    write_key: str
    envelope: bytes
    notes: tuple[str, ...]


class Unreadable(Struct):
    """An event that cannot be kept, and what could be read of it: its key and id, say."""

    problem: Problem
    event: JsonObject


class _Wire(Struct, rename="camel"):
    batch: list[Raw] | None = None
    write_key: Raw = Raw()
    sent_at: Raw = Raw()
    context: Raw = Raw()
    integrations: Raw = Raw()


class _Label(Struct, rename="camel"):
    message_id: str = ""
    write_key: str | None = None


_decode = msgspec.json.Decoder().decode
_decode_label = msgspec.json.Decoder(_Label).decode
_decode_wire = msgspec.json.Decoder(_Wire).decode
_encode = msgspec.json.Encoder().encode


def read_event(data: bytes) -> tuple[JsonObject, bytes] | Unreadable:
    """Return an event and its bytes, clean ones where the fast decoder could not take them."""
    if len(data) > EVENT_BYTES_MAX:
        return _read_too_large(data)
    try:
        event, data = _read_value(data)
    except JsonError as error:
        value = error.value
        return Unreadable(
            explain_json(error), cast("JsonObject", value) if type(value) is dict else {}
        )
    if type(event) is not dict:
        return Unreadable(problem(refusal.TRACKING_NOT_OBJECT, came=describe(event)), {})
    return cast("JsonObject", event), data


def _read_too_large(data: bytes) -> Unreadable:
    size, limit = str(len(data)), str(EVENT_BYTES_MAX)
    found = problem(refusal.TRACKING_TOO_LARGE, what="the event", size=size, limit=limit)
    try:
        label = _decode_label(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Unreadable(found, {})
    return Unreadable(found, {"messageId": label.message_id, "writeKey": label.write_key})


def _read_value(data: bytes) -> tuple[Any, bytes]:
    if is_too_deep(data) or _LONG_DIGITS.search(data[::_STRIDE]):
        return decode_repaired(data)
    try:
        return _decode(data), data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return decode_repaired(data)


def explain_json(error: JsonError) -> Problem:
    """Return the row of the error table for what the second decoder could not take."""
    if error.code == "too_deep":
        return problem(refusal.TRACKING_TOO_DEEP, limit=str(DEPTH_MAX))
    what = str(error).removeprefix("not JSON: ").partition("; ")[0]
    if error.code == "invalid_number":
        stand_in = _STAND_IN.decode()
        what = what.replace(f"the number {stand_in}", "NaN or Infinity")
        what = what.replace(f"the number -{stand_in}", "-Infinity")
        field = find_too_large(error.value)
        if field:
            what = f"in {field}, {what}"
        return problem(refusal.TRACKING_NUMBER, problem=what)
    return problem(refusal.TRACKING_NOT_JSON, problem=what)


def hide_write_key(event: JsonObject, body: bytes) -> bytes:
    """Return the bytes of an event that carries a write key, without it: a key never travels."""
    masked, count = _WRITE_KEY.subn(_MASKED_KEY, body)
    if count:
        return masked
    # Spelled with escapes, or no string: rare enough to write the event anew.
    return _encode({name: value for name, value in event.items() if name != "writeKey"})


def read_batch(body: bytes) -> Batch | Problem:
    """Cut a batch into its events; a problem only where the envelope cannot be read."""
    try:
        wire = _decode_wire(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = decode_again(body, _decode_wire, _explain_batch)
        if isinstance(found, Problem):
            return found
        wire = found
    if wire.batch is None:
        return problem(refusal.TRACKING_ENVELOPE, came="an object without a batch")
    return _read_envelope(wire, wire.batch)


def decode_again(
    body: bytes, decode: Callable[[bytes], T], explain: Callable[[Any], Problem]
) -> T | Problem:
    """Decode what the fast decoder refused: mended, so that only the events at fault fail.

    `decode` cuts a body open and raises `msgspec.MsgspecError`; `explain` says what is wrong with
    a value that is JSON and has not its shape.
    """
    mended = body.removeprefix(_BOM)
    if b"NaN" in mended or b"Infinity" in mended:
        mended = _NO_NUMBER.sub(_put_number, mended, _MENDED_MAX)
    if b"\\ud" in mended or b"\\uD" in mended:
        mended = _HALF_PAIR.sub(_put_replacement, mended, _MENDED_MAX)
    try:
        return decode(mended)
    except RecursionError:
        return _decode_deep(mended, decode)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if len(body) > _EXPLAINED_BYTES_MAX:
            return problem(refusal.TRACKING_NOT_JSON, problem=str(error))
    try:
        value, clean = decode_repaired(body)
    except JsonError as error:
        return explain_json(error)
    try:
        return decode(clean)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return explain(value)


def _decode_deep(body: bytes, decode: Callable[[bytes], T]) -> T | Problem:
    """Decode a batch of which an event nests too deep, so that only this one is refused."""
    try:
        if len(body) <= _EXPLAINED_BYTES_MAX:  # 0.2 s for that much of nothing but brackets
            return decode(_cut_levels(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # no JSON either: it is told of the first fault
    return problem(refusal.TRACKING_TOO_DEEP, limit=str(DEPTH_MAX))


def _cut_levels(body: bytes) -> bytes:
    """Put a number in the place of everything below `_LEVELS_LEFT`."""
    kept: list[bytes] = []
    depth = at = 0
    for token in _BRACKETS.finditer(body):
        start = token.start()
        if body[start] in b"[{":
            depth += 1
            if depth == _LEVELS_LEFT + 1:
                kept += [body[at:start], b"0"]
        elif body[start] in b"]}":
            if depth == _LEVELS_LEFT + 1:
                at = token.end()
            depth -= 1
    return b"".join([*kept, body[at:]])


def _explain_batch(value: Any) -> Problem:
    return problem(refusal.TRACKING_ENVELOPE, came=_describe_batch(value))


def _put_number(match: re.Match[bytes]) -> bytes:
    return match[1] + _STAND_IN if match[2] else match[1]


def _put_replacement(match: re.Match[bytes]) -> bytes:
    return match[1] + b"\\ufffd" if match[2] else match[1]


def _describe_batch(value: Any) -> str:
    if not isinstance(value, dict):
        return describe(value)
    batch = cast("JsonObject", value).get("batch")
    return "an object without a batch" if batch is None else f"a batch that is {describe(batch)}"


def _read_envelope(wire: _Wire, events: list[Raw]) -> Batch | Problem:
    notes: list[str] = []
    fields: JsonObject = {}
    _keep(fields, notes, "sentAt", _read_field(wire.sent_at), _is_time)
    _keep(fields, notes, "context", _read_field(wire.context), _is_object)
    _keep(fields, notes, "integrations", _read_field(wire.integrations), _is_object)
    envelope = _encode(fields) if fields else b""
    if len(envelope) > ENVELOPE_BYTES_MAX:
        return problem(
            refusal.TRACKING_TOO_LARGE,
            what="what stands beside the batch",
            size=str(len(envelope)),
            limit=str(ENVELOPE_BYTES_MAX),
        )
    write_key = _read_field(wire.write_key)
    return Batch(events, write_key if isinstance(write_key, str) else "", envelope, tuple(notes))


_UNREADABLE = object()


def _read_field(raw: Raw) -> Any:
    data = bytes(raw)
    if not data:
        return None
    try:
        return _read_value(data)[0]
    except JsonError:
        return _UNREADABLE


def _keep(
    fields: JsonObject, notes: list[str], name: str, value: Any, fits: Callable[[Any], bool]
) -> None:
    """Put a field of the batch into its envelope; what is unfit costs no event its acceptance."""
    if value is None or value == "" or value == []:
        return
    if fits(value):
        fields[name] = value
    else:
        notes.append(f"{name} of the batch could not be read and was left out")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_time(value: Any) -> bool:
    return parse_time_ms(value) is not None
