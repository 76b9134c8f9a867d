"""A forwarder on a fake clock, a log in memory and a real state file, with a scripted receiver.

Everything runs on one event loop in one thread, so a seed decides all of it. `Receiver.answer` says
what becomes of a request; `Rig.crash` throws away what was not saved, `Rig.start` begins again.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.forwarder.engine import Forwarder
from trunkline.forwarder.failures import SendFailed
from trunkline.forwarder.threads import Worker
from trunkline.kit.clock import FakeClock
from trunkline.kit.destination import (
    Attempt,
    Channel,
    Destination,
    Mapped,
    Request,
    Response,
    Settings,
)
from trunkline.kit.eventlog import Record
from trunkline.kit.settings import ForwarderSettings
from trunkline.model import snapshot as model
from trunkline.model.outcome import Blocked, Delivered, Outcome, Rejected, Retry
from trunkline.model.record import EVENTS, Routing, StoredEvent, encode_record
from trunkline.state.db import open_reader
from trunkline.state.forwarder import GroupRow, read_groups
from trunkline.state.home import Home
from trunkline.state.inbox import InboxRequest, append_request

T = TypeVar("T")
APP = "zcmwmxbkmuodelu"
STATUS_OF = {Delivered: 200, Retry: 503, Rejected: 422, Blocked: 401}


class InlineWorker(Worker):
    """A worker that works at once, on the event loop."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, job: Callable[[], T]) -> T:
        result = job()
        await asyncio.sleep(0)
        return result

    def close(self) -> None:
        pass


class PostSettings(Settings, frozen=True, kw_only=True):
    """Settings of the kind of these tests."""

    url: str = "https://example/hook"


class Post(Destination[PostSettings]):
    """The messageIds and users of a batch, as JSON."""

    kind = "post"
    title = "Post"
    settings_type = PostSettings
    examples = ()

    def build(self, events: Sequence[Mapped], attempt: Attempt) -> Request:
        body = json.dumps(
            {
                "to": attempt.destination,
                "number": attempt.number,
                "ids": [event.message_id for event in events],
                "users": [event.user for event in events],
            }
        )
        headers = (("Idempotency-Key", attempt.delivery_id),)
        return Request("POST", self.settings.url, headers, body.encode())


class Sorted(Post):
    """A kind that judges each event by itself: the answer's body is a list of outcomes."""

    kind = "sorted"

    def exchange(self, events: Sequence[Mapped], attempt: Attempt) -> Any:
        response = yield self.build(events, attempt)
        return msgspec.json.decode(response.body, type=list[Outcome])


class Careless(Post):
    """A kind with faults: it raises, asks without end, or answers for fewer events."""

    kind = "careless"
    fault: str = "raise"

    def exchange(self, events: Sequence[Mapped], attempt: Attempt) -> Any:
        if Careless.fault == "raise":
            raise KeyError("total")
        while True:
            yield self.build(events, attempt)
            if Careless.fault == "few":
                return []


class Tape(Channel[Settings]):
    """A channel that keeps what it was given, in the class, by messageId."""

    kind = "tape"
    title = "Tape"
    settings_type = Settings
    examples = ()
    kept: list[str] = []
    failures = 0

    def open(self) -> None:
        if Tape.failures:
            Tape.failures -= 1
            raise OSError("no tape")

    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        Tape.kept.extend(event.message_id for event in events)
        return [Delivered()] * len(events)

    def close(self) -> None:
        pass


class Sent(msgspec.Struct):
    """A request as the receiver saw it."""

    at: float
    to: str
    number: int
    ids: list[str]
    users: list[str]
    key: str


Answer = Callable[[Sent], Outcome | Response]


