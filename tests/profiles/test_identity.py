"""Who is who: what joins identifiers, what never does, and what undoing gives back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import msgpack, structs

from tests.support.pipeline_world import PROTOCOLS, event
from tests.support.profile_world import (
    APP,
    NOW_MS,
    ProfileWorld,
    alias,
    from_a_page,
    happened,
    identify,
    number_of,
    on_device,
)
from trunkline.kit.eventlog import Fetched, Record
from trunkline.kit.times import format_ms
from trunkline.model.record import decode_stored
from trunkline.pipeline.shape import shape
from trunkline.reports.push_tokens import PushTokens
from trunkline.state.home import Home
from trunkline.state.profile_links import IDENTIFIERS_MAX, cut, list_merges, merge_by_hand
from trunkline.state.profiles import transaction
from trunkline.telemetry.metrics import REGISTRY

PHONE = "38400000-8cf0-11bd-b23e-10b96e40000d"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProfileWorld]:
    world = ProfileWorld(tmp_path)
    yield world
    world.close()


def merge(world: ProfileWorld, one: str, other: str, why: str = "a ticket") -> int:
    with world.writing() as store, transaction(store.db):
        return merge_by_hand(
            store.db, APP, number_of(store, one), number_of(store, other), NOW_MS, "jane", why
        )


def unmerge(world: ProfileWorld, number: int) -> bool:
    with world.writing() as store, transaction(store.db):
        return cut(store.db, APP, number, NOW_MS + 1, "joe", "a mistake")


def left_out(what: str) -> float:
    found = REGISTRY.get_sample_value("trunkline_profiles_left_out_total", {"what": what})
    return found or 0.0


def state(world: ProfileWorld, *ids: str) -> list[Any]:
    """Return profiles without their merges, which remember what was undone."""
    seen = [world.see(each) for each in ids]
    for profile in seen:
        del profile["merges"]
    return seen


def test_what_an_event_names_together_is_one_profile(world: ProfileWorld) -> None:
    world.take(
        happened(0, "", "browser"), happened(1, "jane", "browser"), on_device(2, PHONE, "jane")
    )
    profile = world.see("jane")
    assert profile["id"] == "userId:jane"
    assert [(i["kind"], i["value"], i.get("belongsTo")) for i in profile["identifiers"]] == [
        ("userId", "jane", None),
        ("anonymousId", "browser", "userId:jane"),
        ("device", f"android:{PHONE}", "userId:jane"),
    ]
    assert profile["identifiers"][1]["because"] == "seen together"
    assert profile["firstSeen"] == format_ms(NOW_MS)
    assert profile["lastSeen"] == format_ms(NOW_MS + 120_000)
    assert [e["time"] for e in profile["latestEvents"]] == [
        format_ms(NOW_MS + at * 60_000) for at in (2, 1, 0)
    ]
    for text in ("browser", PHONE, PHONE.upper(), f"android:{PHONE}", "anonymousId:browser"):
        assert world.see(text)["id"] == "userId:jane"


def test_a_shared_browser_goes_over_to_who_signed_in_last(world: ProfileWorld) -> None:
    world.take(
        happened(0, "", "shared", message_id="before"),
        happened(1, "jane", "shared"),
        happened(2, "", "shared", message_id="as jane"),
        happened(3, "joe", "shared"),
        happened(4, "", "shared", message_id="as joe"),
    )
    assert world.ids("jane") == {"userId:jane"}
    assert world.ids("joe") == {"userId:joe", "anonymousId:shared"} == world.ids("shared")
    joe = world.see("joe")
    assert [e["messageId"] for e in joe["latestEvents"]] == ["as joe", "m3"]
    assert "was somebody else's until" in joe["notes"][0]
    # And back: what happened in between is shown with nobody.
    world.take(happened(5, "jane", "shared"), happened(6, "", "shared", message_id="jane again"))
    jane = [e["messageId"] for e in world.see("jane")["latestEvents"]]
    assert jane == ["jane again", "m5", "m1"]


def test_a_shared_phone_never_joins_two_users(world: ProfileWorld) -> None:
    world.take(
        on_device(0, PHONE, "jane", "a"),
        on_device(1, PHONE, "joe", "b"),
        on_device(2, PHONE, "", "b"),
    )
    assert world.ids("jane") == {"userId:jane", "anonymousId:a"}
    assert world.ids("joe") == {"userId:joe", "anonymousId:b", f"device:android:{PHONE}"}


def test_late_data_does_not_take_a_browser_back(world: ProfileWorld) -> None:
    world.take(happened(5, "joe", "shared"))
    world.take(happened(1, "jane", "shared"))
    assert world.ids("joe") == {"userId:joe", "anonymousId:shared"}
    assert world.ids("jane") == {"userId:jane"}


def test_the_newest_sign_counts_however_late_others_come(world: ProfileWorld) -> None:
    world.take(happened(5, "joe", "shared"))
    world.take(happened(1, "joe", "shared"))
    world.take(happened(3, "jane", "shared"))
    assert world.ids("joe") == {"userId:joe", "anonymousId:shared"}


def test_only_an_alias_joins_accounts(world: ProfileWorld) -> None:
    world.take(identify(0, "old", plan="free"), identify(1, "new", city="Bonn"))
    assert world.ids("old") == {"userId:old"}
    world.take(alias(2, "new", "old"))
    profile = world.see("new")
    assert profile == world.see("old")
    assert world.ids("new") == {"userId:old", "userId:new"}
    assert profile["traits"] == {"plan": "free", "city": "Bonn"}
    (merged,) = profile["merges"]
    assert merged["identifiers"] == ["userId:new", "userId:old"]
    assert (merged["reason"], merged["event"]) == ("alias", "m2")


def test_an_alias_of_a_browser_brings_the_browser(world: ProfileWorld) -> None:
    world.take(identify(0, "", "browser", plan="free"), alias(1, "jane", "browser"))
    assert world.ids("jane") == {"userId:jane", "anonymousId:browser"}
    assert world.see("jane")["traits"] == {"plan": "free"}


def test_who_holds_a_client_key_joins_no_accounts(world: ProfileWorld) -> None:
    """Anybody reads it from the page: with it nobody may get at another one's profile."""
    before = left_out("client_joins")
    world.take(identify(0, "victim", plan="pro"), identify(0, "thief"))
    world.take(from_a_page(alias(1, "thief", "victim")), from_a_page(alias(1, "victim", "thief")))
    assert world.ids("userId:thief") == {"userId:thief"}
    assert world.ids("userId:victim") == {"userId:victim"}
    assert world.see("userId:thief")["traits"] == {} and not world.see("userId:thief")["merges"]
    assert left_out("client_joins") == before + 2
    world.take(alias(2, "thief", "victim"))
    assert {"userId:thief", "userId:victim"} <= world.ids("userId:thief"), "a back end may"


