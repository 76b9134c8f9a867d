"""Which events share a request: those of one user where the kit says so, and the parts of one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.kit_driving import by_json, drive, made_of, shaped
from trunkline.destinations.http_kit import HttpKit
from trunkline.kit.destination import BATCH_BYTES_MAX, Batching, Request, Response
from trunkline.kits.parcels import Entry, Room, pack
from trunkline.model.outcome import Delivered, Rejected, Retry

URL = "https://acme.example/e"


def kit(**said: Any) -> HttpKit:
    return made_of({"default": {"endpoint": URL, "batchSize": 10, **said}})


def bodies(requests: list[Request]) -> list[Any]:
    return [msgspec.json.decode(one.body) for one in requests]


def test_a_request_carries_only_events_that_have_the_same_where_the_kit_says() -> None:
    destination = kit(
        groupBy=["who", "meta.ip"],
        body={"user": "$event.who", "ip": "$event.meta.ip", "messages": "$events.message"},
    )
    told = [("a", "1", 1), ("b", None, 2), ("a", "1", 3), ("a", "2", 4), ("b", None, 5)]
    events = [
        shaped({"who": who, "meta": {"ip": ip}, "message": n}, id=f"m{n}", user=f"u-{n}")
        for who, ip, n in told
    ]
    driven = drive(destination, events)
    assert bodies(driven.requests) == [
        {"user": "a", "ip": "1", "messages": [1, 3]},
        {"user": "b", "messages": [2, 5]},
        {"user": "a", "ip": "2", "messages": [4]},
    ]
    assert driven.outcomes == [Delivered()] * 5
    assert destination.batching == Batching(users_max=1)
    assert kit().batching == Batching()
    assert kit(order="device").batching == Batching(by_device=True)
    assert kit(order="user").batching == Batching()


def test_an_event_without_the_part_that_the_envelope_lists_is_not_in_the_list() -> None:
    driven = drive(kit(body={"messages": "$events.a.b"}), [shaped({"a": {"b": 1}}), shaped({})])
    assert bodies(driven.requests) == [{"messages": [1]}]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"groupBy": "a..b"}, "groupBy: is 'a..b'; expected a path of the output"),
        ({"groupBy": []}, "groupBy: has 0 paths; 1 to 8 are taken"),
        ({"groupBy": ["a"] * 9}, "groupBy: has 9 paths"),
        ({"groupBy": [1]}, r"groupBy\[0\]: is a number; expected text"),
        ({"groupBy": "a", "body": {"x": "$event.b"}}, "body.x: is the first event, but a request"),
        ({"body": {"x": "$event.a"}}, "body.x: is the first event, but a request"),
        ({"batchSize": 2001}, "expected a whole number from 1 to 2000"),
        ({"bytesMax": 10_485_761}, "expected a whole number from 1000 to 10485760"),
    ],
)
def test_mistakes_are_told_with_their_place(said: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        kit(**said)


def test_a_kit_may_take_more_than_the_usual_where_its_vendor_does() -> None:
    large = kit(batchSize=2000, bytesMax=10_000_000)
    assert large.settings.batch_events_max == 2000
    assert large.batching == Batching(bytes_max=10_000_000)
    events = [shaped({"n": n}, id=f"m{n}", user=f"u{n}") for n in range(2000)]
    driven = drive(large, events)
    assert [len(body) for body in bodies(driven.requests)] == [2000]
    assert kit(bytesMax=5000).batching.bytes_max == BATCH_BYTES_MAX, "what one request holds"


# The parts of one event


def test_the_parts_of_an_event_share_a_request_that_can_hold_them() -> None:
    events = [
        *[shaped({"n": n}, id="m-1") for n in range(2)],
        *[shaped({"n": n}, id="m-2", user="v") for n in range(2)],
        shaped({"n": 9}, id="m-3", user="w"),
    ]
    assert bodies(drive(kit(batchSize=3), events).requests) == [
        [{"n": 0}, {"n": 1}, {"n": 9}], [{"n": 0}, {"n": 1}],
    ]  # fmt: skip


def test_parts_that_no_request_holds_are_judged_by_themselves() -> None:
    events = [shaped({"n": n}, id="m-1") for n in range(3)]

    def answer(request: Request) -> Response:
        return by_json({}, 422 if b'"n":2' in request.body else 200)

    driven = drive(kit(batchSize=2), events, answer)
    assert driven.outcomes == [Delivered(), Delivered(), Rejected("HTTP 422")]


entries = st.lists(
    st.builds(
        Entry,
        st.sampled_from("AB"),
        st.sampled_from("uvw"),
        st.integers(1, 9),
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=30,
)


@given(entries, st.integers(1, 5), st.integers(9, 30), st.integers(1, 4))
def test_packing_keeps_order_room_and_parts(
    told: list[Entry[str]], events_max: int, bytes_max: int, parcels_max: int
) -> None:
    room = Room(events_max, bytes_max)
    parcels, rest = pack(told, lambda key: room, parcels_max)
    placed = [position for parcel in parcels for position in parcel.positions]
    assert sorted([*placed, *rest]) == [*range(len(told))]
    assert len(parcels) <= parcels_max
    where = {p: number for number, parcel in enumerate(parcels) for p in parcel.positions}
    where.update(dict.fromkeys(rest, parcels_max))
    for number, parcel in enumerate(parcels):
        own = [told[p] for p in parcel.positions]
        assert {one.key for one in own} == {parcel.key} and 0 < len(own) <= events_max, number
        assert len(own) == 1 or sum(one.size for one in own) <= bytes_max
        assert parcel.positions == sorted(parcel.positions)
    for user in "uvw":
        path = [where[p] for p, one in enumerate(told) if one.user == user]
        assert path == sorted(path), "nothing overtakes an event of its user"
    for first in range(len(told) - 1):
        one, other = told[first], told[first + 1]
        if one.whole and one._replace(size=0) == other._replace(size=0):
            alone = [e for e in told if e._replace(size=0) == one._replace(size=0)]
            if len(alone) <= events_max and sum(e.size for e in alone) <= bytes_max:
                assert where[first] == where[first + 1], "it could have been held together"


def test_what_waits_for_the_next_request_is_retried() -> None:
    events = [shaped({"w": n}, id=f"m{n}", user=f"u{n}") for n in range(12)]
    driven = drive(kit(groupBy="w"), events)
    assert len(driven.requests) == 10
    assert [type(one) for one in driven.outcomes] == [Delivered] * 10 + [Retry] * 2
