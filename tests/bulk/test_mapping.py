"""From columns to events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bulk.mapping import (
    MappingError,
    event_of,
    map_columns,
    read_mapping_file,
    read_pairs,
)


def fields_of(*columns: str, **said: str) -> dict[str, str]:
    return {target.column: target.field for target in map_columns(columns, said).targets}


def test_columns_are_known_by_the_names_that_exports_use() -> None:
    assert fields_of("Customer ID", "event_name", "created_at", "insert_id", "ip", "Plan") == {
        "Customer ID": "userId",
        "event_name": "event",
        "created_at": "timestamp",
        "insert_id": "messageId",
        "ip": "context.ip",
        "Plan": "properties.Plan",
    }


def test_paths_stay_paths_and_of_two_candidates_one_is_a_property() -> None:
    assert fields_of("properties.a.b", "time", "timestamp", "context.device.type") == {
        "properties.a.b": "properties.a.b",
        "time": "properties.time",
        "timestamp": "timestamp",
        "context.device.type": "context.device.type",
    }


def test_what_is_said_goes_before_what_is_guessed() -> None:
    assert fields_of("user_id", "crm", "note", crm="userId", note="-") == {
        "user_id": "properties.user_id",
        "crm": "userId",
        "note": "-",
    }


NAMES = st.sampled_from(
    [
        "user_id",
        "uid",
        "event",
        "time",
        "ts",
        "properties.uid",
        "traits.x",
        "a",
        "properties",
        "a.b",
    ]
)


@given(st.lists(NAMES, unique=True))
def test_no_two_columns_fill_one_field(columns: list[str]) -> None:
    targets = map_columns(columns, {}).targets
    assert [target.column for target in targets] == columns
    assert len({target.path for target in targets}) == len(columns)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"nosuch": "userId"}, "no column 'nosuch'; it has a, b"),
        ({"a": "usrId"}, "'usrId' is no field of an event; expected messageId"),
        ({"a": "receivedAt"}, "is no field"),
        ({"a": "properties..x"}, "is no field"),
        ({"a": "userId", "b": "userId"}, "filled twice; the second time by the column 'b'"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_is_told(said: dict[str, str], sentence: str) -> None:
    with pytest.raises(MappingError, match=sentence):
        map_columns(("a", "b"), said)


def test_texts_become_what_they_mean() -> None:
    row = {
        "user_id": "0042",
        "event": "7",
        "time": "1700000000",
        "price": "12.50",
        "count": "-3",
        "code": "007",
        "phone": "+989121234567",
        "big": "12345678901234567890",
        "ok": "TRUE",
        "none": "",
        "properties": '{"x": [1]}',
        "kept": "12",
    }
    columns = map_columns(tuple(row), {"kept": "properties.kept:text"})
    assert event_of(row, columns) == {
        "type": "track",
        "userId": "0042",
        "event": "7",
        "timestamp": "1700000000",
        "properties": {
            "price": 12.5, "count": -3, "code": "007", "phone": "+989121234567",
            "big": "12345678901234567890", "ok": True, "x": [1], "kept": "12",
        },
    }  # fmt: skip


def test_a_constant_is_the_same_for_every_row_and_closes_a_gap() -> None:
    columns = map_columns(("uid", "n"), {}, [("event", "Order Completed")])
    assert columns.find_gaps() == []
    assert event_of({"uid": "u", "n": "1"}, columns) == {
        "type": "track",
        "event": "Order Completed",
        "userId": "u",
        "properties": {"n": 1},
    }
    gaps = map_columns(("n",), {}).find_gaps()
    assert "userId" in gaps[0] and "--set event" in gaps[1]


def test_an_identify_has_traits_where_other_events_have_properties() -> None:
    columns = map_columns(("uid", "type", "email"), {})
    row = {"uid": "u", "type": "identify", "email": "a@b.c"}
    assert event_of(row, columns) == {
        "type": "identify", "userId": "u", "traits": {"email": "a@b.c"},
    }  # fmt: skip


def test_mappings_are_written_as_pairs_or_as_a_file() -> None:
    assert read_pairs(["a=userId", "x=y=event"]) == {"a": "userId", "x=y": "event"}
    assert read_mapping_file(b'{"a": "userId"}', "m.json") == {"a": "userId"}
    with pytest.raises(MappingError, match="COLUMN=FIELD"):
        read_pairs(["=userId"])
    with pytest.raises(MappingError, match=r"m\.json is no mapping"):
        read_mapping_file(b'["a"]', "m.json")