@pytest.mark.parametrize("is_client", [True, False])
def test_the_pipeline_tells_on_whether_a_key_is_a_clients(tmp_path: Path, is_client: bool) -> None:
    accepted = structs.replace(event("m-1"), is_client=is_client)
    fetched = Fetched(0, 0, Record(b"", b"", 1))
    value = shape(fetched, accepted, PROTOCOLS, None, PushTokens(Home(tmp_path))).value
    assert decode_stored(value).is_client is is_client
    fields = msgpack.decode(value)
    assert not decode_stored(msgpack.encode(fields[:-1])).is_client, "of an older node"


def test_with_a_client_key_an_alias_brings_a_browser_to_the_account_it_names(
    world: ProfileWorld,
) -> None:
    before = left_out("client_joins")
    world.take(identify(0, "", "browser", plan="free"), from_a_page(alias(1, "jane", "browser")))
    assert world.ids("jane") == {"userId:jane", "anonymousId:browser"}
    assert left_out("client_joins") == before, "no account of that name is known"
    world.take(happened(2, "", "mine"), from_a_page(alias(3, "", "browser", "mine")))
    assert world.ids("mine") == {"anonymousId:mine"}, "a browser is not another's to claim"
    world.take(from_a_page(happened(4, "joe", "browser")))
    assert world.ids("joe") == {"userId:joe", "anonymousId:browser"}


def test_an_alias_that_was_undone_stays_undone(world: ProfileWorld) -> None:
    world.take(identify(0, "old", plan="free"), identify(1, "new", city="Bonn"))
    before = state(world, "old")
    world.take(alias(2, "new", "old"))
    (merged,) = world.see("new")["merges"]
    assert unmerge(world, merged["id"])
    world.take(alias(3, "new", "old"), alias(4, "new", "old"))
    assert world.ids("new") == {"userId:new"}
    assert state(world, "old") == before
    assert not unmerge(world, merged["id"]), "nothing is left to undo"


