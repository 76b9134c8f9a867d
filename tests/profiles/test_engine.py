"""The engine: what it keeps and what not, and what a crash, an erasure and a broken store leave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tests.support.pipeline_world import make_app, make_snapshot
from tests.support.profile_world import (
    APP,
    NOW_MS,
    ProfileWorld,
    happened,
    identify,
    on_device,
)
from trunkline.desk.users import Users
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.desk import UserAsked
from trunkline.kit.suppression import person_digest
from trunkline.model.record import EVENTS
from trunkline.model.snapshot import ProfileSettings
from trunkline.profiles import batch, engine
from trunkline.state.db import wipe
from trunkline.state.profiles import LATEST_MAX, count_missed, read_position

PATIENCE_SECONDS = 60.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProfileWorld]:
    world = ProfileWorld(tmp_path)
    yield world
    world.close()


def rows(world: ProfileWorld) -> dict[str, Any]:
    """Return all that the store holds of people, by what it is, without row ids of links."""
    with world.writing() as store:
        return {
            "identifier": list(store.db.execute(
                "SELECT app, kind, value, first_ms, last_ms, latest FROM identifier ORDER BY 1,2,3"
            )),
            "link": list(store.db.execute(
                "SELECT c.value, o.value, l.reason, l.first_ms, l.last_ms, l.offset, l.event FROM"
                " link l JOIN identifier c ON c.id=child JOIN identifier o ON o.id=l.owner"
                " ORDER BY 1,2,3"
            )),
            "trait": list(store.db.execute(
                "SELECT i.value, name, at_ms, offset, t.value FROM trait t JOIN identifier i"
                " ON i.id=identifier ORDER BY 1,2"
            )),
        }  # fmt: skip


def ask(world: ProfileWorld, id_: str, app: str = APP) -> Any:
    return asyncio.run(Users(world.home).answer(UserAsked(app=app, id=id_)))


def test_the_desk_tells_a_profile_and_what_is_missing(world: ProfileWorld) -> None:
    assert ask(world, "jane").outcome == "missing", "there is no store yet"
    world.take(identify(0, "jane", "a", plan="pro"))
    reply = ask(world, "a")
    assert reply.outcome == "found"
    assert json.loads(reply.value) == {
        "id": "userId:jane",
        "identifiers": [
            {"kind": "userId", "value": "jane", "firstSeen": "2026-11-21T10:00:00.000Z",
             "lastSeen": "2026-11-21T10:00:00.000Z"},
            {"kind": "anonymousId", "value": "a", "firstSeen": "2026-11-21T10:00:00.000Z",
             "lastSeen": "2026-11-21T10:00:00.000Z", "belongsTo": "userId:jane",
             "because": "identify"},
        ],
        "traits": {"plan": "pro"},
        "traitTimes": {"plan": "2026-11-21T10:00:00.000Z"},
        "firstSeen": "2026-11-21T10:00:00.000Z",
        "lastSeen": "2026-11-21T10:00:00.000Z",
        "latestEvents": [{"messageId": "m0", "type": "identify", "event": "",
                          "time": "2026-11-21T10:00:00.000Z"}],
        "merges": [],
        "notes": [],
    }  # fmt: skip
    assert ask(world, "joe").outcome == "missing"
    assert ask(world, "jane", "game").outcome == "missing"


def test_the_latest_events_are_the_newest_by_time(world: ProfileWorld) -> None:
    for start in (60, 0, 30):
        world.take(*(happened(start + at, "jane") for at in range(30)))
    world.take(*(happened(-at, "jane", historical=True) for at in range(1, 90)))
    times = [e["messageId"] for e in world.see("jane")["latestEvents"]]
    assert times == [f"m{at}" for at in range(89, 89 - LATEST_MAX, -1)]
    assert world.see("jane")["firstSeen"] == "2026-11-21T08:31:00.000Z"
    with world.writing() as store:
        held = store.db.execute("SELECT max(length(latest)), max(entries) FROM identifier").get
    assert held[1] <= 40, "old ones are not kept for ever"


def test_profiles_can_be_turned_off_for_an_app(world: ProfileWorld) -> None:
    off = msgspec.structs.replace(make_app(APP), profiles=ProfileSettings(enabled=False))
    world.snapshot = make_snapshot(off)
    world.take(happened(0, "jane"), happened(0, "joe", app="game"))
    assert world.show("jane") is None
    world.snapshot = make_snapshot(make_app(APP))
    world.take(happened(1, "jane"))
    assert world.see("jane")["firstSeen"] == "2026-11-21T10:01:00.000Z"


def test_nothing_is_read_before_there_is_a_catalog(world: ProfileWorld) -> None:
    snapshot, world.snapshot = world.snapshot, None
    world.take(happened(0, "jane"))
    assert world.show("jane") is None
    world.snapshot = snapshot
    world.take()
    assert world.ids("jane") == {"userId:jane"}


def test_suppressed_people_are_not_kept(world: ProfileWorld) -> None:
    key = b"k" * 32
    app = msgspec.structs.replace(make_app(APP), suppressed=person_digest(key, APP, "user", "jane"))
    world.snapshot = msgspec.structs.replace(make_snapshot(app), suppression_key=key)
    world.take(happened(0, "jane", "a"), happened(0, "joe"))
    assert world.show("jane") is None and world.show("a") is None
    assert world.ids("joe") == {"userId:joe"}


def test_an_unreadable_record_is_passed_over(world: ProfileWorld) -> None:
    broken = msgspec.structs.replace(happened(0, "jane"), event=b"{")
    gone = msgspec.structs.replace(happened(0, "jane"), event=b"{}", erased_ms=NOW_MS)
    world.take(broken, gone, happened(1, "joe"))
    assert world.show("jane") is None
    assert world.ids("joe") == {"userId:joe"}


def test_an_erasure_removes_a_person_and_passes_over_what_was_not_read_yet(
    world: ProfileWorld,
) -> None:
    world.take(
        identify(0, "jane", "a", email="jane@example.com"),
        on_device(1, "f00d", "jane"),
        identify(1, "joe", plan="pro"),
    )
    offsets = world.put([happened(2, "jane"), happened(3, "", "a"), happened(4, "joe")])
    with world.writing() as store:
        members = store.members_of(APP, "a")
        assert members == {
            ("userId", "jane"), ("anonymousId", "a"), ("device", "android:f00d"),
        }  # fmt: skip
        erased = store.erase(APP, members, offsets[-1] + 1)
    assert (erased.identifiers, erased.links, erased.traits, erased.events) == (3, 2, 1, 2)
    world.take()
    assert world.show("jane") is None and world.show("a") is None
    assert len(world.see("joe")["latestEvents"]) == 2
    world.take(happened(5, "jane"))
    assert world.see("jane")["firstSeen"] == "2026-11-21T10:05:00.000Z"
    with world.writing() as store:
        assert store.db.execute("SELECT count(*) FROM erased").get == 0, "their ids are not kept"
        again = store.erase(APP, members, 0)
    assert again.identifiers == 1


def test_an_erasure_that_was_wiped_leaves_no_byte_behind(world: ProfileWorld) -> None:
    for at in range(60):
        world.take(identify(at, "jane-doe", email=f"secret-{at}@example.com"), happened(at, "joe"))
    world.engine.close()
    with world.writing() as store:
        store.erase(APP, store.members_of(APP, "jane-doe"), 0)
        assert wipe(store.db)
    files = sorted(world.home.profiles_file.parent.glob("profiles.db*"))
    assert files
    for file in files:
        data = file.read_bytes()
        assert b"jane-doe" not in data and b"secret-" not in data, file
    assert world.ids("joe") == {"userId:joe"}


def test_a_batch_that_fails_leaves_nothing_and_is_done_again(
    world: ProfileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take(happened(0, "jane", "a"))
    before = rows(world)

    def fail(*_: object) -> None:
        raise apsw.IOError("the disk")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "save_position", fail)
        world.put([identify(1, "jane", "b", plan="pro"), happened(2, "joe", "a")])
        with pytest.raises(apsw.IOError):
            world.engine.step()
    assert rows(world) == before
    world.take()
    assert world.ids("jane") == {"userId:jane", "anonymousId:b"}
    assert world.ids("joe") == {"userId:joe", "anonymousId:a"}
    assert len(world.see("jane")["latestEvents"]) == 2, "each event counts once"


def test_a_new_start_goes_on_where_the_last_one_ended(world: ProfileWorld) -> None:
    world.take(happened(0, "jane"), happened(1, "jane"))
    world.engine.close()
    world.engine = world.new_engine()
    world.take(happened(2, "jane"))
    assert [e["messageId"] for e in world.see("jane")["latestEvents"]] == ["m2", "m1", "m0"]


def test_small_memories_give_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing depends on what is remembered of sets, or on how events come in batches."""
    events = [
        happened(at, f"u{at * 7 % 5}", f"a{at * 3 % 4}", type_=("track", "identify")[at % 2])
        for at in range(60)
    ]
    worlds = [ProfileWorld(tmp_path / name, is_light=True) for name in ("one", "other")]
    worlds[0].take(*events)
    monkeypatch.setattr(batch, "KNOWN_SETS_MAX", 1)
    for event in events:
        worlds[1].take(event)
    whole, single = rows(worlds[0]), rows(worlds[1])
    shown = [[w.see(f"a{n}") for n in range(4)] for w in worlds]
    for world in worlds:
        world.close()
    assert whole["link"] == single["link"] and whole["trait"] == single["trait"]
    assert shown[0] == shown[1]


