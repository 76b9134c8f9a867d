"""Events as rows: no value is lost, no two paths share a column, every name is one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.kit.columns import (
    ENVELOPE,
    NAME_BYTES_MAX,
    Column,
    Table,
    bare_cells_of,
    cells_of,
    identifier,
    name_of,
    row_of,
    wanted,
    widen,
)
from trunkline.kit.destination import Mapped, map_event
from trunkline.kit.table_sql import comment_of, literal, path_of, quote

LEAVES = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=3),
)
KEYS = st.one_of(st.sampled_from(["a", "A", "a b", "a_b", "aB", "", "x" * 80]), st.text(max_size=6))
OBJECTS = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=5
)


def event_of(properties: dict[str, Any]) -> Mapped:
    return map_event(
        {
            "messageId": "m-1",
            "app": "a" * 15,
            "type": "track",
            "event": "E",
            "userId": "u-1",
            "timestamp": "2026-11-20T10:15:30.000Z",
            "properties": properties,
        }
    )


def empty_table() -> Table:
    return Table([Column(name, kind) for name, kind in ENVELOPE.items()])


def grown(table: Table, rows: list[Any], columns_max: int) -> Table:
    added, widened = wanted(table, rows, columns_max)
    columns = table.by_name | {column.name: column for column in [*added, *widened]}
    return Table(list(columns.values()))


@pytest.mark.slow
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.integers(11, 30))
def test_every_value_is_in_its_column_or_in_extra(
    objects: list[dict[str, Any]], columns_max: int
) -> None:
    rows = [row_of(event_of(each)) for each in objects]
    table = empty_table()
    for row in rows:  # one by one, as batches come: columns are widened on the way
        table = grown(table, [row], columns_max)
    assert len(table.by_name) <= columns_max
    assert all(len(name.encode()) <= NAME_BYTES_MAX for name in table.by_name)
    for row in rows:
        cells = cells_of(table, row)
        extra = msgspec.json.decode(cells.get("extra", "{}"))
        stored = [path for path in row.values if (c := table.find(path)) and c.name in cells]
        assert len({table.find(path).name for path in stored}) == len(stored)  # type: ignore[union-attr]
        assert len(stored) + len(extra) == len(row.values)
        assert "notes" not in cells, "columns of ours take everything, once widened"
        for path in stored:
            column, value = table.find(path), row.values[path]
            assert column is not None
            shown = cells[column.name]
            if isinstance(value, str) and column.type != "jsonb":
                assert shown == value
            else:
                assert msgspec.json.decode(shown) == value


@pytest.mark.slow
@given(OBJECTS)
def test_a_bare_row_holds_all_of_it(properties: dict[str, Any]) -> None:
    row = row_of(event_of(properties))
    cells = bare_cells_of(row, "why")
    extra = msgspec.json.decode(cells.get("extra", "{}"))
    assert len(extra) == len(row.values)
    assert cells["notes"] == '["why"]'
    whole = msgspec.json.decode(bare_cells_of(row, "why", as_text=True)["extra"])["body"]
    assert "\0" not in whole


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("properties", "orderId"), "properties_order_id"),
        (("properties", "Order ID"), "properties_order_id"),
        (("properties", "HTTPStatus"), "properties_httpstatus"),
        (("قیمت",), "قیمت"),
        (("2x",), "_2x"),
        (("",), "_"),
        (("--",), "_"),
        (("x" * 63,), "x" * 63),
        (("x" * 64,), "x" * 54 + "_" + "7ce100971f64e7001e8fe5a51973ecdf"[:8]),
    ],
)
def test_a_path_is_folded_to_a_name(path: tuple[str, ...], name: str) -> None:
    assert name_of(path) == name


@given(st.text())
def test_a_name_is_stable_and_short(text: str) -> None:
    name = identifier(text)
    assert identifier(name) == name
    assert 0 < len(name.encode()) <= NAME_BYTES_MAX


@pytest.mark.parametrize(
    ("column", "value", "becomes"),
    [
        ("bigint", "numeric", "numeric"),
        ("numeric", "bigint", "numeric"),
        ("bigint", "text", "text"),
        ("boolean", "bigint", "text"),
        ("numeric", "jsonb", "text"),
        ("text", "jsonb", "text"),
        ("jsonb", "text", "jsonb"),
        ("smallint", "text", "smallint"),
    ],
)
def test_a_column_is_widened_as_little_as_need_be(column: str, value: str, becomes: str) -> None:
    assert widen(column, value) == becomes


def test_what_a_playbook_made_does_not_change_the_envelope() -> None:
    canonical = event_of({"a": 1})
    shaped = Mapped(
        message_id="m-1",
        app="a" * 15,
        user="u:u-1",
        type="track",
        name="E",
        body=b'{"event":"Kauf","timestamp":5,"userId":"u-1","value":2}',
        origin=canonical.body,
    )
    row = row_of(shaped)
    assert row.envelope["event"] == "E"
    assert row.envelope["timestamp"] == "2026-11-20T10:15:30.000Z"
    assert row.values == {("event",): "Kauf", ("timestamp",): 5, ("value",): 2}
    added, _ = wanted(empty_table(), [row], 50)
    names = [column.name for column in added]
    assert names[2] == "value"
    assert names[0].startswith("event_")
    assert names[1].startswith("timestamp_")


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_column_remembers_its_path(parts: list[str]) -> None:
    assert path_of(comment_of(tuple(parts))) == tuple(parts)


def test_a_comment_of_somebody_elses_is_no_path() -> None:
    assert path_of(None) is None
    assert path_of("the price") is None
    assert path_of("trunkline: not a list") is None


def test_sql_is_quoted() -> None:
    assert quote('a"b%c') == '"a""b%%c"'
    assert literal("it's \\") == "'it''s \\'"
