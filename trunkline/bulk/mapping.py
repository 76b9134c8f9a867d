"""From columns to events: which field of an event each column fills. Pure.

A field is one of the event's own (`userId`, `event`, `timestamp` …) or a path in one of its objects
(`properties.revenue`, `context.device.type`). What is not said is guessed from the column's name,
and what is not known by its name becomes a property. Texts of CSV that are numbers or `true` become
that, but for ids and times; `:text` behind a field keeps them as they stand. Empty is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.json_repair import JsonError, read_json
from trunkline.kit.tracking_checks import OBJECT_FIELDS
from trunkline.model.event import JsonObject
from trunkline.model.snapshot import fold_name

SKIP = "-"  # a column that is left out
OWN_FIELDS = (
    "messageId",
    "type",
    "event",
    "name",
    "category",
    "userId",
    "anonymousId",
    "groupId",
    "previousId",
    "timestamp",
)
_KEPT_AS_TEXT = frozenset(OWN_FIELDS)
_TEXT_MARK = ":text"
_DEPTH_MAX = 8
# Folded names of columns as exports have them → the field they fill. The first found wins a field.
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "messageId": ("messageid", "insertid", "$insertid", "eventid", "uuid"),
    "type": ("type", "eventtype", "calltype"),
    "event": ("event", "eventname", "eventtext", "action"),
    "userId": ("userid", "customuserid", "customerid", "distinctid", "uid", "user"),
    "anonymousId": ("anonymousid", "deviceid", "metrixuserid", "visitorid", "anonid"),
    "groupId": ("groupid", "companyid", "accountid"),
    "previousId": ("previousid",),
    "timestamp": (
        "timestamp", "originaltimestamp", "eventtime", "occurredat", "time", "datetime",
        "eventtimestamp", "createdat", "date", "ts",
    ),
    "context.ip": ("ip", "contextip", "ipaddress"),
    "context.userAgent": ("useragent", "contextuseragent"),
}  # fmt: skip
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_WORDS = {"true": True, "false": False}


class MappingError(Exception):
    """The mapping does not fit; the message is one sentence that says how it would."""


class Target(Struct, frozen=True):
    """Where a column goes. `path` is empty for one that is left out."""

    column: str
    path: tuple[str, ...]
    as_text: bool
    is_guess: bool

    @property
    def field(self) -> str:
        """The field as it is written in a mapping."""
        own = self.path[:1] == self.path and self.path and self.path[0] in _KEPT_AS_TEXT
        mark = _TEXT_MARK if self.as_text and not own else ""
        return ".".join(self.path) + mark if self.path else SKIP


class ColumnMap(Struct, frozen=True):
    """What each column fills, and what is the same for every row: field path and its text."""

    targets: tuple[Target, ...]
    constants: tuple[tuple[tuple[str, ...], str], ...] = ()

    def find_gaps(self) -> list[str]:
        """Return what no event could do without and nothing fills, in sentences."""
        filled = {target.path[0] for target in self.targets if target.path}
        filled |= {path[0] for path, _ in self.constants}
        gaps: list[str] = []
        if not filled & {"userId", "anonymousId"}:
            gaps.append("no column fills userId or anonymousId")
        if not filled & {"event", "type"}:
            gaps.append('no column fills event; where all are one event, give --set event="Name"')
        return gaps


def map_columns(
    columns: Sequence[str], said: Mapping[str, str], constants: Iterable[tuple[str, str]] = ()
) -> ColumnMap:
    """Return what each column fills: as `said` (column → field), the others by their names.

    Raises `MappingError` for a column that is not there, a field that is none, or one filled twice.
    """
    missing = [column for column in said if column not in columns]
    if missing:
        known = ", ".join(columns[:30])
        raise MappingError(f"the file has no column {missing[0]!r}; it has {known}")
    fixed = tuple((_read_path(field), text) for field, text in constants)
    taken = {path for path, _ in fixed}
    targets: dict[str, Target] = {}
    for column, field in said.items():
        targets[column] = _said(column, field, taken)
    for column, path in _guess([c for c in columns if c not in said], taken).items():
        targets[column] = Target(column, path, path[0] in _KEPT_AS_TEXT, True)
    return ColumnMap(tuple(targets[column] for column in columns), fixed)


def _said(column: str, field: str, taken: set[tuple[str, ...]]) -> Target:
    if field == SKIP:
        return Target(column, (), False, False)
    name = field.removesuffix(_TEXT_MARK)
    path = _read_path(name)
    if path in taken:
        raise MappingError(f"{name} is filled twice; the second time by the column {column!r}")
    taken.add(path)
    as_text = name != field or path[0] in _KEPT_AS_TEXT
    return Target(column, path, as_text, False)


def _read_path(field: str) -> tuple[str, ...]:
    path = tuple(field.split("."))
    is_own = len(path) == 1 and field in (*OWN_FIELDS, *OBJECT_FIELDS)
    is_inside = 1 < len(path) <= _DEPTH_MAX and path[0] in OBJECT_FIELDS and all(path)
    if not is_own and not is_inside:
        own, objects = ", ".join(OWN_FIELDS), ", ".join(f"{name}.NAME" for name in OBJECT_FIELDS)
        raise MappingError(f"{field!r} is no field of an event; expected {own}, {objects}, or -")
    return path


def _guess(columns: Sequence[str], taken: set[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    folded = {fold_name(column): column for column in reversed(columns)}
    guesses: dict[str, tuple[str, ...]] = {}
    for field, names in _KNOWN.items():
        path = tuple(field.split("."))
        column = next((folded[name] for name in names if name in folded), None)
        if column is not None and path not in taken and column not in guesses:
            guesses[column] = path
            taken.add(path)
    for column in columns:
        if column not in guesses:
            guesses[column] = _guess_path(column, taken)
            taken.add(guesses[column])
    return guesses


def _guess_path(column: str, taken: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return where a column goes that no field is known by: its own path, or a property."""
    path = tuple(column.split("."))
    is_path = len(path) <= _DEPTH_MAX and path[0] in OBJECT_FIELDS and all(path)
    path, count = path if is_path else ("properties", column), 1
    while path in taken:
        count += 1
        path = ("properties", f"{column}_{count}")
    return path


