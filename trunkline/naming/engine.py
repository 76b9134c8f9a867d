"""Events that senders name by a `customName`: defined in the catalog the first time they are seen.

The first one goes its way under its name, and its record in EVENTS says that nobody had defined it.
This reads those records, wakes nobody and holds nobody up: a second or so later the event stands in
the catalog with a slug of its own, and whoever sends either gets the same event.

One thread in the background process. How far it is stands in a file that may be lost: what is
defined already is passed over. Only what holds the note is decoded: of others an event of 640 bytes
costs 0.3 µs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.catalog.formats import FORMATS
from trunkline.catalog.naming import DEFINITIONS_MAX, define_events
from trunkline.kit.clock import Clock
from trunkline.kit.eventlog import EventLog, Fetched
from trunkline.kit.rest_checks import NOT_DEFINED
from trunkline.model.record import EVENTS, decode_stored
from trunkline.model.snapshot import App, Snapshot, fold_name
from trunkline.state.home import Home
from trunkline.telemetry import catalog as telemetry

PARTITION = 0  # EVENTS of one node has one partition
LOOK_SECONDS = 1.0
REST_SECONDS = 5.0  # after a change of the catalog, which every process has to load
PUT_OFF_SECONDS = 30.0
SAVE_SECONDS = 60.0
RECORDS_AT_ONCE = 2_000
SPAN_MAX = 50_000  # offsets of one search
_HINT = NOT_DEFINED.encode()

_Names = dict[str, dict[str, None]]  # of an app, in the order they were seen


class Position(Struct):
    """The first offset of EVENTS that was not looked at."""

    next: int = 0


class EventNaming:
    """Defines what senders name. Call `run` in a thread of its own."""

    def __init__(
        self, *, home: Home, log: EventLog, snapshot: Callable[[], Snapshot | None], clock: Clock
    ) -> None:
        self._file = home.naming_file
        self._home = home
        self._log = log
        self._snapshot = snapshot
        self._clock = clock
        self._at = _read_position(self._file)
        self._saved_at = clock.monotonic()

    def run(self, halt: threading.Event) -> None:
        """Work until `halt` is set."""
        pause = 0.0
        while not halt.wait(pause):
            try:
                pause = self.turn()
            except Exception as error:  # the edge of the loop: told, and tried again
                telemetry.naming_put_off(error, PUT_OFF_SECONDS)
                pause = PUT_OFF_SECONDS
        self._save()

    def turn(self) -> float:
        """Look at what is new; return the seconds until the next look.

        Raises what the log, the catalog or the disk raise: then the same is looked at again.
        """
        snapshot = self._snapshot()
        end = self._log.ends(EVENTS).get(PARTITION, 0)
        begin = self._log.begins(EVENTS).get(PARTITION, 0)
        at = max(self._at if self._at <= end else 0, begin)
        if snapshot is None or at >= end:
            return LOOK_SECONDS
        span = range(at, min(end, at + SPAN_MAX))
        found, until = self._log.search(EVENTS, PARTITION, span, (_HINT,), RECORDS_AT_ONCE)
        names = _names_in(found, snapshot)
        counts = define_events(self._home, self._clock, names) if names else {}
        self._at = min(until, end)
        for app, count in counts.items():
            telemetry.events_defined(app, count)
        if counts or self._clock.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()
        if counts:
            return REST_SECONDS
        return 0.0 if self._at < end else LOOK_SECONDS

    def _save(self) -> None:
        new = self._file.with_name(self._file.name + ".new")
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(msgspec.json.encode(Position(self._at)))
            new.replace(self._file)
        except OSError as error:
            telemetry.naming_put_off(error, SAVE_SECONDS)
        self._saved_at = self._clock.monotonic()


def _read_position(file: Path) -> int:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Position).next
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return 0  # it looks at everything once more


def _names_in(found: Sequence[Fetched], snapshot: Snapshot) -> _Names:
    """Return the names that these records brought and that are still not defined, by app."""
    names: _Names = {}
    for fetched in found:
        try:
            stored = decode_stored(fetched.record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # damaged; the forwarder has told of it
        app = snapshot.apps_by_id.get(stored.app)
        is_named = stored.protocol == "rest" and any(n.endswith(NOT_DEFINED) for n in stored.notes)
        if app is not None and is_named and not stored.erased_ms and _is_open(app, stored.name):
            names.setdefault(app.id, {})[stored.name] = None
    return names


def _is_open(app: App, name: str) -> bool:
    return (
        app.unknown_events == "accept"
        and len(app.events) < DEFINITIONS_MAX
        and FORMATS["name"].fits(name)
        and fold_name(name) not in app.events_by_name
    )