def test_the_same_ids_written_in_two_ways_are_added_up(world: ProfileWorld) -> None:
    """They share links and rows, and in one batch the newest of all of them counts."""
    for ids in (("F00D", "f00d"), ("f00d", "F00D")):
        user = "jane" + ids[0]
        world.take(
            on_device(3, ids[0], user), on_device(9, ids[0], user), on_device(1, ids[1], user)
        )
        (told,) = (row for row in rows(world)["link"] if row[1] == user)
        assert told[3:5] + told[6:] == (NOW_MS + 60_000, NOW_MS + 540_000, "m9")
        seen = world.see(user)
        assert [e["messageId"] for e in seen["latestEvents"]] == ["m9", "m3", "m1"]


def test_a_batch_of_many_events_of_one_person_keeps_the_newest_and_the_first(
    world: ProfileWorld,
) -> None:
    order = [at * 37 % 200 for at in range(200)]
    world.take(*(happened(at, "jane", "a") for at in order))
    seen = world.see("jane")
    assert [e["messageId"] for e in seen["latestEvents"]] == [
        f"m{at}" for at in range(199, 199 - LATEST_MAX, -1)
    ]
    assert seen["firstSeen"] == "2026-11-21T10:00:00.000Z"
    (link,) = rows(world)["link"]
    assert link[3:5] == (NOW_MS, NOW_MS + 199 * 60_000)