class Receiver:
    """The world: records requests, answers as it is told, after `seconds`."""

    def __init__(self, clock: FakeClock) -> None:
        self.answer: Answer = lambda sent: Delivered()
        self.seconds: Callable[[Sent], float] = lambda sent: 0.0
        self.requests: list[Sent] = []
        self.delivered: dict[str, list[str]] = defaultdict(list)  # destination → ids, in order
        self.under_way: Counter[str] = Counter()
        self.most_under_way: Counter[str] = Counter()
        self._clock = clock

    async def send(
        self, request: Request, *, timeout_seconds: float, allow_private: bool
    ) -> Response:
        sent = msgspec.convert(
            {
                "at": self._clock.monotonic(),
                "key": request.headers[0][1],
                **msgspec.json.decode(request.body),
            },
            Sent,
        )
        self.requests.append(sent)
        self.under_way[sent.to] += 1
        self.most_under_way[sent.to] = max(self.most_under_way[sent.to], self.under_way[sent.to])
        try:
            seconds = self.seconds(sent)
            if seconds:
                await self._clock.sleep(min(seconds, timeout_seconds))
            if seconds >= timeout_seconds:
                raise SendFailed("timeout", Retry("timeout"))
            answer = self.answer(sent)
        finally:
            self.under_way[sent.to] -= 1
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, Delivered):
            self.delivered[sent.to].extend(sent.ids)
        after = answer.after_seconds if isinstance(answer, Retry) else 0.0
        return Response(STATUS_OF[type(answer)], {}, b"said " + sent.ids[0].encode(), after)


def destination(uid: int = 1, **changes: Any) -> model.Destination:
    """A configured destination of the app, of kind `post`; `settings` is a dict."""
    settings = {"batch_events_max": 10, **changes.pop("settings", {})}
    values: dict[str, Any] = {
        "uid": uid,
        "app": APP,
        "id": f"d{uid}",
        "name": f"Destination {uid}",
        "kind": "post",
        "enabled": True,
        "settings": msgspec.json.encode(settings),
        "filter": model.Filter(),
        "order": "user",
        "consent": (),
        "historical": False,
        "since": 1,
    }
    return model.Destination(**{**values, **changes})


def snapshot(version: int, *destinations: model.Destination) -> model.Snapshot:
    """A snapshot with these destinations in their apps."""
    apps = sorted({APP, *(d.app for d in destinations)})
    return model.Snapshot(
        version,
        "Acme",
        model.Plan(),
        tuple(
            model.App(
                id=app,
                name=app,
                platform="web",
                currency="EUR",
                currencies=("EUR",),
                unknown_events="accept",
                clock_shift_hours_max=24,
                dedupe_days=7,
                rate=model.Rate(),
                s2s=model.S2S(),
                keys=(),
                events=(),
                destinations=tuple(d for d in destinations if d.app == app),
            )
            for app in apps
        ),
    )


def event(
    message_id: str,
    user: str = "",
    *,
    app: str = APP,
    type: str = "track",
    name: str = "Bought",
    version: int = 1,
    received_ms: int = 1_700_000_000_000,
    historical: bool = False,
    routing: Routing | None = None,
    bytes: int = 0,
    device: str = "",
) -> StoredEvent:
    """An event of EVENTS; `user` without prefix, `device` an Android's advertising id."""
    body: dict[str, Any] = {"messageId": message_id, "type": type, "event": name}
    body["properties"] = {"x": "x" * bytes}
    if device:
        body["context"] = {"device": {"type": "android", "advertisingId": device}}
    return StoredEvent(
        0,
        0,
        app,
        message_id,
        f"u:{user}" if user else "",
        type,
        name,
        version,
        received_ms,
        "tracking",
        "web",
        "127.0.0.1",
        "r",
        historical,
        routing,
        msgspec.json.encode(body),
        b"{}",
    )


