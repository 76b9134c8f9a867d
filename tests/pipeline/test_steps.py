"""What one record becomes: refused, a duplicate, an event of EVENTS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.pipeline_world import (
    NOW_MS,
    World,
    event,
    make_app,
    make_snapshot,
    refusal,
)
from trunkline.kit.eventlog import Record
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import Routing
from trunkline.state.ids import IdReader

DAY_MS = 86_400_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_an_event_goes_to_events_in_canonical_form_with_its_origin(world: World) -> None:
    world.accept(refusal())
    offsets = world.accept(event("m1", user="u:7", price=3), partition=2)
    assert world.drain() == 2
    (stored,) = world.outputs()
    assert (stored.origin_partition, stored.origin_offset) == (2, offsets[0])
    assert (stored.app, stored.message_id, stored.user) == ("shop", "m1", "u:7")
    assert (stored.type, stored.name, stored.snapshot) == ("track", "Signed Up", 1)
    assert (stored.protocol, stored.key, stored.request_id) == ("plain", "backend", "r-m1")
    assert stored.original == b'{"price": 3}'
    canonical = msgspec.json.decode(stored.event)
    assert canonical["messageId"] == "m1" and canonical["app_name"] == "Shop"
    assert canonical["properties"] == {"price": 3}
    assert stored.routing is None and not stored.historical


def test_routing_is_there_only_for_integrations_or_consent(world: World) -> None:
    consent = {"categoryPreferences": {"ads": False}}
    world.accept(
        event("m1", integrations={"All": False}),
        event("m2", context={"consent": consent}),
        event("m3", context={"consent": True}),
    )
    world.drain()
    routings = [stored.routing for stored in world.outputs()]
    assert routings == [Routing({"All": False}, {}), Routing({}, consent), None]


def test_consent_that_stands_as_lists_is_kept_beside_the_other(world: World) -> None:
    managed = {"allowedConsentIds": ["a", 7], "deniedConsentIds": "b", "provider": "custom"}
    world.accept(
        event("m1", context={"consentManagement": managed}),
        event("m2", context={"consentManagement": {}, "consent": {"a": "granted"}}),
        event("m3", context={"consentManagement": ["a"]}),
        event("m4", context={"consentManagement": managed, "consent": {"a": "denied"}}),
    )
    world.drain()
    routings = [stored.routing for stored in world.outputs()]
    lists = {"allowedConsentIds": ["a"], "deniedConsentIds": []}
    assert routings == [
        Routing({}, lists), Routing({}, {"a": "granted"}), None,
        Routing({}, {"a": "denied", **lists}),
    ]  # fmt: skip
    assert (
        "deniedConsentIds"
        not in msgspec.json.decode(world.outputs()[3].event)["context"]["consent"]
    )


def test_an_id_comes_through_once_whichever_protocol_key_partition_or_step(world: World) -> None:
    world.accept(event("m1"), event("m1", protocol="tracking"))
    world.accept(event("m1", key="app"), partition=1)
    world.drain()
    world.accept(event("m1", protocol="s2s"))
    world.drain()
    world.restart()
    world.accept(event("m1"), event("m2"))
    world.drain()
    assert world.output_ids() == ["m1", "m2"]
    assert world.check_ledger()["duplicate"] == 4
    twins = world.rows("SELECT protocol, key, partition, offset FROM twin ORDER BY 3, 4")
    assert [twin[:2] for twin in twins] == [
        ("tracking", "backend"),
        ("s2s", "backend"),
        ("plain", "backend"),
        ("plain", "app"),
    ]


def test_the_same_id_of_another_app_is_another_event(tmp_path: Path) -> None:
    world = World(tmp_path, snapshot=make_snapshot(make_app("shop"), make_app("game")))
    world.accept(event("m1"), event("m1", app="game"))
    world.drain()
    assert [stored.app for stored in world.outputs()] == ["shop", "game"]
    world.close()


def test_an_id_is_new_again_after_the_window_of_its_app(tmp_path: Path) -> None:
    snapshot = make_snapshot(make_app("shop", dedupe_days=2), make_app("game", dedupe_days=0.5))
    world = World(tmp_path, snapshot=snapshot)
    for hours in (0, 11, 13, 47, 49, 60):
        at = NOW_MS + hours * 3_600_000
        world.accept(event("m1", received_ms=at), event("m1", app="game", received_ms=at))
        world.drain()
    hours_of = {
        app: [(s.received_ms - NOW_MS) // 3_600_000 for s in world.outputs() if s.app == app]
        for app in ("shop", "game")
    }
    assert hours_of == {"shop": [0, 49], "game": [0, 13, 47, 60]}
    world.check_ledger()
    reader = IdReader(world.home.ids_folder)
    entry = reader.find("shop", "m1")
    reader.close()
    assert entry is not None and entry.received_ms == NOW_MS + 49 * 3_600_000
    world.close()


def test_the_window_counts_from_receipt_not_from_when_a_backlog_is_read(world: World) -> None:
    world.accept(event("m1", received_ms=NOW_MS - 8 * DAY_MS), event("m1"), event("m1"))
    world.drain()
    assert len(world.outputs()) == 2
    assert world.check_ledger()["duplicate"] == 1


def test_a_refusal_is_counted_as_often_as_it_says_and_kept(world: World) -> None:
    world.accept(refusal("too_large"), refusal("unknown_type", count=5))
    world.drain()
    counts = world.check_ledger()
    assert (counts["received"], counts["refused:too_large"]) == (6, 1)
    assert counts["refused:unknown_type"] == 5
    rows = world.rows("SELECT app, code, count, body FROM refused ORDER BY id")
    assert rows == [("shop", "too_large", 1, b"{}"), ("shop", "unknown_type", 5, b"{}")]


def test_an_event_that_cannot_be_shaped_is_kept_as_refused_and_stops_nobody(world: World) -> None:
    world.accept(event("m1"), event("m2", poison=1), event("m3"))
    world.accept(event("m4", protocol="removed"))
    world.drain()
    assert world.output_ids() == ["m1", "m3"]
    assert world.check_ledger()["refused:unprocessable"] == 2
    rows = world.rows("SELECT message_id, message, body FROM refused ORDER BY id")
    assert rows[0] == ("m2", "ZeroDivisionError: a defect", b'{"poison": 1}')
    assert rows[1][:2] == ("m4", "LookupError: no protocol 'removed' in this version")


def test_a_shaped_again_event_is_no_duplicate_of_the_one_that_could_not_be(world: World) -> None:
    world.accept(event("m1", poison=1), event("m1"), event("m1"))
    world.drain()
    assert world.output_ids() == ["m1"]
    assert world.check_ledger()["duplicate"] == 1


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x93\xa1e", b"\x91\xa1x", b"{}" * 50])
def test_bytes_that_are_no_record_are_kept_as_refused(world: World, value: bytes) -> None:
    world.accept_bytes([Record(b"shop\0u:1", value, world.next_stamp())])
    world.accept(event("m1"))
    world.drain()
    assert world.output_ids() == ["m1"]
    assert world.check_ledger()["refused:unprocessable"] == 1
    assert world.rows("SELECT app, body FROM refused") == [("shop", value)]


def test_an_event_of_a_removed_app_goes_through(world: World) -> None:
    world.accept(event("m1", app="gone"), event("m1", app="gone"))
    world.drain()
    (stored,) = world.outputs()
    assert "app_name" not in msgspec.json.decode(stored.event)
    assert world.check_ledger()["duplicate"] == 1


def test_flagged_events_say_so_once(tmp_path: Path) -> None:
    world = World(tmp_path, snapshot=make_snapshot(make_app(unknown_events="flag")))
    note = "not in the tracking plan"
    world.accept(
        event("m1", event="signed_up"),
        event("m2", event="Mystery"),
        event("m3", event="Mystery", notes=[note]),
        event("m4", event="Mystery", type_="page"),
    )
    world.drain()
    assert [stored.notes for stored in world.outputs()] == [(), (note,), (note,), ()]
    world.close()


def test_the_order_of_a_user_is_kept_across_steps_and_restarts(tmp_path: Path) -> None:
    world = World(tmp_path)
    for round_ in range(30):
        names = [event(f"{round_}-{i}", user=f"u:{i % 3}") for i in range(7)]
        world.accept(*names, partition=round_ % 2)
        if round_ % 4 == 0:
            world.pipeline.step()
        if round_ % 10 == 0:
            world.restart()
    world.drain()
    assert world.output_ids() == [f"{round_}-{i}" for round_ in range(30) for i in range(7)]
    world.close()


def test_nothing_is_shaped_before_a_catalog_is_there(world: World) -> None:
    world.snapshot = None
    world.accept(event("m1"))
    assert world.pipeline.step() == 0
    world.snapshot = make_snapshot()
    assert world.drain() == 1


def test_an_event_waits_for_the_catalog_that_accepted_it(world: World) -> None:
    world.snapshot = make_snapshot(make_app("shop"), version=1)
    newer = make_snapshot(make_app("shop"), make_app("new"), version=2)
    pause = world.clock.pause
    pauses: list[float] = []

    def arrive(seconds: float) -> None:
        pauses.append(seconds)
        pause(seconds)
        if len(pauses) == 20:
            world.snapshot = newer

    world.clock.pause = arrive
    world.accept(event("m1", app="new", snapshot=2))
    world.drain()
    assert b'"app_name":"New"' in world.outputs()[0].event
    assert sum(pauses) < 5


def test_a_catalog_that_never_comes_is_waited_for_once(world: World) -> None:
    world.accept(event("m1", snapshot=9))
    world.drain()
    waited = world.clock.now_ms() - NOW_MS
    world.accept(event("m2", snapshot=9), event("m3", snapshot=8))
    world.drain()
    assert 5000 <= waited < 5100 and world.clock.now_ms() - NOW_MS == waited
    assert world.output_ids() == ["m1", "m2", "m3"]


def test_a_step_takes_no_more_than_its_limit(tmp_path: Path) -> None:
    world = World(tmp_path, settings=PipelineSettings(batch_events_max=10))
    world.accept(*[event(f"m{i}") for i in range(25)])
    assert [world.pipeline.step() for _ in range(4)] == [10, 10, 5, 0]
    world.close()
