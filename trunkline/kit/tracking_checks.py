"""The checks of the tracking contract, for each event by itself.

A check returns a `Problem`, made from a row of the error table, or None; it never raises and never
changes what came. What is tolerated is tolerated because a real library sends it: `null` and ""
for an id it does not know, numbers as ids, and `[]` where PHP means an empty object.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import Struct

from trunkline.kit.times import parse_time_ms
from trunkline.model import refusal
from trunkline.model.event import EVENT_TYPES, EventType, JsonObject
from trunkline.model.refusal import ErrorRow
from trunkline.model.snapshot import App, Key, fold_name

EVENT_BYTES_MAX = 32_768
EVENTS_MAX = 2_500
MESSAGE_ID_MAX = 100  # characters
NOT_IN_PLAN = "not in the tracking plan"

OBJECT_FIELDS = ("properties", "traits", "context", "integrations")
TIME_FIELDS = ("timestamp", "originalTimestamp", "sentAt")

_CAME_MAX = 80  # characters of a sender's value that a message repeats
_FOLDED_NAME_MAX = 200  # characters; a longer name is folded each time, not remembered


class Problem(Struct, frozen=True):
    """Why an event or a request is refused: the row of the error table, its words filled in."""

    row: ErrorRow
    message: str
    hint: str

    @property
    def code(self) -> str:
        """The code on the wire."""
        return self.row.code

    @property
    def status(self) -> int:
        """The HTTP status, where the request holds nothing else."""
        return self.row.status


class Checked(Struct):
    """What an event that passed is known by. Empty means absent."""

    type: EventType
    message_id: str
    user_id: str
    anonymous_id: str


def problem(row: ErrorRow, **values: str) -> Problem:
    """Return the problem of a row, its sentence filled in."""
    return Problem(row, row.say(**values), row.hint.format_map(values))


def describe(value: Any) -> str:
    """Return what came, as a message names it: its JSON where that is short, else its kind."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CAME_MAX else f"{text[: _CAME_MAX - 1]}…"


def read_id(value: Any) -> str | None:
    """Return an id as a string, "" where it counts as absent, None where it is none.

    Numbers become the text that JavaScript would print: 42 and 42.0 are both "42".
    """
    if value is None:
        return ""
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    return None


def check_event(event: JsonObject, path_type: str) -> Checked | Problem:
    """Judge one event. `path_type` is the type that the path names, "" in a batch."""
    get = event.get
    given: Any = path_type or get("type")
    kind = _TYPES.get(given) if type(given) is str else None
    if kind is None:
        return _explain_type(given)
    # Strings go past `read_id`: three calls less are a tenth of all checks (1.5 µs an event).
    message_id, user, anonymous = get("messageId"), get("userId"), get("anonymousId")
    if type(message_id) is not str:
        message_id = read_id(message_id)
    if type(user) is not str:
        user = read_id(user)
    if type(anonymous) is not str:
        anonymous = read_id(anonymous)
    if message_id is None or len(message_id) > MESSAGE_ID_MAX:
        return _explain_message_id(event)
    if user is None or anonymous is None:
        return _explain_user(event)
    return (
        _check_identity(event, kind, user, anonymous)
        or _check_objects(event)
        or _check_times(event)
        or Checked(kind, message_id, user, anonymous)
    )


def check_plan(event: JsonObject, app: App, key: Key) -> Problem | None:
    """Judge a track event by the app's definitions: who may send it, and whether it is known."""
    if app.unknown_events != "block" and key.type != "client":
        return None  # nothing below can refuse it; folding the name costs more than all else
    name: str = event["event"]
    definition = app.events_by_name.get(_fold(name))
    if definition is not None and definition.accept == "server" and key.type == "client":
        return problem(refusal.TRACKING_SERVER_ONLY, event=describe(name), key=describe(key.name))
    if app.unknown_events == "block" and (definition is None or definition.archived):
        return problem(refusal.TRACKING_PLAN, event=describe(name))
    return None


def notes_of(event: JsonObject, app: App) -> tuple[str, ...]:
    """Return what the trace says of a track event, where the app flags unknown ones."""
    definition = app.events_by_name.get(_fold(event["event"]))
    return (NOT_IN_PLAN,) if definition is None or definition.archived else ()


def _fold(name: str) -> str:
    return _fold_short(name) if len(name) <= _FOLDED_NAME_MAX else fold_name(name)


_fold_short = lru_cache(maxsize=4096)(fold_name)


def _check_identity(
    event: JsonObject, kind: EventType, user: str, anonymous: str
) -> Problem | None:
    if not user and not anonymous:
        return problem(refusal.TRACKING_NO_USER)
    check = _NEEDS.get(kind)
    return check(event) if check else None


def _check_objects(event: JsonObject) -> Problem | None:
    for field in OBJECT_FIELDS:
        value = event.get(field)
        # PHP writes an empty map as []; it holds nothing, so nothing is lost by taking it.
        if value is not None and type(value) is not dict and value != []:
            return _unfit(field, value, "an object")
    return None


def _check_times(event: JsonObject) -> Problem | None:
    for field in TIME_FIELDS:
        value = event.get(field)
        if value is not None and value != "" and parse_time_ms(value) is None:
            return problem(refusal.TRACKING_TIME, field=field, came=describe(value))
    return None


def _check_track(event: JsonObject) -> Problem | None:
    name = event.get("event")
    if type(name) is str and name.strip():
        return None
    if name is None or isinstance(name, str):
        return problem(refusal.TRACKING_NO_EVENT)
    return _unfit("event", name, "a string")


def _check_group(event: JsonObject) -> Problem | None:
    return _check_id(event, "groupId", refusal.TRACKING_NO_GROUP)


def _check_alias(event: JsonObject) -> Problem | None:
    if not read_id(event.get("userId")):
        return problem(refusal.TRACKING_NO_USER_ID)
    return _check_id(event, "previousId", refusal.TRACKING_NO_PREVIOUS)


def _check_id(event: JsonObject, field: str, absent: ErrorRow) -> Problem | None:
    text = read_id(event.get(field))
    if text is None:
        return _unfit(field, event[field], "a string or a number")
    return None if text else problem(absent)


_TYPES: dict[str, EventType] = {name: name for name in EVENT_TYPES}
_NEEDS: dict[str, Callable[[JsonObject], Problem | None]] = {
    "track": _check_track,
    "group": _check_group,
    "alias": _check_alias,
}


def _explain_type(came: Any) -> Problem:
    what = "missing" if came is None else describe(came)
    return problem(refusal.TRACKING_TYPE, came=what, expected=", ".join(EVENT_TYPES))


def _explain_message_id(event: JsonObject) -> Problem:
    came, text = event["messageId"], read_id(event["messageId"])
    what = describe(came) if text is None else f"{len(text)} characters long"
    return problem(refusal.TRACKING_MESSAGE_ID, came=what, limit=str(MESSAGE_ID_MAX))


def _explain_user(event: JsonObject) -> Problem:
    field = "userId" if read_id(event.get("userId")) is None else "anonymousId"
    return _unfit(field, event[field], "a string or a number")


def _unfit(field: str, came: Any, expected: str) -> Problem:
    return problem(refusal.TRACKING_FIELD, field=field, came=describe(came), expected=expected)
