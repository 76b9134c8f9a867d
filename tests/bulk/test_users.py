"""Rows that are users: what each says of a person, and the `identify` that it becomes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.support.bulk_stage import LONG_AGO, LONG_AGO_MS, NOW_MS, SHOP, new_judge, row_of, track
from trunkline.bulk.judging import RowJudge, Verdict
from trunkline.bulk.mapping import map_columns
from trunkline.bulk.rows import Row
from trunkline.kit.import_terms import USER_FIELDS, USER_IDS, MappingError, check_said
from trunkline.model.event import Event
from trunkline.node import protocol_shelf


def judge_users(file: str = "file-1", **fields: Any) -> RowJudge:
    return new_judge(people_of=file, **fields)


def event_of(verdict: Verdict) -> Event:
    (record,) = verdict.accepted
    assert not verdict.rejected and record.historical
    return protocol_shelf()[record.protocol].normalise(record, SHOP).event


def take(value: Any, number: int = 1, file: str = "file-1") -> Event:
    return event_of(judge_users(file).judge(row_of(value, number), NOW_MS))


def test_the_fields_of_a_user_and_what_is_none_become_traits() -> None:
    event = take(
        {
            "customUserId": "u-1", "email": "a@b.example", "phone": "+98912", "gender": "Female",
            "birthday": "1990-05-01", "plan": "gold", "city": None,
            "customAttributes": {"score": 7}, "time": LONG_AGO,
        }
    )  # fmt: skip
    assert (event.type, event.user_id, event.timestamp) == ("identify", "u-1", LONG_AGO)
    assert event.traits == {
        "email": "a@b.example", "phoneNumber": "+98912", "gender": "Female",
        "birthday": 641_520_000_000, "plan": "gold", "score": 7, "city": None,
    }  # fmt: skip
    assert event.properties is msgspec.UNSET


@pytest.mark.parametrize(
    ("ids", "user", "anonymous"),
    [
        ({"customUserId": "u-1"}, "u-1", msgspec.UNSET),
        ({"userId": 42}, "42", msgspec.UNSET),
        ({"id": 42}, "42", msgspec.UNSET),
        ({"anonymousId": "m-1"}, "m-1", "m-1"),
        ({"metrixUserId": "m-1", "customUserId": "u-1"}, "u-1", "m-1"),
    ],
)
def test_one_of_the_ids_is_enough(ids: dict[str, Any], user: Any, anonymous: Any) -> None:
    event = take({**ids, "city": "Tehran"})
    assert (event.user_id, event.anonymous_id) == (user, anonymous)
    assert event.traits == {"city": "Tehran"}


def test_a_row_without_a_time_speaks_of_now() -> None:
    (record,) = judge_users().judge(row_of({"userId": "u", "city": "Qom"}), NOW_MS).accepted
    assert record.received_ms == NOW_MS
    assert json.loads(record.body)["time"] == NOW_MS


def test_a_row_has_one_id_in_a_file_and_another_in_a_later_export() -> None:
    """Else what changes back to what it was would be taken for a duplicate of the first time."""
    row = {"userId": "u", "city": "Qom"}
    assert take(row).message_id == take(row).message_id
    assert take(row).message_id != take(row, file="file-2").message_id
    assert take(row).message_id != take(row, number=2).message_id
    dated = {**row, "time": LONG_AGO_MS}
    assert take(dated).message_id == take(dated, file="file-2").message_id
    assert take(dated).message_id.startswith("import-")


@pytest.mark.parametrize(
    ("value", "code", "sentence"),
    [
        ({"email": "a@b.example"}, "no_user_id", "names no user"),
        ({"userId": "", "id": None}, "no_user_id", "names no user"),
        ({"userId": "u", "email": 7}, "invalid_field", "email is 7"),
        ({"userId": "u", "gender": "x"}, "invalid_field", "gender is"),
        ({"userId": "u", "birthday": "long ago"}, "invalid_field", "birthday is"),
        ({"userId": "u", "time": "never"}, "invalid_time", "time is"),
        ({"userId": "u", "customAttributes": "none"}, "invalid_field", "customAttributes is"),
        (track(), "not_a_user", "import it as events"),
        (["u"], "malformed_json", "an object of a user"),
        (b"no json", "malformed_json", "cannot be read"),
    ],
)
def test_a_bad_row_is_rejected_with_its_line_and_reason(
    value: Any, code: str, sentence: str
) -> None:
    verdict = judge_users().judge(row_of(value, 7), NOW_MS)
    assert not verdict.accepted
    (reject,) = verdict.rejected
    assert (reject.line, reject.code) == (7, code)
    assert sentence in reject.message


def test_columns_are_guessed_and_said_and_texts_of_fields_stay_texts() -> None:
    columns = map_columns(
        ["id", "E-Mail", "mobile", "level", "score", "note"],
        {"note": "-", "level": "customAttributes.level:text"},
        [("country", "IR")],
        USER_FIELDS,
    )
    filled = {target.column: target.field for target in columns.targets}
    assert filled == {
        "id": "customUserId", "E-Mail": "email", "mobile": "phoneNumber",
        "level": "customAttributes.level:text", "score": "customAttributes.score", "note": "-",
    }  # fmt: skip
    assert columns.find_gaps() == []
    row = {"id": "0042", "E-Mail": "a@b.example", "mobile": "0912", "level": "3", "score": "3.5"}
    verdict = judge_users(columns=columns).judge(Row(2, {**row, "note": "x"}), NOW_MS)
    event = event_of(verdict)
    assert event.user_id == "0042"
    assert event.traits == {
        "email": "a@b.example", "phoneNumber": "0912", "country": "IR", "level": "3", "score": 3.5,
    }  # fmt: skip


def test_columns_that_name_nobody_are_a_gap() -> None:
    columns = map_columns(["email"], {}, (), USER_FIELDS)
    assert columns.find_gaps() == [f"no column fills one of {', '.join(USER_IDS)}"]


def test_what_is_said_is_judged_before_a_column_is_known() -> None:
    check_said("users", {"a": "email", "b": "customAttributes.x:text", "c": "-"}, {"city": "Qom"})
    check_said("events", {"a": "properties.x"}, {"event": "Order"})
    with pytest.raises(MappingError, match=r"'properties\.x' is no field of a user"):
        check_said("users", {"a": "properties.x"}, {})
    with pytest.raises(MappingError, match="'email' is no field of an event"):
        check_said("events", {}, {"email": "x"})
