"""What is kept of refusals, twins and counts, and what is let go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.support.pipeline_world import NOW_MS, World, event, make_app, make_snapshot, refusal
from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.kit.clock import FakeClock
from trunkline.kit.settings import PipelineSettings
from trunkline.model.record import ACCEPTED, AcceptedEvent
from trunkline.pipeline import books
from trunkline.reports.imports import COUNTED_DAYS, PARTITION
from trunkline.state.db import open_reader, open_writer
from trunkline.state.pipeline import MIGRATIONS

DAY_MS = 86_400_000
DAY_SECONDS = 86_400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, settings=PipelineSettings(refused_max=10))
    yield made
    made.close()


def test_past_their_limit_refusals_are_sampled_and_all_counted(world: World) -> None:
    world.accept(*[refusal(f"code{i}") for i in range(10)], refusal(app="game"))
    world.drain()
    world.accept(*[refusal("late") for _ in range(250)])
    world.drain()
    rows = world.rows("SELECT code FROM refused WHERE app='shop' ORDER BY id")
    assert [code for (code,) in rows] == [f"code{i}" for i in range(2, 10)] + ["late", "late"]
    assert world.rows("SELECT count(*) FROM refused WHERE app='game'") == [(1,)]
    assert world.check_ledger()["refused:late"] == 250


def test_the_limit_of_refusals_holds_across_a_restart(world: World) -> None:
    for _ in range(4):
        world.accept(*[refusal() for _ in range(9)])
        world.drain()
        world.restart()
    assert world.rows("SELECT count(*) FROM refused") == [(10,)]
    assert world.check_ledger()["refused"] == 36


def test_refusals_go_after_seven_days_and_make_room(world: World) -> None:
    world.accept(*[refusal(f"code{i}") for i in range(10)])
    world.drain()
    world.clock.pause(6 * DAY_SECONDS)
    world.pipeline.sync()
    assert world.rows("SELECT count(*) FROM refused") == [(10,)]
    world.clock.pause(2 * DAY_SECONDS)
    world.pipeline.sync()
    world.accept(refusal("new", received_ms=world.clock.now_ms()))
    world.drain()
    assert world.rows("SELECT code FROM refused") == [("new",)]
    assert world.check_ledger()["refused"] == 11


def test_twins_go_after_seven_days_and_past_their_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "TWINS_MAX", 5)
    world.accept(event("m1"), *[event("m1", received_ms=NOW_MS + i) for i in range(8)])
    world.drain()
    world.pipeline.sync()
    rows = world.rows("SELECT at_ms FROM twin ORDER BY at_ms")
    assert [at - NOW_MS for (at,) in rows] == [3, 4, 5, 6, 7]
    world.restart()
    world.clock.pause(8 * DAY_SECONDS)
    world.accept(refusal())
    world.drain()
    world.pipeline.sync()
    assert world.rows("SELECT at_ms FROM twin") == []
    assert world.check_ledger()["duplicate"] == 8


def imported(message_id: str, name: str, line: int) -> AcceptedEvent:
    return msgspec.structs.replace(event(message_id), request_id=f"{name}:{line}")


def test_an_import_keeps_how_many_it_repeated_longer_than_its_twins(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "TWINS_MAX", 5)
    world.accept(event("m1"), event("m1"))  # a request's own twin is no import's
    first = [imported("m1", "import-1", n) for n in range(20)]
    world.accept(*first, imported("m1", "import-2", 1), partition=PARTITION)
    world.accept(imported("m1", "resent", 1), partition=PARTITION + 1)
    world.drain()
    world.pipeline.sync()
    assert len(world.rows("SELECT 1 FROM twin")) == 5
    counts = "SELECT name, count FROM import_twin ORDER BY name"
    assert world.rows(counts) == [("import-1", 20), ("import-2", 1)]
    world.restart()
    world.clock.pause(8 * DAY_SECONDS)
    later = msgspec.structs.replace(imported("m1", "import-2", 2), received_ms=NOW_MS + DAY_MS)
    world.accept(later, partition=PARTITION)
    world.drain()
    world.pipeline.sync()
    assert world.rows(counts) == [("import-1", 20), ("import-2", 2)]
    world.clock.pause((COUNTED_DAYS - 8) * DAY_SECONDS + 1)
    world.accept(refusal())
    world.drain()
    world.pipeline.sync()
    assert world.rows(counts) == [("import-2", 2)]


def test_the_twins_of_an_older_version_are_counted_for_their_imports(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.db"
    with closing(open_writer(file, MIGRATIONS[:2])) as db:
        db.executemany(
            "INSERT INTO twin (app, message_id, at_ms, request_id, partition, offset)"
            " VALUES ('a', 'm', ?, ?, ?, ?)",
            [
                (7, "import-1:3", PARTITION, 1), (9, "import-1:4", PARTITION, 2),
                (8, "import-2:1", PARTITION, 3), (8, "plain", PARTITION, 4),
                (8, "import-1:5", PARTITION + 1, 1), (8, "r:1", 0, 1),
            ],
        )  # fmt: skip
    with closing(open_writer(file, MIGRATIONS)) as db:
        found = list(db.execute("SELECT * FROM import_twin ORDER BY name"))
    assert found == [("import-1", 2, 9), ("import-2", 1, 8)]


def test_counts_go_after_their_days(world: World) -> None:
    world.accept(event("m1", received_ms=NOW_MS - 400 * DAY_MS), event("m2"))
    world.drain()
    world.clock.pause(2 * DAY_SECONDS)
    world.pipeline.sync()
    assert world.ledger()["accepted"] == 1


def test_counts_stand_by_app_minute_and_snapshot(world: World) -> None:
    world.accept(
        event("m1"), event("m2", received_ms=NOW_MS + 60_000), event("m3", app="game", snapshot=0)
    )
    world.drain()
    rows = world.rows("SELECT app, minute, snapshot, count FROM ledger WHERE kind='accepted'")
    minute = NOW_MS // 60_000
    assert sorted(rows) == [
        ("game", minute, 0, 1),
        ("shop", minute, 1, 1),
        ("shop", minute + 1, 1, 1),
    ]


def test_accepted_goes_only_after_the_books_are_synced(tmp_path: Path) -> None:
    clock = FakeClock(NOW_MS)
    log = MemoryEventLog(clock, segment_bytes=2000)
    world = World(tmp_path, log=log)
    world.accept(*[event(f"m{i}") for i in range(10)])
    for i in range(10, 60):
        world.accept(event(f"m{i}"))
    world.drain()
    assert log.committed(ACCEPTED, "pipeline")[0] > 0
    looking = open_reader(world.home.pipeline_file)
    assert looking is not None
    with looking:
        looking.execute("SELECT count(*) FROM ledger").fetchall()
        world.accept(event("late"))
        world.drain()
        assert not world.pipeline.sync()
        assert log.begins(ACCEPTED) == {0: 0}
    looking.close()
    assert world.pipeline.sync()
    assert log.committed(ACCEPTED, "pipeline") == {0: 61}
    assert log.begins(ACCEPTED)[0] > 40
    world.restart()
    world.drain()
    assert world.check_ledger()["accepted"] == 61
    world.close()


def test_what_is_not_taken_yet_is_never_let_go(tmp_path: Path) -> None:
    log = MemoryEventLog(FakeClock(NOW_MS), segment_bytes=1000)
    world = World(tmp_path, log=log, settings=PipelineSettings(batch_events_max=10))
    for i in range(60):
        world.accept(event(f"m{i}"), partition=i % 2)
    while world.pipeline.step():
        assert world.pipeline.sync()
    assert len(world.outputs()) == 60
    world.close()


def test_a_full_index_shortens_its_window_and_says_so(tmp_path: Path) -> None:
    settings = PipelineSettings(dedupe_ids_max=1000, batch_events_max=50)
    world = World(tmp_path, settings=settings)
    for day in range(3):
        at = NOW_MS + day * DAY_MS
        world.accept(*[event(f"{day}-{i}", received_ms=at) for i in range(600)])
        world.drain()
    ((since,),) = world.rows("SELECT value FROM setting WHERE name='dedupe_since_ms'")
    assert NOW_MS < int(since) <= NOW_MS + 2 * DAY_MS
    now_ms = NOW_MS + 2 * DAY_MS
    world.accept(event("0-1", received_ms=now_ms), event("2-599", received_ms=now_ms))
    world.drain()
    assert world.output_ids()[-1] == "0-1" and world.check_ledger()["duplicate"] == 1
    world.pipeline.sync()
    assert len(list(world.home.ids_folder.glob("*.db"))) <= 10
    world.restart()
    world.accept(event("2-598", received_ms=now_ms))
    world.drain()
    assert world.check_ledger()["duplicate"] == 2
    # Whole again once the window has passed since.
    world.clock.pause(11 * DAY_SECONDS)
    world.pipeline.sync()
    assert world.rows("SELECT value FROM setting WHERE name='dedupe_since_ms'") == []
    world.close()


def test_days_older_than_every_window_are_removed(tmp_path: Path) -> None:
    snapshot = make_snapshot(make_app(dedupe_days=3), make_app("game", dedupe_days=1))
    world = World(tmp_path, snapshot=snapshot, keep_days=2)
    for day in range(8):
        world.accept(event(f"m{day}", received_ms=NOW_MS + day * DAY_MS))
        world.drain()
        world.pipeline.sync()
    days = sorted(path.name for path in world.home.ids_folder.glob("*.db"))
    assert days == [f"2026-11-{day}.db" for day in (24, 25, 26, 27, 28)]
    assert len(world.rows("SELECT name FROM id_file")) == 5
    world.close()
