"""`trunkline tail`: what passes, live."""

from __future__ import annotations

import sys
from typing import Annotated

import cyclopts
import msgspec

from trunkline.cli._frame import (
    HOME_DEFAULT,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
)
from trunkline.cli._node import find_destination, read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.eventlog import EventLog
from trunkline.kit.times import format_ms
from trunkline.model.record import EVENTS, StoredEvent, decode_stored
from trunkline.node import open_log
from trunkline.reports.attempts import follow_attempts
from trunkline.state.home import Home

WAIT_SECONDS = 0.5


def command(
    *,
    app: Annotated[str | None, cyclopts.Parameter(help="Only this app.")] = None,
    destination: Annotated[
        str | None, cyclopts.Parameter(help="What this destination is sent, instead.")
    ] = None,
    last: Annotated[int, cyclopts.Parameter(help="Begin this many back.")] = 0,
    seconds: Annotated[float | None, cyclopts.Parameter(help="Stop after this long.")] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Show events as they pass, until Ctrl-C.

    Example: trunkline tail --app zcmwmxbkmuodelu
    """
    place = open_home(home)
    clock = SystemClock()
    until = None if seconds is None else clock.monotonic() + seconds
    if destination is not None:
        return _tail_destination(place, clock, destination, last, until, json)
    log = open_log(place, read_boot(place), clock)
    try:
        return _tail_events(log, clock, app, last, until, json)
    finally:
        log.close()


def _tail_events(
    log: EventLog, clock: SystemClock, app: str | None, last: int, until: float | None, json: bool
) -> int:
    starts = {partition: max(0, end - last) for partition, end in log.ends(EVENTS).items()}
    reader = log.reader(EVENTS, "", starts or {0: 0})
    try:
        while until is None or clock.monotonic() < until:
            for fetched in reader.read(500):
                event = decode_stored(fetched.record.value)
                if app in (None, event.app) and not event.erased_ms:
                    _show(event, json)
            reader.wait(WAIT_SECONDS)
    finally:
        reader.close()
    return 0


def _tail_destination(
    home: Home, clock: SystemClock, name: str, last: int, until: float | None, json: bool
) -> int:
    found = find_destination(read_snapshot(home), name)
    after = None
    while until is None or clock.monotonic() < until:
        after, lines = follow_attempts(home, found.uid, after, last)
        for line in lines:
            if json:
                _write(msgspec.json.encode(line))
            else:
                status = f"HTTP {line.status}" if line.status else "no answer"
                reason = "" if line.reason == status else f"  {line.reason}"
                say(
                    f"{line.at}  {name}  {line.events} event{'s' if line.events != 1 else ''}"
                    f"  attempt {line.number}  {status}{reason}"
                )
        clock.pause(WAIT_SECONDS / 2)
    return 0


def _show(event: StoredEvent, json: bool) -> None:
    if json:
        _write(event.event)
        return
    at = format_ms(event.received_ms)
    user = event.user.partition(":")[2]
    say(f"{at}  {event.app}  {event.type}  {event.name or '-'}  {user or '-'}  {event.message_id}")


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()
