"""The ledger adds up what three files say, and says when they do not agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.kit.eventlog import Record
from trunkline.model.record import EVENTS, StoredEvent, encode_record
from trunkline.reports.ledger import Ledger, read_ledger
from trunkline.state import forwarder, pipeline
from trunkline.state.db import open_writer
from trunkline.state.home import Home

APP = "zcmwmxbkmuodelu"
MINUTE = 29_000_000
RECEIVED_MS = MINUTE * 60_000


class World:
    """A home with 10 events in EVENTS; the destination has taken up 9 and owes 4 of them."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.prepare()
        self.log = MemoryEventLog()
        appender = self.log.appender(EVENTS, 0)
        appender.append([Record(b"", encode_record(stored(n)), n) for n in range(10)])
        self.pipeline = open_writer(self.home.pipeline_file, pipeline.MIGRATIONS)
        self.forwarder = open_writer(self.home.forwarder_file, forwarder.MIGRATIONS)
        # The pipeline had counted 8 of them when it was asked; the ninth lies in EVENTS only.
        self.run(self.pipeline, "INSERT INTO position VALUES (?, 0, 8)", EVENTS)
        for kind, reason, count in (
            ("received", "", 13), ("refused", "bad", 3), ("duplicate", "", 2), ("accepted", "", 8),
        ):  # fmt: skip
            row = (APP, MINUTE, 1, kind, reason, count)
            self.run(self.pipeline, "INSERT INTO ledger VALUES (?,?,?,?,?,?)", *row)
        self.run(
            self.forwarder,
            "INSERT INTO grp VALUES (1, ?, 'crm', 'webhook', 1, 0, 0, 4, 9, 0, ?, 'running', '', 0,"
            " '', 0, 0, x'', x'', NULL)",
            APP,
            forwarder.pack_offsets([4, 5, 6]),
        )
        self.count("delivered", "", 4)
        self.count("filtered", "disabled", 1)
        self.run(
            self.forwarder,
            "INSERT INTO waiting VALUES (1, 1, 'u:1', 3, ?, 'm-3', ?, 1, 0, 0, '', 0, '', 'track',"
            " '', x'')",
            APP,
            RECEIVED_MS,
        )

    def count(self, kind: str, reason: str, count: int) -> None:
        """Count something of the destination."""
        row = (1, APP, MINUTE, kind, reason, count)
        self.run(self.forwarder, "INSERT INTO ledger VALUES (?,?,?,?,?,?)", *row)

    @staticmethod
    def run(db: apsw.Connection, sql: str, *values: str | int | bytes) -> None:
        """Run a statement."""
        db.execute(sql, values)

    def read(self, since_ms: int = 0) -> Ledger:
        """Read the ledger."""
        return read_ledger(self.home, self.log, since_ms=since_ms)


def stored(number: int) -> StoredEvent:
    """Return the nth event of the log."""
    return StoredEvent(
        origin_partition=0, origin_offset=number, app=APP, message_id=f"m-{number}", user="u:1",
        type="track", name="", snapshot=1, received_ms=RECEIVED_MS, protocol="s2s", key="k",
        address="", request_id="", historical=False, routing=None, event=b"{}", original=b"{}",
    )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.pipeline.close()
    made.forwarder.close()


def test_pending_is_counted_from_log_and_lanes_and_it_balances(world: World) -> None:
    ledger = world.read()
    assert ledger.balanced
    app, destination = ledger.apps[0], ledger.destinations[0]
    # Up to where the forwarder had got; what the pipeline had not counted is counted from the log.
    assert ledger.offset == 9
    assert (app.received, app.accepted, app.duplicate, app.refused) == (14, 9, 2, {"bad": 3})
    # 3 of the log are taken up and unfinished, 1 waits in a lane.
    assert (destination.accepted, destination.pending, destination.waiting) == (9, 4, 1)
    assert (destination.delivered, destination.filtered) == (4, {"disabled": 1})


def test_an_event_that_left_without_a_row_is_seen(world: World) -> None:
    world.run(world.forwarder, "UPDATE grp SET unfinished=x''")
    ledger = world.read()
    assert not ledger.balanced
    assert not ledger.destinations[0].balanced
    assert ledger.apps[0].balanced


def test_an_event_that_was_counted_twice_is_seen(world: World) -> None:
    world.count("dead", "rejected", 1)
    assert not world.read().balanced


def test_a_lost_refusal_is_seen(world: World) -> None:
    world.run(world.pipeline, "UPDATE ledger SET count=2 WHERE kind='refused'")
    assert not world.read().apps[0].balanced


def test_since_leaves_out_what_was_accepted_before(world: World) -> None:
    ledger = world.read(since_ms=RECEIVED_MS + 60_000)
    assert ledger.balanced
    assert ledger.apps == []
    assert ledger.destinations[0].accepted == ledger.destinations[0].pending == 0


def test_a_home_without_events_balances(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    home.prepare()
    assert read_ledger(home, MemoryEventLog()) == Ledger(True, 0, [], [])
