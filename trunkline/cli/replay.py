"""`trunkline replay`: deliver again what was accepted in a span of time."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    parse_moment,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import ask_forwarder, find_destination, read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.kit.times import format_ms
from trunkline.node import open_log
from trunkline.reports.pending import count_accepted
from trunkline.state.inbox import ReplayRange


def command(
    *,
    destination: Annotated[str, cyclopts.Parameter(help="The destination, ID or APP/ID.")],
    since: Annotated[str, cyclopts.Parameter(name="--from", help="A time, or 2h, 3d ago.")],
    until: Annotated[str | None, cyclopts.Parameter(name="--to", help="Left out: now.")] = None,
    dry_run: Annotated[bool, cyclopts.Parameter(negative="", help="Only count them.")] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Send a destination again what was accepted between two times.

    Each event goes under its first idempotency key. What the destination filters stays filtered.

    Example: trunkline replay --destination crm --from 2026-11-20T00:00:00Z --to 2026-11-21
    """
    place = open_home(home)
    clock = SystemClock()
    found = find_destination(read_snapshot(place), destination)
    from_ms = parse_moment(since, clock.now_ms())
    to_ms = parse_moment(until, clock.now_ms()) if until else clock.now_ms()
    if from_ms >= to_ms:
        raise CommandError(f"--from {format_ms(from_ms)} is not before --to {format_ms(to_ms)}")
    log = open_log(place, read_boot(place), clock)
    try:
        count = count_accepted(log, found.app, from_ms, to_ms)
    finally:
        log.close()
    done = False
    if not dry_run and count:
        done = ask_forwarder(place, ReplayRange(found.uid, from_ms, to_ms, clock.now_ms()))
    span = {"from": format_ms(from_ms), "to": format_ms(to_ms)}
    if json:
        say_json({"destination": found.id, **span, "events": count, "started": done})
    else:
        verb = "would be offered again" if dry_run else "are offered again"
        say(f"{count} events accepted from {span['from']} to {span['to']} {verb} to {found.id}")
    return 0