class Rig:
    """A home, a log, a receiver and a forwarder that can be started, stopped and crashed."""

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        self.clock = FakeClock()
        self.log = MemoryEventLog(self.clock)
        self.appender = self.log.appender(EVENTS, 0)
        self.home = Home(folder)
        self.home.folder.mkdir(exist_ok=True)
        self.receiver = Receiver(self.clock)
        self.random = random.Random(seed)
        self.settings = ForwarderSettings(**settings)
        self.snapshot: model.Snapshot | None = snapshot(1, destination())
        self.accepted: list[StoredEvent] = []
        self.options: dict[str, Any] = {}
        self.kinds: dict[str, Any] = {k.kind: k for k in (Post, Sorted, Careless, Tape)}

    async def start(self) -> None:
        """Start a forwarder on the home."""
        self.forwarder = Forwarder(
            log=self.log,
            kinds=self.kinds,
            sender=self.receiver,
            snapshot=lambda: self.snapshot,
            home=self.home,
            settings=self.settings,
            clock=self.clock,
            random=self.random,
            **{"threads": InlineWorker, **self.options},
        )
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(self.forwarder.run(self._stop))
        await self.settle()

    async def stop(self) -> None:
        """Stop cleanly; raises what broke the engine."""
        self._stop.set()
        for _ in range(2000):
            if self._task.done():
                break
            await self.run_for(0.05)
        await self._task

    async def crash(self) -> None:
        """End it with all that was not saved."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.settle()

    async def settle(self, turns: int = 30) -> None:
        """Let everything happen that can happen now."""
        for _ in range(turns):
            await asyncio.sleep(0)

    async def run_for(self, seconds: float, step: float = 0.02) -> None:
        """Let time pass."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 1e-9:
            await self.clock.advance(min(step, left))
            await self.settle(12)
            if self._task.done() and not self._task.cancelled():
                self._task.result()

    def put(self, *events: StoredEvent) -> None:
        """Append events to EVENTS."""
        self.accepted.extend(events)
        self.appender.append(
            [Record(e.user.encode(), encode_record(e), e.received_ms * 1_000_000) for e in events]
        )

    def ask(self, request: InboxRequest) -> int:
        """Ask the forwarder for something."""
        return append_request(self.home.inbox_file, request)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the state file."""
        db = open_reader(self.home.forwarder_file)
        assert db is not None
        try:
            return list(db.execute(statement, values))
        finally:
            db.close()

    def saved(self, uid: int = 1) -> GroupRow:
        """Return the group's row of a destination."""
        db = open_reader(self.home.forwarder_file)
        assert db is not None
        try:
            with db:
                return next(row for row in read_groups(db) if row.uid == uid)
        finally:
            db.close()

    def ledger(self, uid: int = 1) -> dict[str, int]:
        """Return the counts of a destination: `kind` or `kind reason`."""
        rows = self.rows(
            "SELECT kind, reason, SUM(count) FROM ledger WHERE uid=? GROUP BY 1,2", uid
        )
        return {f"{kind} {reason}".strip(): count for kind, reason, count in rows if count}

    def pending(self, uid: int = 1) -> int:
        """Count what a destination still owes, from the log and the waiting table."""
        row = self.saved(uid)
        config = next(d for a in self.snapshot_now.apps for d in a.destinations if d.uid == uid)
        in_log = sum(
            not row.is_done(offset) and stored.app == config.app and stored.snapshot >= row.since
            for offset, stored in enumerate(self.accepted)
        )
        return in_log + self.rows("SELECT COUNT(*) FROM waiting WHERE uid=?", uid)[0][0]

    def balance(self, uid: int = 1) -> tuple[int, int]:
        """Return both sides of a destination's equation."""
        config = next(d for a in self.snapshot_now.apps for d in a.destinations if d.uid == uid)
        counts = Counter[str]()
        for kind, count in self.rows(
            "SELECT kind, SUM(count) FROM ledger WHERE uid=? GROUP BY 1", uid
        ):
            counts[kind] = count
        accepted = sum(e.app == config.app and e.snapshot >= config.since for e in self.accepted)
        gone = counts["delivered"] + counts["filtered"] + counts["dead"]
        return accepted + counts["replayed"], gone + self.pending(uid)

    @property
    def snapshot_now(self) -> model.Snapshot:
        assert self.snapshot is not None
        return self.snapshot

    def delivered(self, uid: int = 1) -> list[str]:
        """Return the messageIds that a destination took, in order."""
        return self.receiver.delivered[f"{APP}/d{uid}"]


def run(story: Callable[[], Any]) -> None:
    """Run an async story on a fresh loop."""
    asyncio.run(story())
