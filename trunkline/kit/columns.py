"""How JSON events become rows of a table: names, types, and what a table must become for them.

Each value of an event has a *path* (`properties`, `order_id`), each path a column that is named
after it and remembers it. Whatever has no column that takes it goes into one JSON column, with a
note where that is a surprise: a row never costs an event.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from trunkline.kit.destination import Mapped

Path = tuple[str, ...]

NAME_BYTES_MAX = 63  # of an identifier in PostgreSQL
DEPTH_MAX = 5  # of objects that become columns; what is deeper is kept as JSON
EXTRA, NOTES = "extra", "notes"
# Column → type. They are taken from the canonical event, whatever a playbook made of it.
ENVELOPE: Mapping[str, str] = {
    "message_id": "text",
    "app": "text",
    "type": "text",
    "event": "text",
    "user_id": "text",
    "anonymous_id": "text",
    "timestamp": "timestamptz",
    "received_at": "timestamptz",
    EXTRA: "jsonb",
    NOTES: "jsonb",
}
_FIELDS = {
    "message_id": "messageId",
    "app": "app",
    "type": "type",
    "event": "event",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "timestamp": "timestamp",
    "received_at": "receivedAt",
}
_CAMEL = re.compile(r"(?<=[^\W_A-Z])(?=[A-Z])")
_UNSAFE = re.compile(r"\W+")
_BIGINT_MAX = 1 << 63
_NUL, _NUL_SHOWN = "\0", "\ufffd"


class Column(Struct, frozen=True):
    """A column: its name, its type as PostgreSQL spells it, the path it is for, where it has one.

    `is_ours`: it was made for that path, so no other path may have it.
    """

    name: str
    type: str
    path: Path = ()
    is_ours: bool = False
    is_generated: bool = False


class Row(Struct):
    """An event on its way into a table: its envelope, and its other values by path."""

    envelope: dict[str, str]
    values: dict[Path, Any]
    body: bytes


class Table:
    """The columns of a table, found by name and by path."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.by_name = {column.name: column for column in columns}
        self._by_path = {column.path: column for column in columns if column.is_ours}

    def find(self, path: Path) -> Column | None:
        """Return the column of a path: one made for it, else one of that name made by a person."""
        found = self._by_path.get(path) or self.by_name.get(name_of(path))
        if found is None or found.is_generated or found.name in ENVELOPE:
            return None
        return found if not found.is_ours or found.path == path else None


def wanted(
    table: Table, rows: Sequence[Row], columns_max: int
) -> tuple[list[Column], list[Column]]:
    """Return the columns to add, and those to widen, each with the type it needs then."""
    taken = set(table.by_name)
    missing = [Column(name, kind) for name, kind in ENVELOPE.items() if name not in taken]
    taken |= set(ENVELOPE)
    added: dict[Path, Column] = {}
    widened: dict[str, Column] = {}
    for path, value in ((p, v) for row in rows for p, v in row.values.items()):
        kind = type_of(value)
        found = added.get(path) or table.find(path)
        if found is None:
            if len(taken) < columns_max:
                name = _free_name(path, taken)
                taken.add(name)
                added[path] = Column(name, kind, path, is_ours=True)
        elif path in added:
            added[path] = msgspec.structs.replace(found, type=widen(found.type, kind))
        else:
            known = widened.get(found.name, found)
            if widen(known.type, kind) != known.type:
                widened[found.name] = msgspec.structs.replace(known, type=widen(known.type, kind))
    return [*missing, *added.values()], list(widened.values())


def cells_of(table: Table, row: Row) -> dict[str, str]:
    """Return a row as texts by column; what has no column that takes it goes into `extra`."""
    cells = {name: value for name, value in row.envelope.items() if name in table.by_name}
    extra: dict[str, Any] = {}
    notes: list[str] = []
    for path, value in row.values.items():
        column = table.find(path)
        is_free = column is not None and column.name not in cells
        if column is not None and is_free and widen(column.type, type_of(value)) == column.type:
            cells[column.name] = text_of(value, column.type)
            continue
        extra[_key_of(path, extra)] = value
        if column is not None and is_free:
            notes.append(f"{'.'.join(path)} is {type_of(value)}, {column.name} {column.type}")
    return cells | _rest(extra, notes)


