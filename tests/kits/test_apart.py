"""Whole numbers that must differ in a request do, and nothing else changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kits.test_kit_file import kit, problems_of
from tests.support.kit_driving import Driven, attempt_for, drive, made_of, shaped
from trunkline.kits.apart import Taken, keep_apart, set_apart
from trunkline.kits.request_spec import Apart


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


OWNER = b"u"


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 25)), max_size=8), max_size=12)
)
def test_what_is_remembered_differs_and_an_event_that_goes_again_has_the_number_it_had(
    requests: list[list[tuple[int, int]]],
) -> None:
    """An event is its id; what it wants is decided by it."""
    taken = Taken()
    had: dict[int, int] = {}
    for request in requests:
        for _, id in request:
            wanted = id % 4
            number = taken.number_for(OWNER, wanted, str(id))
            assert number >= wanted
            assert had.setdefault(id, number) == number
    assert len({*had.values()}) == len(had)


def test_an_event_that_wants_another_number_than_before_gives_the_old_one_back() -> None:
    taken = Taken()
    assert taken.number_for(OWNER, 7, "a") == 7
    assert taken.number_for(OWNER, 9, "a") == 9
    assert [taken.number_for(OWNER, 7, one) for one in ("b", "c")] == [7, 8]


def test_only_the_newest_are_remembered_and_a_crowd_at_one_moment_costs_no_search() -> None:
    taken = Taken(kept_max=3000)
    found = [taken.number_for(OWNER, 7 + n % 5, str(n)) for n in range(30_000)]
    assert len({*found[-3000:]}) == 3000
    assert len(taken) == 3000


def test_each_owner_has_numbers_of_its_own() -> None:
    values: list[dict[str, Any]] = [
        {"u": "a", "t": 7}, {"u": "b", "t": 7}, {"u": "a", "t": 7}, {"u": "a", "t": "7"},
    ]  # fmt: skip
    found = keep_apart(values, ["1", "2", "3", "4"], Apart("t", ("u", "x.y")), Taken())
    assert [one["t"] for one in found] == [7, 7, 8, "7"]
    assert values[2] == {"u": "a", "t": 7}, "it copies"


REMEMBERING = {"key": "m.t", "by": ["who"]}


def sent(driven: Driven) -> list[tuple[str, list[int]]]:
    bodies = [msgspec.json.decode(request.body) for request in driven.requests]
    return [(body["who"], [one["t"] for one in body["messages"]]) for body in bodies]


def test_two_requests_of_one_user_carry_no_moment_twice_also_where_one_goes_again() -> None:
    body = {"who": "$event.who", "messages": "$events.m"}
    request = {"endpoint": "https://a.example", "batchSize": 5, "groupBy": ["who", "ip"]}
    destination = made_of({"default": {**request, "apart": REMEMBERING, "body": body}})
    told = [("a", 1, 7), ("a", 2, 7), ("b", 1, 7), ("a", 1, 8)]
    events = [
        shaped({"who": who, "ip": ip, "m": {"t": t}}, id=f"m{n}", user=f"{who}{ip}")
        for n, (who, ip, t) in enumerate(told)
    ]
    first = [("a", [7, 8]), ("a", [9]), ("b", [7])]
    assert sent(drive(destination, [events[0], events[3], events[1], events[2]])) == first
    assert sent(drive(destination, [events[1]])) == [("a", [9])], "the number it had"
    assert sent(drive(destination, [events[2], events[3]])) == [("b", [7]), ("a", [8])]
    late = shaped({"who": "a", "ip": 1, "m": {"t": 8}}, id="m9")
    assert sent(drive(destination, [late])) == [("a", [10])]
    shown = destination.build([late], attempt_for([late]))
    assert msgspec.json.decode(shown.body)["messages"] == [{"t": 8}], "a look takes no number"


@pytest.mark.parametrize(
    ("apart", "problem"),
    [
        ({"key": "t"}, "apart: by is missing"),
        ({"key": "t", "by": []}, "apart.by: has 0 paths; 1 to 8 are taken"),
        ({"key": "t", "by": "a..b"}, "apart.by: is 'a..b'; expected a path of the output"),
        ({"key": "t", "by": ["u"], "of": 1}, "apart.of: is not known here"),
    ],
)
def test_what_is_wrong_with_it_is_told(apart: dict[str, Any], problem: str) -> None:
    told = problems_of(
        kit(connection={"default": {"endpoint": "https://a.example", "apart": apart}})
    )
    assert [one for one in told if one.startswith(f"connection.default.{problem}")], told
