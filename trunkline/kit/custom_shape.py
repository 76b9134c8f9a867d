"""Any JSON as a track event: what its metadata say of it, and how the two become one event.

The body may be whatever another system writes. What makes an event of it comes beside it, under
these names: `eventName`, and `userID` or `anonymousID`, must be there; `eventID`, `timestamp` and
`ip` may be. They stand in `_metarouter` of the body, in the header `X-Event-Metadata`, or in the
query, and a name that stands in more than one place counts in the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.protocol import Normalised
from trunkline.kit.tracking_checks import MESSAGE_ID_MAX, Problem, describe, problem, read_id
from trunkline.kit.tracking_intake import shape_record
from trunkline.model import refusal
from trunkline.model.event import JsonObject
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App

METADATA_FIELD = "_metarouter"
METADATA_HEADER = "X-Event-Metadata"
METADATA_BYTES_MAX = 4096  # without the write key; they are stored with the event

_HEADER = f"the header {METADATA_HEADER}"
_NAMES = ("eventName", "eventID", "timestamp", "anonymousID", "userID", "ip")
_TEXTS = ("eventName", "ip")  # the others may be numbers
_WHOLE_BODY = "body"  # the property that holds a body which is no object

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def read_header(text: str) -> JsonObject | Problem:
    """Return the metadata of the header, {} where it is empty. Wrapped ones are unwrapped."""
    if not text.strip():
        return {}
    try:
        value, _ = read_json(text.encode("utf-8", "surrogatepass"))
    except JsonError as error:
        return problem(refusal.CUSTOM_METADATA, where=_HEADER, came=f"unreadable ({error})")
    if isinstance(value, dict):
        value = cast("JsonObject", value).get(METADATA_FIELD, cast("JsonObject", value))
    return _as_metadata(value, _HEADER)


def read_field(value: Any) -> JsonObject | Problem:
    """Return the metadata that a body carries, {} where it carries none."""
    if not isinstance(value, dict):
        return {}
    found = cast("JsonObject", value).get(METADATA_FIELD)
    return {} if found is None else _as_metadata(found, METADATA_FIELD)


def merge_metadata(*places: Mapping[str, Any]) -> JsonObject:
    """Return the metadata that were given, the first place's before the others', and no key."""
    merged: JsonObject = {}
    for name in _NAMES:
        given = (place.get(name) for place in places)
        value = next((each for each in given if each is not None and each != ""), None)
        if value is not None:
            merged[name] = value
    return merged


def check_metadata(metadata: JsonObject) -> Problem | None:
    """Judge the names that the checks of an event do not know under this spelling."""
    for field, value in metadata.items():
        is_text = isinstance(value, str)
        if not is_text and (field in _TEXTS or read_id(value) is None):
            return _unfit(field, describe(value), "a string")
    if not metadata.get("eventName", "").strip():
        return problem(refusal.CUSTOM_NO_NAME)
    if "userID" not in metadata and "anonymousID" not in metadata:
        return problem(refusal.CUSTOM_NO_USER)
    return _check_sizes(metadata)


def _check_sizes(metadata: JsonObject) -> Problem | None:
    length = len(read_id(metadata.get("eventID")) or "")
    if length > MESSAGE_ID_MAX:
        return _unfit("eventID", f"{length} characters long", f"at most {MESSAGE_ID_MAX}")
    size = len(_encode(metadata))
    if size > METADATA_BYTES_MAX:
        limit = str(METADATA_BYTES_MAX)
        return problem(refusal.TRACKING_TOO_LARGE, what="the metadata", size=str(size), limit=limit)
    return None


def build_event(metadata: JsonObject, value: Any) -> JsonObject:
    """Return the track event that a body and its metadata are."""
    event: JsonObject = {
        "type": "track",
        "event": metadata.get("eventName"),
        "messageId": metadata.get("eventID"),
        "timestamp": metadata.get("timestamp"),
        "anonymousId": metadata.get("anonymousID"),
        "userId": metadata.get("userID"),
        "properties": _properties_of(value),
    }
    if "ip" in metadata:
        event["context"] = {"ip": metadata["ip"]}
    return event


def hide_keys(value: Any, body: bytes) -> bytes:
    """Return the bytes of a body without the write keys that it carries for us."""
    if not isinstance(value, dict):
        return body
    fields = cast("JsonObject", value)
    inner = fields.get(METADATA_FIELD)
    inside = cast("JsonObject", inner) if isinstance(inner, dict) else {}
    if "writeKey" not in fields and "writeKey" not in inside:
        return body
    shown = {name: item for name, item in fields.items() if name != "writeKey"}
    if inside:
        shown[METADATA_FIELD] = {n: item for n, item in inside.items() if n != "writeKey"}
    return _encode(shown)


def shape_custom(record: AcceptedEvent, app: App | None) -> Normalised:
    """Return the canonical event of a record: its body as it came, its metadata as envelope."""
    event = build_event(_decode(record.envelope), _decode(record.body))
    whole = msgspec.structs.replace(record, body=_encode(event), envelope=b"")
    return shape_record(whole, app)


def _properties_of(value: Any) -> JsonObject:
    if not isinstance(value, dict):
        return {_WHOLE_BODY: value}
    fields = cast("JsonObject", value)
    return {n: item for n, item in fields.items() if n not in (METADATA_FIELD, "writeKey")}


def _as_metadata(value: Any, where: str) -> JsonObject | Problem:
    if isinstance(value, dict):
        return cast("JsonObject", value)
    return problem(refusal.CUSTOM_METADATA, where=where, came=describe(value))


def _unfit(name: str, came: str, expected: str) -> Problem:
    field = f"{name} of the metadata"
    return problem(refusal.TRACKING_FIELD, field=field, came=came, expected=expected)
