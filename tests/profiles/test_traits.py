"""Traits: the newest by time stays, in whatever order events come; within limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.profile_world import (
    APP,
    NOW_MS,
    ProfileWorld,
    alias,
    happened,
    identify,
    number_of,
)
from trunkline.kit.times import format_ms
from trunkline.model.record import StoredEvent
from trunkline.profiles.traits import BYTES_MAX, TRAITS_MAX, VALUE_BYTES_MAX
from trunkline.reports.push_tokens import PushTokens
from trunkline.state.profile_links import cut, merge_by_hand
from trunkline.state.profiles import transaction


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProfileWorld]:
    world = ProfileWorld(tmp_path)
    yield world
    world.close()


def test_late_data_never_overwrites_newer(world: ProfileWorld) -> None:
    world.take(identify(5, "jane", plan="pro", city="Bonn"))
    world.take(identify(1, "jane", plan="free", age=33))
    profile = world.see("jane")
    assert profile["traits"] == {"age": 33, "city": "Bonn", "plan": "pro"}
    assert profile["traitTimes"]["age"] == format_ms(NOW_MS + 60_000)
    assert profile["traitTimes"]["plan"] == format_ms(NOW_MS + 300_000)


def test_null_clears_and_stays_cleared(world: ProfileWorld) -> None:
    world.take(identify(1, "jane", city="Bonn"), identify(3, "jane", city=None))
    world.take(identify(2, "jane", city="Ulm"))
    assert world.see("jane")["traits"] == {}
    world.take(identify(4, "jane", city="Kiel"))
    assert world.see("jane")["traits"] == {"city": "Kiel"}


def register(at: float, user: str, token: str, anonymous: str = "") -> StoredEvent:
    """Return what a phone says when it may be sent messages."""
    device = {"type": "android", "token": token}
    return happened(at, user, anonymous, type_="identify", name="", context={"device": device})


def test_the_newest_device_that_takes_messages_is_a_trait(world: ProfileWorld) -> None:
    world.take(register(5, "jane", "new"), register(1, "jane", "old"))
    world.take(identify(6, "jane", plan="pro"))  # no device: nothing of it changes
    assert world.see("jane")["traits"] == {
        "plan": "pro", "pushToken": {"token": "new", "platform": "android"},
    }  # fmt: skip
    subscription = {"endpoint": "https://push.example/1", "keys": {"auth": "a"}}
    pushed = {"push": {"subscription": subscription, "status": "granted"}}
    world.take(happened(7, "jane", type_="identify", name="", context=pushed))
    assert world.see("jane")["traits"]["pushSubscription"] == subscription


@pytest.mark.parametrize(
    "context",
    [
        {"device": {"token": 7}},
        {"device": {"token": ""}},
        {"device": "token"},
        {"push": {"subscription": None}, "token": "t"},
        {"other": {"token": "t"}},
    ],
)
def test_what_is_no_push_address_costs_no_trait(world: ProfileWorld, context: Any) -> None:
    world.take(
        happened(1, "jane", type_="identify", name="", context=context, traits={"plan": "pro"})
    )
    assert world.see("jane")["traits"] == {"plan": "pro"}


def test_a_push_finds_the_newest_device_of_its_user(world: ProfileWorld) -> None:
    tokens = PushTokens(world.home)
    assert tokens.find(APP, "jane") is None  # no store yet
    tokens.close()
    world.take(
        register(1, "jane", "phone", anonymous="a-1"),
        register(2, "", "tablet", anonymous="a-1"),
        register(3, "joe", "his", anonymous="a-2"),
        identify(4, "sam", pushToken="not an object"),
    )
    found = [tokens.find(APP, each) for each in ("jane", "joe", "sam", "nobody", "phone")]
    assert [each and each.token for each in found] == ["tablet", "his", None, None, None]
    assert tokens.find("another", "jane") is None and tokens.fault == ""
    tokens.close()
    world.close()
    for file in world.home.profiles_file.parent.glob("profiles.db*"):
        file.write_bytes(b"no database" * 1000)
    assert tokens.find(APP, "jane") is None
    assert "NotADBError" in tokens.fault
    for file in world.home.profiles_file.parent.glob("profiles.db*"):
        file.unlink()
    assert tokens.find(APP, "jane") is None and tokens.fault, "asked no more until it is closed"
    tokens.close()
    assert tokens.find(APP, "jane") is None and not tokens.fault


def test_at_the_same_time_the_later_one_stays(world: ProfileWorld) -> None:
    world.take(identify(1, "jane", city="Bonn"), identify(1, "jane", city="Ulm"))
    assert world.see("jane")["traits"] == {"city": "Ulm"}
    world.take(identify(1, "jane", city="Kiel"))
    assert world.see("jane")["traits"] == {"city": "Kiel"}


def test_any_json_comes_back_as_it_was(world: ProfileWorld) -> None:
    traits: dict[str, Any] = {
        "نام": "زهرا\u2028", "big": 2**70, "deep": {"a": [1, None, {"b": 1.50}]}, "no": False,
    }  # fmt: skip
    world.take(identify(1, "jane", **traits))
    assert world.see("jane")["traits"] == traits


def test_only_identify_brings_traits(world: ProfileWorld) -> None:
    world.take(
        identify(1, "jane", plan="pro"),
        happened(2, "jane", traits={"plan": "free"}),
        happened(3, "jane", type_="group", traits={"plan": "of the company"}),
    )
    assert world.see("jane")["traits"] == {"plan": "pro"}


def test_what_is_past_a_limit_is_left_out_and_named(world: ProfileWorld) -> None:
    many = {f"t{number:03}": number for number in range(TRAITS_MAX + 20)}
    world.take(
        identify(1, "many", **many),
        identify(1, "large", text="x" * VALUE_BYTES_MAX, fits="x" * (VALUE_BYTES_MAX - 2)),
        *(identify(at, "heavy", **{f"t{at}": "x" * 8000}) for at in range(40)),
    )
    assert len(world.see("many")["traits"]) == TRAITS_MAX
    assert world.see("many")["notes"] == [
        "20 times a trait was past a limit (names, or bytes) and was left out"
    ]
    assert list(world.see("large")["traits"]) == ["fits"]
    assert len(world.see("heavy")["traits"]) == BYTES_MAX // 8005
    # What is there is still kept up to date, and can be cleared.
    world.take(identify(2, "many", t000="new", t001=None, t600="no room"))
    traits = world.see("many")["traits"]
    assert traits["t000"] == "new" and "t001" not in traits and "t600" not in traits


# Properties, over small worlds of identifiers, names and times.

USERS = ("jane", "joe", "")
BROWSERS = ("a", "b", "")


@st.composite
def stories(draw: st.DrawFn) -> list[StoredEvent]:
    """Return events of different times, of few people who share browsers."""
    events: list[StoredEvent] = []
    for at in range(draw(st.integers(1, 9))):
        user, browser = draw(st.sampled_from(USERS)), draw(st.sampled_from(BROWSERS))
        kind = draw(st.sampled_from(("identify", "track", "alias")))
        if kind == "identify":
            values = draw(st.dictionaries(st.sampled_from("xyz"), st.sampled_from((1, 2, None))))
            events.append(identify(at, user, browser, **values))
        elif kind == "track" or not user:
            events.append(happened(at, user, browser))
        else:
            events.append(alias(at, user, draw(st.sampled_from(("jane", "joe", "a", "x")))))
    return events


def everything(world: ProfileWorld) -> dict[str, Any]:
    """Return every profile, without the numbers that depend on the order of writing."""
    seen: dict[str, Any] = {}
    for kind, value in itertools.product(("userId", "anonymousId"), (*USERS, *BROWSERS, "x")):
        if value and world.show(f"{kind}:{value}") is not None:
            seen[f"{kind}:{value}"] = world.see(f"{kind}:{value}") | {"merges": None}
    return seen


def told(events: Sequence[StoredEvent], batch: int) -> dict[str, Any]:
    """Return every profile after these events, taken in batches."""
    with TemporaryDirectory() as folder:
        world = ProfileWorld(Path(folder), is_light=True)
        for start in range(0, len(events), batch):
            world.take(*events[start : start + batch])
        seen = everything(world)
        world.close()
    return seen


def check_any_order(events: list[StoredEvent], random: Any, batch: int) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert told(shuffled, batch) == told(events, len(events))


def check_unmerging(
    before: list[StoredEvent], after: list[StoredEvent], choose: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        world = ProfileWorld(Path(folder), is_light=True)
        world.take(*before)
        known = sorted(everything(world)) or [""]
        one, other = choose.draw(st.sampled_from(known)), choose.draw(st.sampled_from(known))
        number = merged(world, one, other) if one else None
        world.take(*after)
        if number is not None:
            with world.writing() as store, transaction(store.db):
                assert cut(store.db, APP, number, NOW_MS, "jane", "")
        seen = everything(world)
        world.close()
    assert seen == told([*before, *after], len(before) + len(after))


def merged(world: ProfileWorld, one: str, other: str) -> int | None:
    """Merge two by hand and return the number; None where they are one already."""
    with world.writing() as store, transaction(store.db):
        numbers = number_of(store, one), number_of(store, other)
        try:
            return merge_by_hand(store.db, APP, *numbers, NOW_MS + 2_000_000, "jane", "")
        except ValueError:
            return None


RANDOMS = st.randoms(use_true_random=False)
FEW = settings(max_examples=8, deadline=None)
MANY = settings(max_examples=150, deadline=None)


@given(stories(), RANDOMS, st.integers(1, 4))
@FEW
def test_any_order_and_any_batches_give_the_same_profiles(
    events: list[StoredEvent], random: Any, batch: int
) -> None:
    check_any_order(events, random, batch)


@given(stories(), stories(), st.data())
@FEW
def test_unmerging_is_as_if_the_merge_had_never_been(
    before: list[StoredEvent], after: list[StoredEvent], choose: st.DataObject
) -> None:
    check_unmerging(before, after, choose)


@pytest.mark.slow
@given(stories(), RANDOMS, st.integers(1, 4))
@MANY
def test_any_of_many_orders_gives_the_same_profiles(
    events: list[StoredEvent], random: Any, batch: int
) -> None:
    check_any_order(events, random, batch)


@pytest.mark.slow
@given(stories(), stories(), st.data())
@MANY
def test_unmerging_in_many_stories_is_as_if_the_merge_had_never_been(
    before: list[StoredEvent], after: list[StoredEvent], choose: st.DataObject
) -> None:
    check_unmerging(before, after, choose)
