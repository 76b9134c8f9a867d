"""From columns to events and users: which field of a row each column fills. Pure.

A field is one of the row's own (`userId`, `event`, `timestamp` …) or a path in one of its objects
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

from trunkline.kit.import_terms import (
    EVENT_FIELDS,
    SKIP,
    TEXT_MARK,
    USER_FIELDS,
    USER_IDS,
    MappingError,
    RowFields,
)
from trunkline.kit.json_repair import JsonError, read_json
from trunkline.model.event import JsonObject
from trunkline.model.snapshot import fold_name

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
_WORDS = {"true": True, "false": False}


class Target(Struct, frozen=True):
    """Where a column goes. `path` is empty for one that is left out."""

    column: str
    path: tuple[str, ...]
    as_text: bool
    is_guess: bool

    @property
    def field(self) -> str:
        """The field as it is written in a mapping."""
        mark = TEXT_MARK if self.as_text and len(self.path) > 1 else ""
        return ".".join(self.path) + mark if self.path else SKIP


class ColumnMap(Struct, frozen=True):
    """What each column fills, and what is the same for every row: field path and its text."""

    targets: tuple[Target, ...]
    constants: tuple[tuple[tuple[str, ...], str], ...] = ()
    fields: RowFields = EVENT_FIELDS

    def find_gaps(self, setting: str = '--set event="Name"') -> list[str]:
        """Return what no row could do without and nothing fills, in sentences.

        `setting` is how whoever reads them gives all rows one event.
        """
        filled = {target.path[0] for target in self.targets if target.path}
        filled |= {path[0] for path, _ in self.constants}
        if self.fields is USER_FIELDS:
            return [] if filled & {*USER_IDS} else [f"no column fills one of {', '.join(USER_IDS)}"]
        gaps: list[str] = []
        if not filled & {"userId", "anonymousId"}:
            gaps.append("no column fills userId or anonymousId")
        if not filled & {"event", "type"}:
            gaps.append(f"no column fills event; where all are one event, give {setting}")
        return gaps


def map_columns(
    columns: Sequence[str],
    said: Mapping[str, str],
    constants: Iterable[tuple[str, str]] = (),
    fields: RowFields = EVENT_FIELDS,
) -> ColumnMap:
    """Return what each column fills: as `said` (column → field), the others by their names.

    Raises `MappingError` for a column that is not there, a field that is none, or one filled twice.
    """
    missing = [column for column in said if column not in columns]
    if missing:
        known = ", ".join(columns[:30])
        raise MappingError(f"the file has no column {missing[0]!r}; it has {known}")
    fixed = tuple((fields.read_path(field), text) for field, text in constants)
    taken = {path for path, _ in fixed}
    targets: dict[str, Target] = {}
    for column, field in said.items():
        targets[column] = _said(column, field, taken, fields)
    for column, path in _guess([c for c in columns if c not in said], taken, fields).items():
        targets[column] = Target(column, path, path[0] in fields.own, True)
    return ColumnMap(tuple(targets[column] for column in columns), fixed, fields)


def _said(column: str, field: str, taken: set[tuple[str, ...]], fields: RowFields) -> Target:
    if field == SKIP:
        return Target(column, (), False, False)
    name = field.removesuffix(TEXT_MARK)
    path = fields.read_path(name)
    if path in taken:
        raise MappingError(f"{name} is filled twice; the second time by the column {column!r}")
    taken.add(path)
    as_text = name != field or path[0] in fields.own
    return Target(column, path, as_text, False)


def _guess(
    columns: Sequence[str], taken: set[tuple[str, ...]], fields: RowFields
) -> dict[str, tuple[str, ...]]:
    folded = {fold_name(column): column for column in reversed(columns)}
    guesses: dict[str, tuple[str, ...]] = {}
    for field, names in fields.known.items():
        path = tuple(field.split("."))
        column = next((folded[name] for name in names if name in folded), None)
        if column is not None and path not in taken and column not in guesses:
            guesses[column] = path
            taken.add(path)
    for column in columns:
        if column not in guesses:
            guesses[column] = _guess_other(column, taken, fields)
            taken.add(guesses[column])
    return guesses


def _guess_other(column: str, taken: set[tuple[str, ...]], fields: RowFields) -> tuple[str, ...]:
    """Return where a column goes that no field is known by: its own path, or a property."""
    path, count = fields.guess_path(column), 1
    while path in taken:
        count += 1
        path = (fields.others, f"{column}_{count}")
    return path


def event_of(row: Mapping[str, Any], columns: ColumnMap) -> JsonObject:
    """Return the event that a row makes. Its type is `track` unless a column says another."""
    event = fill(row, columns)
    if "type" not in event:
        event["type"] = "track"
    if event["type"] in ("identify", "group") and "traits" not in event and "properties" in event:
        event["traits"] = event.pop("properties")  # such a call has no properties
    return event


def fill(row: Mapping[str, Any], columns: ColumnMap) -> JsonObject:
    """Return the fields that the columns of a row fill; what is empty is left out."""
    filled: JsonObject = {}
    fields = columns.fields
    for path, text in columns.constants:
        _put(filled, path, _read_text(text, path[0] in fields.own, path, fields))
    for target in columns.targets:
        value = row.get(target.column)
        if isinstance(value, str):
            value = _read_text(value, target.as_text, target.path, fields)
        if target.path and value is not None:
            _put(filled, target.path, value)
    return filled


def _read_text(text: str, as_text: bool, path: tuple[str, ...], fields: RowFields) -> Any:
    """Return what the text of a field means; None where it is empty."""
    if not text:
        return None
    if len(path) == 1 and path[0] in fields.objects:
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
