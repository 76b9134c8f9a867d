"""One event's whole story: received, checked, and what became of it at each destination.

Found by messageId through the index of ids; the event is read from EVENTS, its fate from the
forwarder's file. The request of an attempt is rendered again (rendering.py), since only its answer
is kept. What is older than the log keeps is said to be gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import apsw
import msgspec
from msgspec import Struct

from trunkline.kit.destination import Attempt, Mapped
from trunkline.kit.eventlog import EventLog
from trunkline.kit.protection import protect_all, protection_notes
from trunkline.kit.times import format_ms, parse_time_ms
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.model.snapshot import App, Snapshot
from trunkline.model.snapshot import Destination as Configured
from trunkline.reports.failures import FailureLine, failure_line
from trunkline.reports.rendering import (
    Kinds,
    MakeWorkshop,
    Rendered,
    Renderer,
    RequestLine,
    mapped_outputs,
)
from trunkline.reports.revisions import finder
from trunkline.reports.state import GroupState, read_groups, reading
from trunkline.state.forwarder import BUCKET, OUTCOME_NAMES, unpack_offsets
from trunkline.state.home import Home
from trunkline.state.ids import IdReader

Outcome = Literal["delivered", "pending", "waiting", "filtered", "dead", "unknown"]


class Stage(Struct, frozen=True, omit_defaults=True):
    """One step of the way in."""

    stage: str
    at: str
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()


class AttemptLine(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One request that carried the event. `revision` is the playbook's, left out for none."""

    number: int
    at: str
    outcome: str
    reason: str
    delivery_id: str
    events: int
    took_ms: float | None = None
    status: int | None = None
    answer: str = ""
    revision: int = 0


