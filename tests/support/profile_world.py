"""What the tests of profiles share: canonical events, and a world with a log and a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.support.pipeline_world import make_app, make_snapshot
from trunkline.eventlogs.memory import MemoryEventLog
from trunkline.eventlogs.sqlite import SqliteEventLog
from trunkline.kit.clock import Clock, FakeClock
from trunkline.kit.eventlog import EventLog, Record
from trunkline.kit.times import format_ms
from trunkline.model.record import EVENTS, StoredEvent, encode_record
from trunkline.model.snapshot import Snapshot
from trunkline.profiles.engine import Profiles
from trunkline.reports.profiles import Profile, read_profile
from trunkline.state.home import Home
from trunkline.state.profiles import ProfileStore, open_profiles

NOW_MS = 1_795_255_200_000  # 2026-11-21T10:00:00Z
MINUTE_MS = 60_000
APP = "shop"


def happened(
    at: float,
    user: str = "",
    anonymous: str = "",
    *,
    type_: str = "track",
    name: str = "Viewed",
    app: str = APP,
    protocol: str = "tracking",
    message_id: str = "",
    historical: bool = False,
    **more: Any,
) -> StoredEvent:
    """Return an event of minute `at`, as the pipeline puts it into EVENTS."""
    at_ms = NOW_MS + int(at * MINUTE_MS)
    number = message_id or f"m{at}"
    body: dict[str, Any] = {"messageId": number, "type": type_, "timestamp": format_ms(at_ms)}
    body |= {"userId": user} if user else {}
    body |= {"anonymousId": anonymous} if anonymous else {}
    return StoredEvent(
        0, 0, app, number, "", type_, name, 1, NOW_MS, protocol, "backend", "203.0.113.7", "r",
        historical, None, msgspec.json.encode({**body, **more}), b"",
    )  # fmt: skip


def identify(at: float, user: str = "", anonymous: str = "", **traits: Any) -> StoredEvent:
    """Return an `identify` with these traits; None clears one."""
    return happened(at, user, anonymous, type_="identify", name="", traits=traits)


def alias(at: float, user: str, previous: str, anonymous: str = "") -> StoredEvent:
    """Return an `alias`, sent with a Server key."""
    return happened(at, user, anonymous, type_="alias", name="", previousId=previous)


def from_a_page(event: StoredEvent) -> StoredEvent:
    """Return an event as it is where it came with a Client key."""
    return msgspec.structs.replace(event, is_client=True)


def on_device(at: float, device: str, user: str = "", anonymous: str = "") -> StoredEvent:
    """Return an event that names an Android phone."""
    context = {"device": {"type": "android", "advertisingId": device}}
    return happened(at, user, anonymous, context=context)


class ProfileWorld:
    """A home with EVENTS, the engine, and the store it writes."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        is_light: bool = False,
        segment_bytes: int = 268_435_456,
    ) -> None:
        self.home = Home(folder)
        self.home.prepare()
        self.clock = clock or FakeClock(now_ms=NOW_MS)
        self.snapshot: Snapshot | None = make_snapshot(make_app(APP))
        self.log: EventLog = (
            MemoryEventLog(self.clock)
            if is_light
            else SqliteEventLog(
                self.home.log_folder, self.clock, reserve_bytes=0, segment_bytes=segment_bytes
            )
        )
        self.appender = self.log.appender(EVENTS, 0)
        self.engine = self.new_engine()

    def new_engine(self) -> Profiles:
        return Profiles(
            log=self.log, snapshot=lambda: self.snapshot, home=self.home, clock=self.clock
        )

    def put(self, events: Iterable[StoredEvent]) -> Sequence[int]:
        """Append events to EVENTS, as one block."""
        stamp = self.clock.now_ms() * 1_000_000
        return self.appender.append([Record(b"", encode_record(each), stamp) for each in events])

    def take(self, *events: StoredEvent) -> None:
        """Append events and take everything in that is there."""
        if events:
            self.put(events)
        while self.engine.step():
            pass

    def show(self, text: str, app: str = APP) -> Profile | None:
        return read_profile(self.home, app, text)

    def see(self, text: str, app: str = APP) -> Any:
        """Return a profile as JSON has it. It must be there."""
        profile = self.show(text, app)
        assert profile is not None, text
        return msgspec.json.decode(msgspec.json.encode(profile))

    def ids(self, text: str) -> set[str]:
        """Return the identifiers of a profile as `kind:value`; empty where there is none."""
        profile = self.show(text)
        return {f"{i.kind}:{i.value}" for i in profile.identifiers} if profile else set()

    def writing(self) -> Any:
        """Open the store as another process would."""
        return open_profiles(self.home)

    def close(self) -> None:
        self.engine.close()
        self.appender.close()
        self.log.close()


def number_of(store: ProfileStore, text: str, app: str = APP) -> int:
    """Return the row id of an identifier that is there."""
    return store.find(app, text)[0][0]
