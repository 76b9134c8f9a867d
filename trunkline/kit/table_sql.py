"""The SQL that makes, widens and fills tables of events. Whatever stems from one is quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from trunkline.kit.columns import ENVELOPE, Column, Path

_PATH_MARK = "trunkline: "  # a column's comment: this, and its path as a JSON list
_NOT_NULL = frozenset({"message_id", "app", "type"})

COLUMNS = (
    "SELECT attname::text, format_type(atttypid, atttypmod), col_description(attrelid, attnum), "
    "attgenerated <> '' FROM pg_attribute "
    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


def quote(name: str) -> str:
    """Return an identifier as SQL; `%` doubled, for statements that have parameters."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def literal(text: str) -> str:
    """Return a text as SQL, where `standard_conforming_strings` is on."""
    return "'" + text.replace("'", "''") + "'"


def create_table(table: str) -> str:
    """Return what makes a table with the envelope's columns alone."""
    columns = [
        f"{quote(name)} {kind}{' NOT NULL' if name in _NOT_NULL else ''}"
        for name, kind in ENVELOPE.items()
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}, "
        'PRIMARY KEY ("app", "message_id"))'
    )


def add_columns(table: str, columns: Sequence[Column]) -> list[str]:
    """Return what adds columns, and lets each remember its path."""
    added = [f"ADD COLUMN IF NOT EXISTS {quote(c.name)} {c.type}" for c in columns]
    noted = [
        f"COMMENT ON COLUMN {table}.{quote(c.name)} IS {literal(comment_of(c.path))}"
        for c in columns
        if c.is_ours
    ]
    return [f"ALTER TABLE {table} {', '.join(added)}", *noted]


def widen_column(table: str, column: Column) -> str:
    """Return what gives a column another type and keeps its values."""
    name = quote(column.name)
    return f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {column.type} USING {name}::{column.type}"


def insert(table: str, names: Sequence[str]) -> str:
    """Return what inserts a row whose event the table does not have yet."""
    columns = ", ".join(quote(name) for name in names)
    places = ", ".join(["%s"] * len(names))
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({places}) "
        'ON CONFLICT ("app", "message_id") DO NOTHING'
    )


def shown_insert(table: str, cells: Mapping[str, str]) -> str:
    """Return an insert with its values in it, for a person to read."""
    columns = ", ".join(quote(name) for name in cells)
    values = ", ".join(literal(value) for value in cells.values())
    return (
        f"INSERT INTO {table} ({columns})\n  VALUES ({values})\n"
        '  ON CONFLICT ("app", "message_id") DO NOTHING;'
    )


def comment_of(path: Path) -> str:
    """Return the comment by which a column remembers its path."""
    return _PATH_MARK + msgspec.json.encode(path).decode()


def path_of(comment: str | None) -> Path | None:
    """Return the path that a comment remembers, or None where it is somebody else's."""
    if not comment or not comment.startswith(_PATH_MARK):
        return None
    try:
        return msgspec.json.decode(comment[len(_PATH_MARK) :], type=tuple[str, ...])
    except msgspec.DecodeError:
        return None