class DestinationTrace(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What became of the event at one destination, or why not.

    `revision` is that of the playbook that filtered the event, or failed for it; `failure` where it
    failed; `note` what is to be said of the request; `changes` what was changed of the event before
    the last attempt sent it: hashed, cut, left out.
    """

    kind: str
    outcome: Outcome
    reason: str
    attempts: list[AttemptLine] = []
    request: RequestLine | None = None
    answer: str | None = None
    next_attempt: str | None = None
    revision: int = 0
    failure: FailureLine | None = None
    note: str = ""
    changes: list[str] = []


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

    def __init__(
        self,
        home: Home,
        log: EventLog,
        snapshot: Snapshot,
        kinds: Kinds,
        make_workshop: MakeWorkshop | None = None,
    ) -> None:
        self._home = home
        self._log = log
        self._snapshot = snapshot
        self._renderer = Renderer(kinds, finder(home), make_workshop)

    def trace(self, message_id: str, only: str | None = None) -> list[Trace]:
        """Return the story of each event with this id: one for each app, or of one app alone."""
        reader = IdReader(self._home.ids_folder)
        stories: list[Trace] = []
        try:
            for app in self._snapshot.apps:
                if only not in (None, app.id):
                    continue
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
        message_id = stored.message_id if stored else message_id  # it may be what the sender gave
        destinations = self._destinations(app, place[1], stored)
        if stored is None:
            note = "The event is older than the log keeps; only what became of it is left."
            return Trace(message_id, app.id, [], None, destinations, note)
        at = {"partition": place[0], "offset": place[1]}
        if stored.erased_ms:
            note = f"Erased at {format_ms(stored.erased_ms)}; only what became of it is left."
            stages = [
                Stage("received", format_ms(stored.received_ms), {"protocol": stored.protocol})
            ]
            return Trace(message_id, app.id, stages, None, destinations, note)
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
                    teller = _Teller(db, self._log, self._renderer, destination, group, offset)
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


class _Skip(Struct, frozen=True):
    """Why nothing was sent: `kind` is filtered or unshaped."""

    kind: str
    reason: str
    revision: int


class _Teller:
    """Tells what became of one offset at one destination."""

    def __init__(
        self,
        db: apsw.Connection,
        log: EventLog,
        renderer: Renderer,
        destination: Configured,
        group: GroupState,
        offset: int,
    ) -> None:
        self._db = db
        self._log = log
        self._renderer = renderer
        self._destination = destination
        self._group = group
        self._offset = offset
        self._offsets: list[int] = []  # of the last attempt
        self._revision = 0
        self._failure: FailureLine | None = None

    def tell(self) -> DestinationTrace:
        attempts, skip = self._fates()
        outcome, reason, due = self._outcome(attempts, skip)
        made = self._render(attempts[-1]) if attempts else Rendered(None)
        return DestinationTrace(
            self._destination.kind,
            outcome,
            reason,
            attempts,
            made.request,
            attempts[-1].answer if attempts else None,
            due,
            self._revision,
            self._failure,
            made.note,
            [change for changes in made.changes for change in changes],
        )

    def _fates(self) -> tuple[list[AttemptLine], _Skip | None]:
        attempts: list[AttemptLine] = []
        skip: _Skip | None = None
        for row in self._db.execute(
            "SELECT kind, at_ms, number, delivery_id, status, took_ms, reason, answer, offsets,"
            " outcomes, revision FROM fate_span JOIN fate ON fate.id=fate_span.fate"
            " WHERE fate_span.uid=? AND bucket=? ORDER BY fate.id",
            (self._group.uid, self._offset // BUCKET),
        ):
            kind, at_ms, number, delivery_id, status, took_ms, reason, answer, packed, *rest = row
            codes, revision = rest
            offsets = unpack_offsets(packed)
            if self._offset not in offsets:
                continue
            if kind in ("filtered", "unshaped"):
                skip = _Skip(kind, str(reason), revision)
                continue
            code = codes[offsets.index(self._offset) if len(codes) > 1 else 0]
            self._offsets = offsets
            text = bytes(answer).decode("utf-8", "replace")
            attempts.append(
                AttemptLine(
                    number, format_ms(at_ms), OUTCOME_NAMES[code], reason, delivery_id,
                    len(offsets), took_ms, status, text, revision,
                )
            )  # fmt: skip
        return attempts, skip

    def _outcome(
        self, attempts: list[AttemptLine], skip: _Skip | None
    ) -> tuple[Outcome, str, str | None]:
        waiting = self._db.execute(
            "SELECT reason, due_ms FROM waiting WHERE uid=? AND offset=?", self._key
        ).fetchone()
        if waiting is not None:
            return "waiting", self._held(str(waiting[0])), format_ms(int(waiting[1]))
        dead = self._db.execute(
            "SELECT reason, detail, revision, partial, failure FROM dead_letter"
            " WHERE uid=? AND offset=? ORDER BY id DESC LIMIT 1",
            self._key,
        ).fetchone()
        if dead is not None:
            self._revision = int(dead[2])
            self._failure = failure_line(bytes(dead[3]), bytes(dead[4]))
            return "dead", f"{dead[0]}: {dead[1]}", None
        return self._ended(attempts, skip)

    def _ended(
        self, attempts: list[AttemptLine], skip: _Skip | None
    ) -> tuple[Outcome, str, str | None]:
        """Tell of an event that neither waits nor lies among the dead letters."""
        last = attempts[-1] if attempts else None
        if last is not None and last.outcome in ("delivered", "unverified"):
            return "delivered", last.reason, None
        if last is not None and last.outcome == "expired":
            return "dead", f"expired: {last.reason}", None
        if not self._group.is_done(self._offset):
            return "pending", self._held(last.reason if last else ""), None
        if skip is not None and skip.kind == "filtered":
            self._revision = skip.revision
            return "filtered", skip.reason, None
        told = skip or last
        if told is not None:
            self._revision = told.revision
            return "dead", f"{told.reason}; its dead letter was dropped", None
        return "unknown", "finished; its attempts are older than the log keeps", None

    @property
    def _key(self) -> tuple[int, int]:
        return self._group.uid, self._offset

    def _held(self, reason: str) -> str:
        if self._group.state == "running":
            return reason or "in the queue"
        since = format_ms(self._group.state_since_ms)
        return f"the destination is {self._group.state} since {since}: {self._group.reason}"

    def _render(self, attempt: AttemptLine) -> Rendered:
        """Render the request of the last attempt, and say what cannot be and what was changed."""
        events = [event for offset in self._offsets if (event := self._mapped(offset))]
        if len(events) != len(self._offsets):
            return Rendered(None)
        own = self._offsets.index(self._offset)
        whole = events[own]
        events = protect_all(self._destination, events)
        kept_back = protection_notes(self._destination, whole)
        at_ms = parse_time_ms(attempt.at) or 0
        shaped, note = self._renderer.shape(self._destination, attempt.revision, events, at_ms)
        if note:
            return Rendered(None, note)
        sent = events
        if self._renderer.has_playbook(self._destination, attempt.revision):
            sent = mapped_outputs(events, shaped)
        if not sent:
            said = f"revision {attempt.revision} makes nothing of it now; did its params change?"
            return Rendered(None, said)
        name = f"{self._destination.app}/{self._destination.id}"
        made = self._renderer.request(
            self._destination, sent, Attempt(at_ms, attempt.number, name, attempt.delivery_id)
        )
        changes = self._own_changes(whole.message_id, sent, made, attempt.revision)
        return made._replace(changes=[kept_back, *changes])

    def _own_changes(
        self, own: str, sent: Sequence[Mapped], made: Rendered, revision: int
    ) -> list[list[str]]:
        """Return what was changed of one event alone; others may have shared its request."""
        hashed = self._renderer.hashed(self._destination, revision, sent)
        changed = made.changes or [()] * len(sent)
        return [
            [*hashes, *changes]
            for each, hashes, changes in zip(sent, hashed, changed, strict=True)
            if each.message_id == own
        ]

    def _mapped(self, offset: int) -> Mapped | None:
        fetched = self._log.fetch(EVENTS, 0, offset)
        if fetched is None:
            return None
        stored = decode_stored(fetched.record.value)
        if stored.erased_ms:
            return None
        return Mapped(
            stored.message_id, stored.app, stored.user, stored.type, stored.name, stored.event
        )
