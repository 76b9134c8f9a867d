"""Fixtures judge what a playbook made, and say every difference by its path."""

from __future__ import annotations

import pytest

from trunkline.playbook.comparing import ABSENT, CHANGES_MAX, Change, changes
from trunkline.playbook.fixtures import FixtureError, judge, moment_of, read_fixtures
from trunkline.playbook.program import Failure, Shaped

EVENT = {"type": "track", "event": "Order Completed", "messageId": "m-1"}


def test_equal_outputs_have_no_changes_whatever_the_kind_of_number() -> None:
    assert changes({"a": [1, {"b": 2.0}]}, {"a": [1.0, {"b": 2}]}) == []


def test_every_change_is_named_by_its_path() -> None:
    before = {"a": 1, "b": {"c": [1, 2]}, "gone": "x", "flag": True}
    after = {"a": 2, "b": {"c": [1, 3, 4]}, "new": None, "flag": 1}
    assert changes(before, after) == [
        Change("a", 1, 2),
        Change("b.c[1]", 2, 3),
        Change("b.c[2]", ABSENT, 4),
        Change("gone", "x", ABSENT),
        Change("flag", True, 1),
        Change("new", ABSENT, None),
    ]


def test_a_comparison_of_many_differences_ends_at_a_limit() -> None:
    before = {str(n): n for n in range(1000)}
    assert len(changes(before, {})) == CHANGES_MAX


def test_a_fixture_passes_where_the_output_is_the_expected_one() -> None:
    (fixture,) = read_fixtures([{"name": "order", "event": EVENT, "expect": {"value": 5}}])
    assert judge(fixture, Shaped(outputs=({"value": 5},))).problem == ""


def test_a_fixture_says_what_differs() -> None:
    (fixture,) = read_fixtures([{"name": "order", "event": EVENT, "expect": {"value": 5}}])
    verdict = judge(fixture, Shaped(outputs=({"value": 6, "more": 1},)))
    assert "differs" in verdict.problem
    assert [str(change) for change in verdict.changes] == [
        "value: 5 → 6",
        f"more: {ABSENT!r} → 1",
    ]


def test_several_outputs_are_compared_in_order() -> None:
    (fixture,) = read_fixtures([{"name": "two", "event": EVENT, "expect": [{"n": 1}, {"n": 2}]}])
    assert judge(fixture, Shaped(outputs=({"n": 1}, {"n": 2}))).problem == ""
    assert judge(fixture, Shaped(outputs=({"n": 2}, {"n": 1}))).problem
    assert judge(fixture, Shaped(outputs=({"n": 1},))).problem


def test_a_filter_may_be_named_or_left_open() -> None:
    named, open_ = read_fixtures(
        [
            {"name": "named", "event": EVENT, "filtered": "global.filters[0]"},
            {"name": "open", "event": EVENT, "filtered": True},
        ]
    )
    dropped = Shaped(filtered="default.filters[1]")
    assert judge(open_, dropped).problem == ""
    assert "dropped by default.filters[1]" in judge(named, dropped).problem
    assert "it gave 1 outputs" in judge(open_, Shaped(outputs=({},))).problem


def test_a_failure_is_recognised_by_a_part_of_its_sentence() -> None:
    (fixture,) = read_fixtures([{"name": "bad", "event": EVENT, "fails": "line 2"}])
    failure = Failure("default.expressions[0]", 2, "no", "", {})
    assert judge(fixture, Shaped(failure=failure)).problem == ""
    assert judge(fixture, Shaped(outputs=({},))).problem
    other = Failure("default.expressions[0]", 3, "no", "", {})
    assert "line 3" in judge(fixture, Shaped(failure=other)).problem


@pytest.mark.parametrize(
    ("tree", "part"),
    [
        ({}, "expected a list"),
        ([{"name": "x", "event": EVENT}], "says 0 of expect, filtered and fails"),
        ([{"name": "x", "event": EVENT, "expect": {}, "fails": "a"}], "says 2"),
        ([{"name": "x", "event": 5, "expect": {}}], "[0]"),
        ([{"name": "x", "event": EVENT, "expect": {}, "wrong": 1}], "wrong"),
    ],
)
def test_a_bad_fixture_is_refused_with_its_place(tree: object, part: str) -> None:
    with pytest.raises(FixtureError) as caught:
        read_fixtures(tree)
    assert part in str(caught.value)


def test_a_fixture_runs_at_the_same_moment_each_time() -> None:
    (fixture,) = read_fixtures([{"name": "order", "event": EVENT, "expect": {}}])
    assert moment_of(fixture, 5) == moment_of(fixture, 5)
    assert moment_of(fixture, 5).seed.endswith("m-1")