def event_of(row: Mapping[str, Any], columns: ColumnMap) -> JsonObject:
    """Return the event that a row makes. Its type is `track` unless a column says another."""
    event: JsonObject = {}
    for path, text in columns.constants:
        _put(event, path, _read_text(text, path[0] in _KEPT_AS_TEXT, path))
    for target in columns.targets:
        value = row.get(target.column)
        if isinstance(value, str):
            value = _read_text(value, target.as_text, target.path)
        if target.path and value is not None:
            _put(event, target.path, value)
    if "type" not in event:
        event["type"] = "track"
    if event["type"] in ("identify", "group") and "traits" not in event and "properties" in event:
        event["traits"] = event.pop("properties")  # such a call has no properties
    return event


def _read_text(text: str, as_text: bool, path: tuple[str, ...]) -> Any:
    """Return what the text of a field means; None where it is empty."""
    if not text:
        return None
    if len(path) == 1 and path[0] in OBJECT_FIELDS:
        return _read_object(text)
    if as_text:
        return text
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return _WORDS.get(text.lower(), text)


def _read_object(text: str) -> Any:
    try:
        return read_json(text.encode("utf-8", "surrogateescape"))[0]
    except JsonError:
        return text  # refused as what it is: the field holds no object


def _put(event: JsonObject, path: tuple[str, ...], value: Any) -> None:
    place = event
    for name in path[:-1]:
        below: Any = place.setdefault(name, {})
        if not isinstance(below, dict):
            return  # another column holds something else there
        place = cast("JsonObject", below)
    if isinstance(value, dict) and isinstance(place.get(path[-1]), dict):
        place[path[-1]].update(value)
    else:
        place[path[-1]] = value


def read_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Read `column=field` pairs. Raises `MappingError`."""
    found: dict[str, str] = {}
    for pair in pairs:
        column, separator, field = pair.rpartition("=")
        if not separator or not column or not field:
            raise MappingError(f"{pair!r}: expected COLUMN=FIELD, say user_id=userId")
        found[column] = field
    return found


def read_mapping_file(text: bytes, name: str) -> dict[str, str]:
    """Read a mapping file: a JSON object of column and field. Raises `MappingError`."""
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MappingError(
            f'{name} is no mapping: {error}; expected JSON like {{"user_id": "userId"}}'
        ) from error
