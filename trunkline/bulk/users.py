"""Rows that are users: what each says of a person, as a `user` message of the REST API. Pure.

A row is one of columns, mapped, or a JSON object with the fields of a `user` message. It needs one
of the three ids; `userId` (or a bare `id`) counts as customUserId, `anonymousId` as metrixUserId.
What is no field of a user is an attribute of the operator's own. Only what is given changes;
`null` clears a field, an empty cell of a table says nothing. A row without a `time` speaks of the
moment in which it is taken in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.bulk.mapping import ColumnMap, fill
from trunkline.bulk.rows import Fault
from trunkline.kit.import_terms import USER_IDS, USER_TRAITS
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.times import parse_time_ms
from trunkline.kit.tracking_checks import describe
from trunkline.model.event import EVENT_TYPES, JsonObject

_encode = msgspec.json.Encoder().encode
_SHOWN_MAX = 4096
_OTHER_NAMES = {"userId": "customUserId", "anonymousId": "metrixUserId", "phone": "phoneNumber"}
_ATTRIBUTES = "customAttributes"
_TIMES = ("time", "updatedAt", "timestamp")
_ABSENT: tuple[Any, ...] = (None, "", [])


class Person(Struct):
    """A row that was read: the ids, the fields of the message, and the row's own bytes."""

    ids: JsonObject
    fields: JsonObject
    time: Any
    original: bytes

    @property
    def has_time(self) -> bool:
        """Whether the row says when it was true."""
        return self.time is not None


def read_person(content: bytes | Mapping[str, Any], columns: ColumnMap | None) -> Person | Fault:
    """Read a row; a fault where it is none of a user."""
    if not isinstance(content, bytes):
        assert columns is not None
        try:
            return _sort_out(fill(content, columns), _encode(content))
        except UnicodeEncodeError:
            return Fault("invalid_text", "not UTF-8; save the file as UTF-8", str(content))
    shown = content[:_SHOWN_MAX].decode("utf-8", "replace")
    try:
        value, _ = read_json(content)
    except JsonError as error:
        return Fault("malformed_json", f"the line cannot be read: {error}", shown)
    if not isinstance(value, dict):
        came = describe(value)
        return Fault("malformed_json", f"the line is {came}; expected an object of a user", shown)
    return _sort_out(cast("JsonObject", value), content)


def _sort_out(row: JsonObject, original: bytes) -> Person | Fault:
    kind = row.get("type")
    if kind in EVENT_TYPES:
        shown = original[:_SHOWN_MAX].decode("utf-8", "replace")
        return Fault("not_a_user", f"an event ({kind}), no user; import it as events", shown)
    if kind == "user":
        del row["type"]
    for other, name in _OTHER_NAMES.items():
        if other in row:
            value = row.pop(other)
            row.setdefault(name, value)
    ids = {name: row.pop(name) for name in USER_IDS if row.get(name) not in _ABSENT}
    if not ids and row.get("id") not in _ABSENT:
        ids = {"customUserId": row.pop("id")}
    times = [row.pop(name) for name in _TIMES if row.get(name) not in _ABSENT]
    fields = {name: _fit(name, row.pop(name)) for name in USER_TRAITS if name in row}
    given = row.pop(_ATTRIBUTES, None)
    if given in _ABSENT or isinstance(given, dict):
        given = {**row, **cast("JsonObject", given or {})}
    if given:
        fields[_ATTRIBUTES] = given  # what is no object is refused as what it is
    return Person(ids, fields, times[0] if times else None, original)


def _fit(name: str, value: Any) -> Any:
    """Return a birthday in milliseconds where an export wrote it as a date; all else as it is."""
    if name != "birthday" or not isinstance(value, str):
        return value
    if value.lstrip("-").isdigit():
        return int(value) if len(value) <= 16 else value
    ms = parse_time_ms(value)
    return value if ms is None else ms


def user_request(person: Person, message_id: str, received_ms: int) -> bytes:
    """Return the body of a request that says it, under an id."""
    time = received_ms if person.time is None else person.time
    message = {**person.fields, "type": "user", "id": message_id, "time": time}
    return _encode({**person.ids, "messages": [message]})
