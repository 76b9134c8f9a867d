"""One event's whole story: received, checked, and what became of it at each destination.

Found by messageId through the index of ids; the event is read from EVENTS, its fate from the
forwarder's file. The request of an attempt is rendered again from the event and the destination's
settings, since only its answer is kept. What is older than the log keeps is said to be gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import apsw
import msgspec
from msgspec import Struct

from trunkline.kit.destination import Attempt, Channel, Destination, Mapped
from trunkline.kit.eventlog import EventLog
from trunkline.kit.times import format_ms, parse_time_ms
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.model.snapshot import App, Snapshot
from trunkline.model.snapshot import Destination as Configured
from trunkline.reports.state import GroupState, read_groups, reading
from trunkline.state.forwarder import BUCKET, OUTCOME_NAMES, unpack_offsets
from trunkline.state.home import Home
from trunkline.state.ids import IdReader

Kinds = Mapping[str, type[Destination[Any]] | type[Channel[Any]]]
Outcome = Literal["delivered", "pending", "waiting", "filtered", "dead", "unknown"]
REQUEST_BYTES_MAX = 16_384
HIDDEN_HEADERS = frozenset({"authorization", "x-trunkline-signature", "x-api-key", "cookie"})


class Stage(Struct, frozen=True, omit_defaults=True):
    """One step of the way in."""

    stage: str
    at: str
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


class AttemptLine(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One request that carried the event."""

    number: int
    at: str
    outcome: str
    reason: str
    delivery_id: str
    events: int
    took_ms: float | None = None
    status: int | None = None
    answer: str = ""


class RequestLine(Struct, frozen=True, rename="camel"):
    """The request, rendered again. Secrets in headers are hidden, a long body is cut."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


class DestinationTrace(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What became of the event at one destination, or why not."""

    kind: str
    outcome: Outcome
    reason: str
    attempts: list[AttemptLine] = []
    request: RequestLine | None = None
    answer: str | None = None
    next_attempt: str | None = None


