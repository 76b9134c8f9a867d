"""Whole numbers that must differ in a request do, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kits.test_kit_file import kit, problems_of
from trunkline.kits.apart import set_apart


@given(st.lists(st.integers(0, 20), max_size=60))
def test_no_two_are_the_same_and_the_first_of_a_number_keeps_it(numbers: list[int]) -> None:
    values: list[dict[str, Any]] = [{"m": {"t": n, "id": i}} for i, n in enumerate(numbers)]
    made = set_apart(values, "m.t")
    found = [one["m"]["t"] for one in made]
    assert len({*found}) == len(found)
    assert [one["m"]["id"] for one in made] == [*range(len(numbers))]
    assert all(new >= old for new, old in zip(found, numbers, strict=True))
    assert values == [{"m": {"t": n, "id": i}} for i, n in enumerate(numbers)], "it copies"


def test_many_of_one_moment_take_no_time_of_their_own() -> None:
    found = set_apart([{"t": 7}] * 2000, "t")
    assert [one["t"] for one in found] == [*range(7, 2007)]


@pytest.mark.parametrize("odd", [None, "7", 7.0, True, [7], {"t": 7}])
def test_what_is_no_whole_number_stays(odd: Any) -> None:
    values: list[dict[str, Any]] = [{"t": odd}, {"t": odd}, {}, {"t": 7}]
    assert set_apart(values, "t") == values


def test_a_path_with_a_hole_is_told() -> None:
    request = {"endpoint": "https://a.example", "batchSize": 5, "apart": "m..t"}
    told = problems_of(kit(connection={"default": request}))
    assert told == [
        "connection.default.apart: is 'm..t'; expected a path of the output, as user.id"
    ]
