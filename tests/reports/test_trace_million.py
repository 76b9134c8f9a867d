"""Among a million events one is found, with its story, within a second."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest

from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import Record
from trunkline.model.record import EVENTS, StoredEvent, encode_record
from trunkline.model.snapshot import (
    S2S,
    App,
    Destination,
    Filter,
    Plan,
    Rate,
    Snapshot,
)
from trunkline.node import destination_kinds
from trunkline.reports.trace import Tracer
from trunkline.state import forwarder
from trunkline.state.db import open_writer
from trunkline.state.home import Home
from trunkline.state.ids import IdEntry, IdIndex, id_key

APP = "zcmwmxbkmuodelu"
EVENTS_COUNT = 1_000_000
STEP = 2000
BATCH = 100
RECEIVED_MS = 1_795_255_200_000
EVENT = b'{"messageId":"m","type":"track","event":"Order Completed","properties":{"n":1}}'


def fill(home: Home, log: SqliteEventLog) -> None:
    """Store a million events, their ids, and the attempts that delivered them."""
    appender = log.appender(EVENTS, 0)
    index = IdIndex(home.ids_folder, 100_000_000)
    state = open_writer(home.forwarder_file, forwarder.MIGRATIONS)
    state.execute(
        "INSERT INTO grp VALUES (1, ?, 'crm', 'webhook', 1, 0, 0, ?, ?, 1, x'', 'running', '', 0,"
        " '', 0, 0, x'', x'', NULL)",
        (APP, EVENTS_COUNT, EVENTS_COUNT),
    )
    for start in range(0, EVENTS_COUNT, STEP):
        numbers = range(start, start + STEP)
        offsets = appender.append([Record(b"", encode_record(stored(n)), n) for n in numbers])
        entries = [
            (id_key(APP, f"m-{n}"), IdEntry(0, n, 0, offset, RECEIVED_MS))
            for n, offset in zip(numbers, offsets, strict=True)
        ]
        index.put_many(entries, offsets[-1] + 1)
        with state:
            for first in range(start, start + STEP, BATCH):
                add_attempt(state, first)
    state.close()
    index.close()
    appender.close()


def add_attempt(state: apsw.Connection, first: int) -> None:
    """Write down one request that carried a batch."""
    packed = forwarder.pack_offsets(range(first, first + BATCH))
    state.execute(
        "INSERT INTO fate VALUES (?, 1, 'attempt', ?, 1, 1, 'key', 200, 3.5, '', x'6f6b', ?,"
        " x'44', 0)",
        (first + 1, RECEIVED_MS, packed),
    )
    for bucket in {first // forwarder.BUCKET, (first + BATCH - 1) // forwarder.BUCKET}:
        state.execute("INSERT INTO fate_span VALUES (1, ?, ?)", (bucket, first + 1))


def stored(number: int) -> StoredEvent:
    return StoredEvent(
        origin_partition=0, origin_offset=number, app=APP, message_id=f"m-{number}",
        user=f"u:{number % 1000}", type="track", name="Order Completed", snapshot=1,
        received_ms=RECEIVED_MS, protocol="tracking", key="k", address="", request_id="",
        historical=False, routing=None, event=EVENT, original=b"{}",
    )  # fmt: skip


def snapshot() -> Snapshot:
    crm = Destination(
        uid=1, app=APP, id="crm", name="crm", kind="webhook", enabled=True,
        settings=b'{"url":"https://crm.example/hook"}', filter=Filter(), order="user", consent=(),
        historical=False, since=1,
    )  # fmt: skip
    app = App(APP, "Wallet", "server", "IRR", (), "accept", 24, 7, Rate(), S2S(), (), (), (crm,))
    return Snapshot(1, "Acme", Plan(), (app,))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_of_a_million_events_is_traced_within_a_second(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    log = SqliteEventLog(home.log_folder, SystemClock(), reserve_bytes=0)
    fill(home, log)
    took: list[float] = []
    for number in (0, 123_456, 999_999):
        started = time.monotonic()
        tracer = Tracer(home, log, snapshot(), destination_kinds())
        (story,) = tracer.trace(f"m-{number}")
        took.append(time.monotonic() - started)
        crm = story.destinations["crm"]
        assert (crm.outcome, crm.attempts[0].events, crm.answer) == ("delivered", BATCH, "ok")
        assert crm.request is not None
        assert crm.request.body.count("messageId") == BATCH
    assert Tracer(home, log, snapshot(), destination_kinds()).trace("m-unknown") == []
    log.close()
    assert max(took) < 1.0, took