class Trace(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The story."""

    message_id: str
    app: str
    stages: list[Stage]
    event: msgspec.Raw | None
    destinations: dict[str, DestinationTrace]
    note: str = ""


class Tracer:
    """Tells the stories of events of one home."""

    def __init__(self, home: Home, log: EventLog, snapshot: Snapshot, kinds: Kinds) -> None:
        self._home = home
        self._log = log
        self._snapshot = snapshot
        self._kinds = kinds

    def trace(self, message_id: str) -> list[Trace]:
        """Return the story of each event with this id: one for each app that has it."""
        reader = IdReader(self._home.ids_folder)
        stories: list[Trace] = []
        try:
            for app in self._snapshot.apps:
                entry = reader.find(app.id, message_id)
                if entry is not None:
                    place = (entry.events_partition, entry.events_offset)
                    stories.append(self._tell(app, message_id, place))
        finally:
            reader.close()
        return stories

    def _tell(self, app: App, message_id: str, place: tuple[int, int]) -> Trace:
        fetched = self._log.fetch(EVENTS, *place)
        stored = decode_stored(fetched.record.value) if fetched else None
        destinations = self._destinations(app, place[1], stored)
        if stored is None:
            note = "The event is older than the log keeps; only what became of it is left."
            return Trace(message_id, app.id, [], None, destinations, note)
        at = {"partition": place[0], "offset": place[1]}
        stages = [
            _received(stored),
            _checked(stored),
            *_twins(self._home, app.id, message_id),
            Stage("stored", format_ms(stored.received_ms), at),
        ]
        return Trace(message_id, app.id, stages, msgspec.Raw(stored.event), destinations)

    def _destinations(
        self, app: App, offset: int, stored: StoredEvent | None
    ) -> dict[str, DestinationTrace]:
        traces: dict[str, DestinationTrace] = {}
        with reading(self._home, "forwarder") as db:
            groups = {group.uid: group for group in read_groups(db)} if db else {}
            for destination in app.destinations:
                group = groups.get(destination.uid)
                if stored is not None and stored.snapshot < destination.since:
                    traces[destination.id] = DestinationTrace(
                        destination.kind, "filtered", "accepted before the destination was created"
                    )
                elif db is None or group is None:
                    traces[destination.id] = DestinationTrace(
                        destination.kind, "pending", "the forwarder has not taken it up yet"
                    )
                else:
                    teller = _Teller(db, self._log, self._kinds, destination, group, offset)
                    traces[destination.id] = teller.tell()
        return traces


def _received(stored: StoredEvent) -> Stage:
    facts = {
        "protocol": stored.protocol,
        "key": stored.key,
        "address": stored.address,
        "requestId": stored.request_id,
        "snapshot": stored.snapshot,
    }
    return Stage("received", format_ms(stored.received_ms), facts)


def _checked(stored: StoredEvent) -> Stage:
    facts = {"type": stored.type, "event": stored.name, "user": stored.user.partition(":")[2]}
    return Stage("checked", format_ms(stored.received_ms), facts, stored.notes)


def _twins(home: Home, app: str, message_id: str) -> list[Stage]:
    with reading(home, "pipeline") as db:
        if db is None:
            return []
        rows = db.execute(
            "SELECT at_ms, protocol, key, address, request_id FROM twin"
            " WHERE app=? AND message_id=? ORDER BY at_ms LIMIT 100",
            (app, message_id),
        )
        return [
            Stage(
                "duplicate",
                format_ms(int(at_ms)),
                {"protocol": protocol, "key": key, "address": address, "requestId": request_id},
                ("the same messageId came again; it was answered yes and stored once",),
            )
            for at_ms, protocol, key, address, request_id in rows
        ]


class _Teller:
    """Tells what became of one offset at one destination."""

    def __init__(
        self,
        db: apsw.Connection,
        log: EventLog,
        kinds: Kinds,
        destination: Configured,
        group: GroupState,
        offset: int,
    ) -> None:
        self._db = db
        self._log = log
        self._kinds = kinds
        self._destination = destination
        self._group = group
        self._offset = offset
        self._offsets: list[int] = []

    def tell(self) -> DestinationTrace:
        attempts, filtered = self._fates()
        outcome, reason, due = self._outcome(attempts, filtered)
        return DestinationTrace(
            self._destination.kind,
            outcome,
            reason,
            attempts,
            self._render(attempts[-1]) if attempts else None,
            attempts[-1].answer if attempts else None,
            due,
        )

    def _fates(self) -> tuple[list[AttemptLine], str | None]:
        attempts: list[AttemptLine] = []
        filtered: str | None = None
        for row in self._db.execute(
            "SELECT kind, at_ms, number, delivery_id, status, took_ms, reason, answer, offsets,"
            " outcomes FROM fate_span JOIN fate ON fate.id=fate_span.fate"
            " WHERE fate_span.uid=? AND bucket=? ORDER BY fate.id",
            (self._group.uid, self._offset // BUCKET),
        ):
            kind, at_ms, number, delivery_id, status, took_ms, reason, answer, packed, codes = row
            offsets = unpack_offsets(packed)
            if self._offset not in offsets:
                continue
            if kind == "filtered":
                filtered = str(reason)
                continue
            code = codes[offsets.index(self._offset) if len(codes) > 1 else 0]
            self._offsets = offsets
            text = bytes(answer).decode("utf-8", "replace")
            attempts.append(
                AttemptLine(
                    number, format_ms(at_ms), OUTCOME_NAMES[code], reason, delivery_id,
                    len(offsets), took_ms, status, text,
                )
            )  # fmt: skip
        return attempts, filtered

    def _outcome(
        self, attempts: list[AttemptLine], filtered: str | None
    ) -> tuple[Outcome, str, str | None]:
        waiting = self._db.execute(
            "SELECT reason, due_ms FROM waiting WHERE uid=? AND offset=?", self._key
        ).fetchone()
        if waiting is not None:
            return "waiting", self._held(str(waiting[0])), format_ms(int(waiting[1]))
        dead = self._db.execute(
            "SELECT reason, detail FROM dead_letter WHERE uid=? AND offset=?", self._key
        ).fetchone()
        if dead is not None:
            return "dead", f"{dead[0]}: {dead[1]}", None
        last = attempts[-1].outcome if attempts else ""
        if last in ("delivered", "unverified"):
            return "delivered", attempts[-1].reason, None
        if last == "expired":
            return "dead", f"expired: {attempts[-1].reason}", None
        if not self._group.is_done(self._offset):
            return "pending", self._held(attempts[-1].reason if attempts else ""), None
        if filtered is not None:
            return "filtered", filtered, None
        if attempts:
            return "dead", f"{attempts[-1].reason}; its dead letter was dropped", None
        return "unknown", "finished; its attempts are older than the log keeps", None

    @property
    def _key(self) -> tuple[int, int]:
        return self._group.uid, self._offset

    def _held(self, reason: str) -> str:
        if self._group.state == "running":
            return reason or "in the queue"
        since = format_ms(self._group.state_since_ms)
        return f"the destination is {self._group.state} since {since}: {self._group.reason}"

    def _render(self, attempt: AttemptLine) -> RequestLine | None:
        kind = self._kinds.get(self._destination.kind)
        if kind is None or not issubclass(kind, Destination):
            return None
        component = kind(msgspec.json.decode(self._destination.settings, type=kind.settings_type))
        events = [event for offset in self._offsets if (event := self._mapped(offset))]
        if len(events) != len(self._offsets):
            return None
        at_ms = parse_time_ms(attempt.at) or 0
        name = f"{self._destination.app}/{self._destination.id}"
        made = component.exchange(events, Attempt(at_ms, attempt.number, name, attempt.delivery_id))
        request = next(made)
        made.close()
        headers = {
            key: "(hidden)" if key.lower() in HIDDEN_HEADERS else value
            for key, value in request.headers
        }
        body = request.body[:REQUEST_BYTES_MAX].decode("utf-8", "replace")
        cut = "…" if len(request.body) > REQUEST_BYTES_MAX else ""
        return RequestLine(request.method, request.url, headers, body + cut)

    def _mapped(self, offset: int) -> Mapped | None:
        fetched = self._log.fetch(EVENTS, 0, offset)
        if fetched is None:
            return None
        stored = decode_stored(fetched.record.value)
        return Mapped(
            stored.message_id, stored.app, stored.user, stored.type, stored.name, stored.event
        )