def test_a_merge_by_hand_is_remembered_and_undone_exactly(world: ProfileWorld) -> None:
    world.take(
        identify(0, "jane", "a", plan="free", city="Bonn"),
        identify(1, "joe", "b", plan="pro", city=None),
        on_device(2, PHONE, "", "b"),
    )
    before = state(world, "jane", "joe")
    number = merge(world, "a", "joe")
    together = world.see("jane")
    assert together["traits"] == {"plan": "pro"}
    assert len(together["identifiers"]) == 5
    (merged,) = together["merges"]
    assert (merged["id"], merged["by"], merged["why"]) == (number, "jane", "a ticket")
    with pytest.raises(ValueError, match="one profile already"):
        merge(world, "jane", "b")
    world.take(happened(3, "jane", "a"), identify(4, "joe", "b", plan="gold"))
    assert unmerge(world, number)
    assert [p["identifiers"][0]["value"] for p in state(world, "jane", "joe")] == ["jane", "joe"]
    assert world.see("joe")["traits"] == {"plan": "gold"}
    assert world.see("jane")["traits"] == before[0]["traits"]
    (undone,) = world.see("joe")["merges"]
    assert undone["undone"] == {
        "time": format_ms(NOW_MS + 1), "by": "joe", "why": "a mistake",
    }  # fmt: skip


def test_an_anonymous_profile_merged_by_hand_belongs_until_a_login_says_otherwise(
    world: ProfileWorld,
) -> None:
    world.take(happened(-9, "jane"), happened(-9, "", "kiosk"))
    number = merge(world, "kiosk", "jane")
    assert world.ids("jane") == {"userId:jane", "anonymousId:kiosk"}
    world.take(happened(1, "joe", "kiosk"))
    assert world.ids("jane") == {"userId:jane"}
    assert world.ids("joe") == {"userId:joe", "anonymousId:kiosk"}
    assert unmerge(world, number)
    assert not world.see("joe")["notes"], "as if the kiosk had never been jane's"


def test_a_full_profile_takes_no_more_and_says_so(world: ProfileWorld) -> None:
    world.take(*(happened(at, "kiosk", f"guest-{at}") for at in range(IDENTIFIERS_MAX + 40)))
    profile = world.see("kiosk")
    assert len(profile["identifiers"]) == IDENTIFIERS_MAX
    assert profile["notes"] == [
        "41 identifiers were left out: a profile has at most 100; is one id shared by many people?"
    ]
    assert world.ids("guest-139") == {"anonymousId:guest-139"}
    with pytest.raises(ValueError, match="more than 100"):
        world.take(happened(0, "jane"))
        merge(world, "jane", "kiosk")
    world.take(alias(200, "kiosk", "jane"))
    assert world.ids("jane") == {"userId:jane"}
    assert any("1 times an alias was left out" in note for note in world.see("kiosk")["notes"])


def test_values_that_stand_for_nobody_join_nobody(world: ProfileWorld) -> None:
    nobody = ("null", "undefined", "", "0", "00000000-0000-0000-0000-000000000000")
    for at, value in enumerate(nobody):
        world.take(on_device(at, value, f"user-{at}", value))
    for at, _ in enumerate(nobody):
        assert world.ids(f"user-{at}") == {f"userId:user-{at}"}
    world.take(happened(9, "null", "undefined"))
    assert world.show("null") is None and world.show("undefined") is None


def test_metrix_ids_are_the_anonymous_ones(world: ProfileWorld) -> None:
    """S2S and REST repeat `metrixUserId` as `userId` where no account is named."""
    both = {"automationUserId": "auto-7"}
    world.take(
        happened(0, "metrix", "metrix", protocol="s2s"),
        happened(1, "jane@example.com", "metrix", protocol="rest", context=both),
    )
    assert world.ids("metrix") == {
        "userId:jane@example.com", "automationUserId:auto-7", "anonymousId:metrix",
    }  # fmt: skip
    assert len(world.see("metrix")["latestEvents"]) == 2


def test_contexts_of_any_form_are_read(world: ProfileWorld) -> None:
    world.take(
        happened(0, "jane", context={"device": "a phone", "automationUserId": 7}),
        happened(1, "jane", context=["odd"]),
        happened(2, "jane", "a", context={"device": {"type": 5, "advertisingId": [PHONE]}}),
        happened(3, "jane", context={"device": {"type": None, "advertisingId": PHONE.upper()}}),
    )
    assert world.ids("jane") == {"userId:jane", "anonymousId:a", f"device:other:{PHONE}"}


def test_apps_do_not_know_each_other(world: ProfileWorld) -> None:
    world.take(happened(0, "jane", "a"), happened(1, "joe", "a", app="game"))
    assert world.see("a")["id"] == "userId:jane"
    assert world.see("a", "game")["id"] == "userId:joe"
    with world.writing() as store:
        assert list_merges(store.db, "game", 10) == []


def test_a_value_of_several_kinds_is_taken_as_the_surest_and_says_so(world: ProfileWorld) -> None:
    world.take(happened(0, "7"), happened(1, "jane", "7"))
    assert world.see("7")["id"] == "userId:7"
    assert world.see("7")["notes"] == [
        "7 is taken as userId; it is of other profiles too: ask for anonymousId:7"
    ]
    assert world.see("anonymousId:7")["id"] == "userId:jane"