def bare_cells_of(row: Row, note: str, *, as_text: bool = False) -> dict[str, str]:
    """Return a row that has only its envelope; all the rest in `extra`, as a text if need be."""
    cells = dict(row.envelope)
    if as_text:
        body = row.body.decode("utf-8", "replace").replace("\\u0000", _NUL_SHOWN)
        return cells | _rest({"body": body}, [note])
    extra: dict[str, Any] = {}
    for path, value in row.values.items():
        extra[_key_of(path, extra)] = value
    return cells | _rest(extra, [note])


def row_of(event: Mapped) -> Row:
    """Return an event as a row. Nulls and empty objects are left out."""
    canonical = event.event
    envelope = {
        name: _plain(canonical[field])
        for name, field in _FIELDS.items()
        if isinstance(canonical.get(field), str)
    }
    envelope |= {"message_id": _plain(event.message_id), "app": event.app, "type": event.type}
    envelope |= {"event": _plain(event.name)} if event.name else {}
    said = {field: canonical.get(field) for field in _FIELDS.values()}
    value: dict[str, Any] = event.value
    if b"\\u0000" in event.body:
        value = cast("dict[str, Any]", _without_nul(value))
    rest = {k: v for k, v in value.items() if k not in said or said[k] != v or type(v) is not str}
    return Row(envelope, dict(_flatten(rest, ())), event.body)


def name_of(path: Path) -> str:
    """Return the column's name for a path: lower case, words parted by `_`, at most 63 bytes."""
    return identifier("_".join(_CAMEL.sub("_", part) for part in path))


def identifier(text: str) -> str:
    """Fold a text to a name: letters and digits of any script, all else `_`."""
    folded = _UNSAFE.sub("_", unicodedata.normalize("NFC", text).lower()).strip("_") or "_"
    folded = f"_{folded}" if folded[0].isdigit() else folded
    return folded if len(folded.encode()) <= NAME_BYTES_MAX else _marked(folded, text)


def type_of(value: Any) -> str:
    """Return the column type that a JSON value asks for."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint" if -_BIGINT_MAX <= value < _BIGINT_MAX else "numeric"
    if isinstance(value, float):
        return "numeric"
    return "text" if isinstance(value, str) else "jsonb"


def widen(column: str, value: str) -> str:
    """Return what a column's type must become to take a type of value; the same where it does.

    Types that are not ours stay as they are: the server says what they take.
    """
    if column == value or column in ("text", "jsonb"):
        return column
    if {column, value} == {"bigint", "numeric"}:
        return "numeric"
    return "text" if column in ("bigint", "numeric", "boolean") else column


def text_of(value: Any, column: str) -> str:
    """Return a value as the text that a column of that type reads."""
    if column != "jsonb" and isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _rest(extra: dict[str, Any], notes: Sequence[str]) -> dict[str, str]:
    cells = {EXTRA: text_of(extra, "jsonb")} if extra else {}
    return cells | ({NOTES: text_of(list(notes), "jsonb")} if notes else {})


def _key_of(path: Path, extra: dict[str, Any]) -> str:
    """Return a path's key in `extra`: dotted, or as a list where that says two things."""
    dotted = ".".join(path)
    return dotted if dotted not in extra else msgspec.json.encode(path).decode()


def _flatten(value: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for key, item in value.items():
        here = (*path, key)
        if isinstance(item, dict) and len(here) < DEPTH_MAX:
            yield from _flatten(cast("dict[str, Any]", item), here)
        elif item is not None and item != {}:
            yield here, item


def _free_name(path: Path, taken: set[str]) -> str:
    name = name_of(path)
    return name if name not in taken else _marked(name, "\0".join(path))


def _marked(name: str, of: str) -> str:
    """Return a name that is told from others by eight digits of what it is made of."""
    mark = hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_cut(name, NAME_BYTES_MAX - 9)}_{mark}"


def _cut(text: str, bytes_max: int) -> str:
    return text.encode()[:bytes_max].decode("utf-8", "ignore").rstrip("_")


def _plain(text: str) -> str:
    return text.replace(_NUL, _NUL_SHOWN)


def _without_nul(value: Any) -> Any:
    """Return JSON without the one character that PostgreSQL's texts cannot hold."""
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        return {_plain(key): _without_nul(item) for key, item in pairs.items()}
    if isinstance(value, list):
        return [_without_nul(item) for item in cast("list[Any]", value)]
    return value
