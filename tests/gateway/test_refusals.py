"""Refusals on their way to the log: whole while few, counted when many, never unbounded."""

from __future__ import annotations

from itertools import count

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trunkline.gateway import refusals as room
from trunkline.gateway.refusals import Refusals
from trunkline.model.record import AcceptedRefusal, decode_accepted
from trunkline.telemetry.gateway import Tally


def make(app: str = "a", code: str = "bad", body: bytes = b"{}") -> AcceptedRefusal:
    return AcceptedRefusal(app, "plain", "k", 1, 0, "1.1.1.1", "r", code, "It is bad.", "m", body)


def kept() -> tuple[Refusals, Tally]:
    numbers, tally = count(1), Tally()
    return Refusals(lambda: next(numbers), tally), tally


def take_all(refusals: Refusals) -> list[AcceptedRefusal]:
    taken: list[AcceptedRefusal] = []
    while refusals.is_waiting:
        taken += refusals.take(1_000_000)
    return taken


def test_few_are_kept_whole_and_the_rest_of_a_second_is_one_count() -> None:
    refusals, tally = kept()
    refusals.add([make() for _ in range(1000)] + [make(app="b")])
    taken = take_all(refusals)
    assert [r.app for r in taken] == ["a"] * room.WHOLE_PER_SECOND + ["b"]
    refusals.fold_out()
    (counted,) = take_all(refusals)
    assert (counted.count, counted.body, counted.address) == (950, b"", "")
    assert (counted.code, counted.key) == ("bad", "k")
    assert tally.refused["plain", "bad"] == 1001
    refusals.add([make()])
    assert take_all(refusals) == [make()]


def test_what_could_not_be_stored_waits_in_its_order() -> None:
    refusals, _ = kept()
    refusals.add([make(code=str(n)) for n in range(5)])
    first = refusals.take(1)
    refusals.put_back(first)
    assert [r.code for r in take_all(refusals)] == ["0", "1", "2", "3", "4"]


def test_records_decode_to_what_was_refused() -> None:
    refusals, _ = kept()
    records = refusals.encode([make(), make(app="b")])
    assert [decode_accepted(r.value) for r in records] == [make(), make(app="b")]
    assert [r.stamp for r in records] == [1, 2]


def test_memory_is_bounded_and_what_finds_no_room_is_told() -> None:
    refusals, tally = kept()
    for number in range(500):
        refusals.add([make(app=f"app{number}", body=b"x" * 8192) for _ in range(60)])
    waiting = take_all(refusals)
    assert sum(len(r.body) for r in waiting) <= room.WAITING_BYTES_MAX
    refusals.add([make(app=f"x{n}", code=f"c{n}") for n in range(20_000)])
    refusals.fold_out()
    total = tally.unrecorded + sum(r.count for r in waiting)
    while taken := take_all(refusals):
        total += sum(r.count for r in taken)
        refusals.fold_out()
    assert total == 500 * 60 + 20_000
    assert tally.unrecorded > 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 200))))
def test_every_refusal_is_accounted_for(steps: list[tuple[str, str, int]]) -> None:
    refusals, tally = kept()
    total = 0
    for app, code, number in steps:
        refusals.add([msgspec.structs.replace(make(app, code), count=2) for _ in range(number)])
        if number % 3 == 0:
            refusals.put_back(refusals.take(1000))
        if number % 5 == 0:
            refusals.fold_out()
            total += sum(r.count for r in take_all(refusals))
    refusals.fold_out()
    total += sum(r.count for r in take_all(refusals))
    assert total == 2 * sum(number for _, _, number in steps)
    assert tally.unrecorded == 0
