"""What the pipeline tests share: a plain protocol, a catalog, a world with a log around them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import apsw
import msgspec

from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.kit.clock import Clock, FakeClock
from trunkline.kit.eventlog import Appender, EventLog, Record
from trunkline.kit.protocol import (
    Answer,
    Decoded,
    Failure,
    Normalised,
    Protocol,
    Request,
    Route,
)
from trunkline.kit.settings import PipelineSettings
from trunkline.kit.times import format_ms
from trunkline.model.event import Event, Source
from trunkline.model.record import (
    ACCEPTED,
    EVENTS,
    AcceptedEvent,
    AcceptedRefusal,
    StoredEvent,
    decode_stored,
    encode_record,
    partition_key,
)
from trunkline.model.snapshot import S2S, App, EventDefinition, Plan, Rate, Snapshot, UnknownEvents
from trunkline.pipeline.engine import Pipeline
from trunkline.state.home import Home

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z


class PlainProtocol(Protocol):
    """Bodies are events already. One that holds `poison` shows a defect of ours."""

    name: ClassVar[str] = "plain"
    routes: ClassVar[Sequence[Route]] = ()

    def decode(self, request: Request, snapshot: Snapshot) -> Decoded:
        return Decoded(self.failure(request.path, Failure("not_found", 404, "")))

    def failure(self, request_path: str, failure: Failure) -> Answer:
        return Answer(failure.status, b"")

    def normalise(self, record: AcceptedEvent, app: App | None) -> Normalised:
        body: dict[str, Any] = msgspec.json.decode(record.body, type=dict[str, Any])
        if "poison" in body:
            raise ZeroDivisionError("a defect")
        at = format_ms(record.received_ms)
        event = Event(
            message_id=record.message_id,
            type=record.type,
            event=body.get("event", "Signed Up"),
            user_id=record.user.removeprefix("u:"),
            timestamp=at,
            received_at=at,
            properties=body,
            context=body.get("context", {}),
            integrations=body.get("integrations", {}),
            app=record.app,
            source=Source(protocol=record.protocol, key=record.key),
        )
        extra = {"app_name": app.name} if app else None
        return Normalised(event, extra, tuple(body.get("notes", ())))


PROTOCOLS: dict[str, Protocol] = {name: PlainProtocol() for name in ("plain", "tracking", "s2s")}


def make_app(
    app_id: str = "shop", dedupe_days: float = 7.0, unknown_events: UnknownEvents = "accept"
) -> App:
    """Return an app that defines `Signed Up`."""
    return App(
        id=app_id,
        name=app_id.title(),
        platform="web",
        currency="EUR",
        currencies=(),
        unknown_events=unknown_events,
        clock_shift_hours_max=24,
        dedupe_days=dedupe_days,
        rate=Rate(),
        s2s=S2S(),
        keys=(),
        events=(EventDefinition("taqsq", "Signed Up"),),
        destinations=(),
    )


def make_snapshot(*apps: App, version: int = 1) -> Snapshot:
    """Return a catalog of these apps, of one app by default."""
    return Snapshot(version, "acme", Plan(), apps or (make_app(),))


def event(
    message_id: str,
    *,
    app: str = "shop",
    user: str = "u:1",
    protocol: str = "plain",
    key: str = "backend",
    type_: str = "track",
    received_ms: int = NOW_MS,
    snapshot: int = 1,
    **body: Any,
) -> AcceptedEvent:
    """Return an accepted event with this body."""
    return AcceptedEvent(
        app=app,
        message_id=message_id,
        user=user,
        protocol=protocol,
        type=type_,
        key=key,
        is_client=False,
        snapshot=snapshot,
        received_ms=received_ms,
        address="203.0.113.7",
        user_agent="",
        request_id="r-" + message_id,
        envelope=b"",
        body=json.dumps(body).encode(),
    )


def refusal(
    code: str = "unknown_type", *, app: str = "shop", count: int = 1, received_ms: int = NOW_MS
) -> AcceptedRefusal:
    """Return a refusal with a known key."""
    return AcceptedRefusal(
        app=app,
        protocol="plain",
        key="backend",
        snapshot=1,
        received_ms=received_ms,
        address="203.0.113.7",
        request_id="r",
        code=code,
        message="type is `treck`; expected one of track, identify",
        message_id="",
        body=b"{}",
        count=count,
    )


class World:
    """A home, a log, and a pipeline that can be stopped and started anew."""

    def __init__(
        self,
        folder: Path,
        *,
        log: EventLog | None = None,
        settings: PipelineSettings | None = None,
        snapshot: Snapshot | None = None,
        keep_days: float = 7.0,
        vfs: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.home = Home(folder)
        self.clock = clock or FakeClock(NOW_MS)
        self.log = log or MemoryEventLog(self.clock)
        self.settings = settings or PipelineSettings()
        self.snapshot: Snapshot | None = snapshot or make_snapshot()
        self.keep_days = keep_days
        self.vfs = vfs
        self.stamp = 0
        self._appenders: dict[int, Appender] = {}
        self.pipeline = self.make_pipeline()

    def make_pipeline(self) -> Pipeline:
        """Return a pipeline that has not opened anything yet."""
        return Pipeline(
            log=self.log,
            protocols=PROTOCOLS,
            snapshot=lambda: self.snapshot,
            home=self.home,
            settings=self.settings,
            keep_days=self.keep_days,
            clock=self.clock,
            vfs=self.vfs,
        )

    def accept(self, *records: AcceptedEvent | AcceptedRefusal, partition: int = 0) -> list[int]:
        """Append to ACCEPTED as a gateway does."""
        return self.accept_bytes(
            [
                Record(
                    partition_key(record.app, getattr(record, "user", "")),
                    encode_record(record),
                    self.next_stamp(),
                )
                for record in records
            ],
            partition,
        )

    def accept_bytes(self, records: Sequence[Record], partition: int = 0) -> list[int]:
        """Append any records to ACCEPTED."""
        if partition not in self._appenders:
            self._appenders[partition] = self.log.appender(ACCEPTED, partition)
        return list(self._appenders[partition].append(records))

    def next_stamp(self) -> int:
        """Return the next stamp of the log."""
        self.stamp += 1
        return self.stamp

    def drain(self) -> int:
        """Step until nothing is left."""
        total = 0
        while taken := self.pipeline.step():
            total += taken
        return total

    def restart(self) -> None:
        """Stop the pipeline as a crash of its process does: saved is what was committed."""
        self.pipeline.close()
        self.pipeline = self.make_pipeline()

    def outputs(self) -> list[StoredEvent]:
        """Return every record of EVENTS."""
        reader = self.log.reader(EVENTS, "test", {})
        found: list[StoredEvent] = []
        while batch := reader.read(1000):
            found += [decode_stored(fetched.record.value) for fetched in batch]
        reader.close()
        return found

    def output_ids(self) -> list[str]:
        """Return the messageIds of EVENTS in order."""
        return [stored.message_id for stored in self.outputs()]

    def rows(self, sql: str, *bindings: Any) -> list[tuple[Any, ...]]:
        """Ask the pipeline's state file."""
        db = apsw.Connection(str(self.home.pipeline_file), vfs=self.vfs)
        try:
            return list(db.execute(sql, bindings))
        finally:
            db.close()

    def ledger(self) -> Counter[str]:
        """Return the counts, `refused` also by its reasons."""
        counts: Counter[str] = Counter()
        for kind, reason, count in self.rows("SELECT kind, reason, count FROM ledger"):
            counts[kind] += count
            if reason:
                counts[f"{kind}:{reason}"] += count
        return counts

    def check_ledger(self) -> Counter[str]:
        """Assert that the ledger balances and is true of EVENTS."""
        counts = self.ledger()
        assert counts["received"] == counts["refused"] + counts["duplicate"] + counts["accepted"]
        outputs = self.outputs()
        origins = [(stored.origin_partition, stored.origin_offset) for stored in outputs]
        assert len(origins) == len(set(origins)), "a record was put out twice"
        assert counts["accepted"] == len(outputs)
        return counts

    def close(self) -> None:
        """Let go of everything."""
        self.pipeline.close()
        self.log.close()
