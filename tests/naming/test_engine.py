"""Events that senders named: what is defined of them and what is not, and what looks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy.exc import SQLAlchemyError

from tests.support.profile_world import happened
from tests.support.workspaces import apply, new_home
from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import CatalogError
from trunkline.catalog.naming import DEFINITIONS_MAX, define_events
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import FakeClock, SystemClock
from trunkline.kit.eventlog import Record
from trunkline.kit.rest_checks import NOT_DEFINED
from trunkline.model.record import EVENTS, StoredEvent, encode_record
from trunkline.naming.engine import LOOK_SECONDS, REST_SECONDS, EventNaming
from trunkline.state.home import Home

APP, OTHER, FLAGS, BLOCKS = (letter * 15 for letter in "abcd")
WORKSPACE = f"""
apps:
  - {{id: {APP}, name: Shop, events: [{{slug: taqsq, name: Purchase Completed, accept: server}}]}}
  - {{id: {OTHER}, name: Other}}
  - {{id: {FLAGS}, name: Flags, unknown_events: flag}}
  - {{id: {BLOCKS}, name: Blocks, unknown_events: block}}
"""
PATIENCE_SECONDS = 60.0
NOTE = f'"x" {NOT_DEFINED}'


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = new_home(tmp_path)
    apply(home, WORKSPACE)
    return home


def names(home: Home, app: str = APP) -> list[str]:
    return [event.name for event in load_snapshot(home).apps_by_id[app].events]


def test_what_is_not_defined_yet_is_and_nothing_else_changes(home: Home) -> None:
    before = load_snapshot(home)
    said = ["cart_opened", "Cart Opened", "PURCHASE-completed", "taqsq", " bad ", "", "خرید 🎉"]
    assert define_events(home, FakeClock(), {APP: said, OTHER: ["cart_opened"]}) == {
        APP: 2, OTHER: 1,
    }  # fmt: skip
    after = load_snapshot(home)
    assert after.version == before.version + 1
    old, *new = after.apps_by_id[APP].events
    assert old == before.apps_by_id[APP].events[0]
    assert [event.name for event in new] == ["cart_opened", "خرید 🎉"]
    assert len({event.slug for event in new}) == 2
    assert all(len(event.slug) == 5 and event.accept == "any" for event in new)
    assert define_events(home, FakeClock(), {APP: said}) == {}
    assert load_snapshot(home).version == after.version


@pytest.mark.parametrize("app", [FLAGS, BLOCKS, "e" * 15])
def test_an_app_with_a_plan_of_its_own_and_one_that_is_gone_get_nothing(
    home: Home, app: str
) -> None:
    assert define_events(home, FakeClock(), {app: ["cart_opened"]}) == {}
    assert load_snapshot(home).version == 1


def test_an_app_has_room_for_so_many(home: Home) -> None:
    many = [f"event {number}" for number in range(DEFINITIONS_MAX + 5)]
    assert define_events(home, FakeClock(), {APP: many}) == {APP: DEFINITIONS_MAX - 1}
    assert define_events(home, FakeClock(), {APP: ["one more"]}) == {}


def test_a_workspace_file_takes_such_an_event_over(home: Home) -> None:
    define_events(home, FakeClock(), {OTHER: ["cart_opened"]})
    [made] = load_snapshot(home).apps_by_id[OTHER].events
    said = "[{name: Cart Opened, revenue: true}]"
    apply(home, f"apps: [{{id: {OTHER}, name: Other, events: {said}}}]")
    [kept] = load_snapshot(home).apps_by_id[OTHER].events
    assert (kept.slug, kept.name, kept.revenue) == (made.slug, "Cart Opened", True)


# What looks for them.


class World:
    """A home with a log of EVENTS, and what looks through it for events to define."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.clock = FakeClock()
        self.log = SqliteEventLog(home.log_folder, self.clock, reserve_bytes=0)
        self.appender = self.log.appender(EVENTS, 0)
        self.naming = self.start()

    def start(self) -> EventNaming:
        return EventNaming(
            home=self.home,
            log=self.log,
            snapshot=lambda: load_snapshot(self.home),
            clock=self.clock,
        )

    def store(self, *events: StoredEvent) -> None:
        self.appender.append([Record(b"", encode_record(each), 1) for each in events])

    def close(self) -> None:
        self.appender.close()
        self.log.close()


@pytest.fixture
def world(home: Home) -> Iterator[World]:
    made = World(home)
    yield made
    made.close()


def named(name: str, app: str = APP, **more: Any) -> StoredEvent:
    event = happened(0, "u", name=name, app=app, protocol="rest")
    return msgspec.structs.replace(event, **{"notes": ("the sender's id is 1", NOTE), **more})


def test_what_a_record_says_was_not_defined_is_defined_and_nothing_else(world: World) -> None:
    world.store(
        named("cart_opened"), named("Purchase Completed"), named("cart_opened"),
        named("Seen", OTHER), named("Flagged", FLAGS), named("Gone", "e" * 15),
        named("Erased", erased_ms=5), named("Defined", notes=()),
        named("Tracked", protocol="tracking"),
        named("Quoted", notes=(), event=f'{{"event":"{NOT_DEFINED}"}}'.encode()),
    )  # fmt: skip
    assert world.naming.turn() == REST_SECONDS
    assert names(world.home) == ["Purchase Completed", "cart_opened"]
    assert names(world.home, OTHER) == ["Seen"]
    assert names(world.home, FLAGS) == []
    assert load_snapshot(world.home).version == 2
    world.store(named("cart_opened"))  # came before its gateway knew
    assert world.naming.turn() == LOOK_SECONDS
    assert load_snapshot(world.home).version == 2


def test_it_goes_on_where_it_was_and_a_lost_file_costs_another_look(world: World) -> None:
    world.store(named("one"))
    world.naming.turn()
    world.store(named("two"))
    file = world.home.naming_file
    assert msgspec.json.decode(file.read_bytes()) == {"next": 1}
    assert world.start().turn() == REST_SECONDS
    assert names(world.home) == ["Purchase Completed", "one", "two"]
    for broken in (b"", b"{", b'{"next":-1}', b'{"next":9999}', b'{"next":"x"}'):
        file.write_bytes(broken)
        assert world.start().turn() == LOOK_SECONDS
    file.unlink()
    assert world.start().turn() == LOOK_SECONDS
    assert names(world.home) == ["Purchase Completed", "one", "two"]


def test_a_catalog_that_is_away_is_waited_for(world: World) -> None:
    world.store(named("one"))
    kept = world.home.catalog_file.read_bytes()
    snapshot = load_snapshot(world.home)
    naming = EventNaming(
        home=world.home, log=world.log, snapshot=lambda: snapshot, clock=world.clock
    )
    world.home.catalog_file.write_bytes(b"no database" * 1000)
    with pytest.raises((CatalogError, SQLAlchemyError)):
        naming.turn()
    world.home.catalog_file.write_bytes(kept)
    assert naming.turn() == REST_SECONDS
    assert names(world.home) == ["Purchase Completed", "one"]


def test_it_works_until_it_is_told_to_stop(world: World) -> None:
    world.store(named("one"))
    halt, clock = threading.Event(), SystemClock()
    thread = threading.Thread(target=world.naming.run, args=(halt,))
    thread.start()
    try:
        deadline = clock.monotonic() + PATIENCE_SECONDS
        while "one" not in names(world.home):
            assert clock.monotonic() < deadline
            clock.pause(0.02)
    finally:
        halt.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert msgspec.json.decode(world.home.naming_file.read_bytes()) == {"next": 1}
