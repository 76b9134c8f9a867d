"""The transforms for values: what the examples leave open."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from trunkline.playbook.check import parse_playbook
from trunkline.playbook.compile import compile_playbook
from trunkline.playbook.program import Moment
from trunkline.playbook.transforms import TRANSFORMS


def run(name: str, argument: Any, value: Any) -> Any:
    return TRANSFORMS[name].prepare(argument)(value)


@pytest.mark.parametrize(
    ("value", "by", "made"),
    [
        (29.9, 1_000_000, 29_900_000),
        ("0.29", 100, 29),
        (1.005, 100, 101),
        (-1.005, 100, -101),
        (0.0000005, 1_000_000, 1),
        (1e17, 1000, None),
        ("1,200", 10, None),
        (True, 10, 10),
    ],
)
def test_a_product_is_exact_and_whole(value: Any, by: float, made: int | None) -> None:
    assert run("multiply", {"by": by, "whole": True}, value) == made


@given(st.decimals(-(10**9), 10**9, places=2), st.integers(1, 10**6))
def test_a_product_is_what_decimals_say(amount: Decimal, by: int) -> None:
    made = run("multiply", {"by": by}, str(amount))
    assert made == pytest.approx(float(amount * by), rel=1e-12, abs=1e-8)
    if made is not None and (amount * by) % 1 == 0:
        assert made == int(amount * by)


def test_a_factor_may_come_from_a_param() -> None:
    assert run("multiply", {"by": "10", "whole": True}, "1250.0") == 12500


@pytest.mark.parametrize(
    ("value", "digits", "made"),
    [(2.675, 2, 2.68), (-0.5, 0, -1), (0.5, 0, 1), ("7", 2, 7), (12.0, 0, 12), (1e17, 2, 1e17),
     (123456789.987654321, 3, 123456789.988), ("x", 2, None)],
)  # fmt: skip
def test_a_half_rounds_away_from_zero(value: Any, digits: int, made: float | None) -> None:
    rounded = run("round", {"digits": digits}, value)
    assert rounded == made
    assert digits or rounded is None or type(rounded) is int


def test_a_sum_leaves_out_what_is_no_number_and_counts_one_object() -> None:
    lines = [{"price": 0.1}, {"price": "0.2"}, {"price": None}, {"price": "many"}, 7, None, {}]
    assert run("sumValues", {"extractKey": "price"}, lines) == 0.3
    argument = {"extractKey": "price", "timesKey": "quantity"}
    assert run("sumValues", argument, {"price": 9.95, "quantity": 3}) == 29.85
    assert run("sumValues", argument, [{"price": 5, "quantity": "few"}]) == 5
    assert run("sumValues", argument, []) is None
    assert run("sumValues", argument, "12") is None


def test_all_items_are_counted() -> None:
    assert run("count", True, [0] * 1500) == 1500


@given(st.text(min_size=1))
def test_a_uuid_is_a_uuid_and_the_same_every_time(text: str) -> None:
    made = run("toUuid", True, text)
    assert uuid.UUID(made).version == 4 and uuid.UUID(made).variant == uuid.RFC_4122
    assert made == run("toUuid", True, text) == run("toUuid", True, made)


def test_two_texts_have_two_uuids_and_an_empty_one_none() -> None:
    assert run("toUuid", True, "m-1") != run("toUuid", True, "m-2")
    assert run("toUuid", True, "") is None
    upper = "38400000-8CF0-11BD-B23E-10B96E40000D"
    assert run("toUuid", True, upper) == upper


def ulid(message_id: Any, timestamp: Any) -> Any:
    return run("toUlid", {}, {"messageId": message_id, "timestamp": timestamp})


def test_ulids_sort_by_time() -> None:
    times = [0, "1999-12-31T23:59:59Z", "2026-11-20T10:15:30.250Z", "2026-11-20T10:15:30.251Z"]
    made = [ulid("m-1", moment) for moment in times]
    assert made == sorted(set(made)) and all(len(each) == 26 for each in made)
    assert len({each[10:] for each in made}) == 1  # the rest is the id's
    assert made[0][:10] == "0" * 10
    # 1469918176385 is the example of the ULID specification.
    assert ulid("m-1", 1_469_918_176_385)[:10] == "01ARYZ6S41"


def test_a_ulid_stays_and_none_is_made_without_a_time() -> None:
    assert ulid("01ARYZ6S41TSV4RRFFQ69G5FAV", None) == "01ARYZ6S41TSV4RRFFQ69G5FAV"
    assert ulid("m-1", None) is None
    assert ulid("m-1", "1969-12-31T23:59:59Z") is None
    assert ulid(None, 0) is None


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("[0-9]+", "12", True),
        ("a|b", "ab", False),  # from end to end, and no half of a choice
        ("a)(b", "ab", None),
        ("(?i)[0-9a-f]{4}", "BEEF", True),
        (".*", "two\nlines", False),
        ("[^@]+@[^@]+", "\ud800@x", False),
        ("[0-9]+", 12, True),
    ],
)
def test_a_pattern_matches_from_end_to_end(pattern: str, text: Any, fits: bool | None) -> None:
    if fits is None:
        with pytest.raises(ValueError):
            run("matchPattern", {"pattern": pattern}, text)
        return
    assert (run("matchPattern", {"pattern": pattern}, text) is not None) is fits


@given(JSON)
def test_json_text_is_json_of_the_value(value: Any) -> None:
    made = run("toJsonText", True, value)
    if value is not None:
        assert msgspec.json.decode(made) == value


def test_json_text_is_never_half_a_text() -> None:
    assert run("toJsonText", True, {"a": "x" * 70_000}) is None


@pytest.mark.parametrize(
    ("value", "flag"),
    [("YES", True), ("off", False), (1, True), ("", False), ([], None), ("perhaps", None)],
)
def test_words_are_flags(value: Any, flag: bool | None) -> None:
    assert run("toFlag", True, value) is flag
    assert run("flagToNumber", True, value) == (None if flag is None else int(flag))


def test_equal_is_as_a_person_reads_it() -> None:
    argument = {"isEqual": 1, "then": "a", "else": "b"}
    assert [run("when", argument, v) for v in (1, "1", 1.0, True, [1])] == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize("value", ["", " \n", [], {}])
def test_what_is_empty_is_not_present(value: Any) -> None:
    assert run("isPresent", True, value) is False


@pytest.mark.parametrize("value", [0, False, "0", [None]])
def test_what_is_false_or_null_inside_is_present(value: Any) -> None:
    assert run("isPresent", True, value) is True


def test_a_path_leads_through_lists_and_objects() -> None:
    value = {"a": [{"b": 1}, {"b": {"0": "zero"}}]}
    assert run("pick", {"key": "a.1.b.0"}, value) == "zero"
    for missing in ("a.2.b", "a.b", "a.-1.b", "b", "a.1.b.0.x", "a.9999999999"):
        assert run("pick", {"key": missing}, value) is None


def test_objects_without_anything_left_are_nothing() -> None:
    assert run("keepKeys", {"keys": ["z"]}, {"a": 1}) is None
    assert run("dropKeys", {"keys": ["a"]}, {"a": 1}) is None
    assert run("scalarsOnly", True, {"a": {}, "b": None}) is None
    assert run("entries", {}, {"a": None}) == []
    assert len(run("entries", {}, {str(n): n for n in range(5000)})) == 1000


def test_names_can_be_exchanged() -> None:
    assert run("renameKeys", {"keys": {"a": "b", "b": "a"}}, {"a": 1, "b": 2}) == {"a": 2, "b": 1}
    assert run("renameKeys", {"keys": {"a": "b"}}, {"a": None, "b": 2}) == {"b": 2}


def test_one_playbook_can_use_them_all_after_each_other() -> None:
    tree: dict[str, Any] = {
        "global": {
            "mappings": [
                {"inputKey": "traits.firstName", "outputKey": "user.fn",
                 "transforms": [{"normalisePerson": {"field": "name", "rule": "meta"}},
                                {"toHash": "sha256"}, {"toList": True}]},
                {"inputKey": "properties.products", "outputKey": "value",
                 "transforms": [{"sumValues": {"extractKey": "price", "timesKey": "quantity"}},
                                {"multiply": {"by": "$$RATE$$", "whole": True}}]},
                {"inputKey": "input", "outputKey": "id", "transforms": [{"toUlid": {}}]},
                {"inputKey": "traits.email", "outputKey": "known",
                 "transforms": [{"isPresent": True}], "defaultBool": False},
            ]
        },
        "params": [{"name": "RATE", "defaultValue": "10"}],
    }  # fmt: skip
    event = {
        "type": "track", "event": "Order Completed", "messageId": "m-1",
        "timestamp": "2026-11-20T10:15:30.250Z", "traits": {"firstName": " نگار "},
        "properties": {"products": [{"price": 9.95, "quantity": 2}, {"price": 5}]},
    }  # fmt: skip
    shaped = compile_playbook(parse_playbook(tree), {}).shape(event, Moment(0, "x"))
    assert shaped.outputs == (
        {
            "user": {"fn": ["92c7a1db45dbcfe66d4337c3de8400dc56dfcd1eb9f77839f710859378ddcc60"]},
            "value": 249,
            "id": "01M7W78FPAMHGV8WPB86MYRFFE",
            "known": False,
        },
    )