def test_under_load_it_gathers_for_longer(
    world: ProfileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_LOADED_RECORDS", 10)
    monkeypatch.setattr(engine, "BATCH_RECORDS", 20)
    monkeypatch.setattr(engine, "_CHUNK_RECORDS", 20)
    pauses: list[float] = []
    for count in (1, 10, 20):
        world.put(happened(at, "jane") for at in range(count))
        pauses.append(world.engine._try_step())
    assert pauses[0] < pauses[1] <= 5 and pauses[2] == 0, "a full batch is behind: it goes on"


def test_a_batch_that_takes_long_ends_for_others_and_goes_on_at_once(
    world: ProfileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_CHUNK_RECORDS", 5)
    world.put(happened(at, "jane") for at in range(5))
    world.put(happened(at, "jane") for at in range(5, 10))
    assert world.engine._try_step() == 0
    with world.writing() as store:
        assert read_position(store.db) == 5
    world.take()
    assert len(world.see("jane")["latestEvents"]) == 10


def test_events_are_held_until_the_store_was_synced_past_them(tmp_path: Path) -> None:
    clock = FakeClock(now_ms=NOW_MS)
    world = ProfileWorld(tmp_path, clock=clock, segment_bytes=100_000)
    world.engine.step()
    for start in range(0, 300, 25):
        world.put([happened(at, f"user-{at}", text="x" * 2000) for at in range(start, start + 25)])
    world.log.commit(EVENTS, "others", {0: 10_000})
    assert world.log.retain(EVENTS, 1 << 62, None) == 0, "nothing was read yet"
    world.take()
    assert world.log.retain(EVENTS, 1 << 62, None) == 0, "read, and not synced yet"
    assert world.engine.sync()
    assert world.log.retain(EVENTS, 1 << 62, None) > 0
    world.close()


def test_a_store_that_stays_broken_lets_the_log_go_and_counts_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ProfileWorld(tmp_path, segment_bytes=100_000)
    world.take(happened(0, "jane"))
    assert world.engine.sync()
    world.engine.close()
    good = world.home.profiles_file.read_bytes()
    world.home.profiles_file.write_bytes(b"no database" * 1000)
    for start in range(0, 300, 25):
        world.put([happened(at, f"user-{at}", text="x" * 2000) for at in range(start, start + 25)])
    world.log.commit(EVENTS, "others", {0: 10_000})
    world.engine._try_step()
    world.log.retain(EVENTS, 1 << 62, None)
    assert world.log.begins(EVENTS)[0] <= 1, "it may be mended in time"
    world.engine._failing_since = world.clock.monotonic() - engine.FAILING_SECONDS_MAX
    world.engine._try_step()
    assert world.log.retain(EVENTS, 1 << 62, None) > 0
    for name in ("profiles.db-wal", "profiles.db-shm"):
        world.home.profiles_file.with_name(name).unlink(missing_ok=True)
    world.home.profiles_file.write_bytes(good)
    world.take()
    begin = world.log.begins(EVENTS)[0]
    with world.writing() as store:
        assert count_missed(store.db) == begin - 1
        assert read_position(store.db) == world.log.ends(EVENTS)[0]
    assert world.ids("user-299") == {"userId:user-299"}
    assert world.ids("jane") == {"userId:jane"}
    world.engine.sync()
    assert world.log.committed(EVENTS, engine.GROUP), "it is held again"
    world.close()


def test_the_thread_takes_events_while_they_come_and_stops(tmp_path: Path) -> None:
    clock = SystemClock()
    world = ProfileWorld(tmp_path, clock=clock)
    stop = threading.Event()
    thread = threading.Thread(target=world.engine.run, args=(stop,))
    thread.start()
    try:
        for at in range(5):
            world.put([happened(at, "jane")])
        deadline = clock.monotonic() + PATIENCE_SECONDS
        while len(world.see("jane")["latestEvents"] if world.show("jane") else ()) < 5:
            assert clock.monotonic() < deadline
            clock.pause(0.02)
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert world.see("jane")["lastSeen"] == world.see("jane")["latestEvents"][0]["time"]
    world.close()


def test_a_batch_ends_where_its_traits_grow_large(
    world: ProfileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_TRAIT_BYTES_MAX", 100_000)
    monkeypatch.setattr(engine, "_CHUNK_RECORDS", 2)
    world.put([identify(at, f"user-{at}", text="x" * 8000) for at in range(40)])
    taken = [world.engine.step() for _ in range(5)]
    assert taken[:3] == [14, 14, 12], taken
    assert world.see("user-39")["traits"] == {"text": "x" * 8000}


def test_an_event_that_shows_a_defect_holds_up_nobody(
    world: ProfileWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = batch.Batch.take

    def fail(self: batch.Batch, event: Any, named: Any, key: Any, offset: int) -> None:
        if key[2][0] == "poison":
            raise ZeroDivisionError("a defect")
        take(self, event, named, key, offset)

    monkeypatch.setattr(batch.Batch, "take", fail)
    world.take(happened(0, "jane"), happened(1, "poison"), happened(2, "joe"))
    assert world.show("poison") is None
    assert world.ids("jane") and world.ids("joe")
