"""`trunkline ledger`: the counts that must balance."""

from __future__ import annotations

from typing import Annotated, Literal

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    HomeOption,
    JsonOption,
    open_home,
    parse_moment,
    read_boot,
    say,
    say_json,
)
from trunkline.kit.clock import SystemClock
from trunkline.node import open_log
from trunkline.reports.event_counts import EventCounts, read_event_counts
from trunkline.reports.ledger import Ledger, read_ledger


def command(
    *,
    app: str | None = None,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Only what was accepted since: a time, or 2h, 3d.")
    ] = None,
    destination: Annotated[
        str | None, cyclopts.Parameter(help="Only of destinations with this id.")
    ] = None,
    by: Annotated[
        Literal["event"] | None,
        cyclopts.Parameter(help="Count by the name of the event: delivered, filtered, why."),
    ] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Count what came in and what became of it; exit 1 when it does not balance.

    received = refused + duplicate + accepted, and for each destination
    accepted + replayed = delivered + filtered + dead + pending.
    With --by event: one line for each event name and destination, in whole hours of acceptance.

    Example: trunkline ledger --since 24h
    """
    place = open_home(home)
    clock = SystemClock()
    since_ms = parse_moment(since, clock.now_ms()) if since else 0
    if by is not None:
        lines = read_event_counts(place, app, destination, since_ms)
        say_json(lines) if json else _print_events(lines)
        return 0
    log = open_log(place, read_boot(place), clock)
    try:
        ledger = read_ledger(place, log, app, since_ms, destination)
    finally:
        log.close()
    if json:
        say_json(ledger)
    else:
        _print(ledger)
    return 0 if ledger.balanced else 1


def _print(ledger: Ledger) -> None:
    for line in ledger.apps:
        refused = sum(line.refused.values())
        say(
            f"{line.app}  received {line.received} = refused {refused} + duplicate "
            f"{line.duplicate} + accepted {line.accepted}  {_verdict(line.balanced)}"
        )
        for reason, count in sorted(line.refused.items()):
            say(f"    refused {reason}: {count}")
    for line in ledger.destinations:
        filtered, dead = sum(line.filtered.values()), sum(line.dead.values())
        say(
            f"{line.app} → {line.destination}  accepted {line.accepted} + replayed "
            f"{line.replayed} = delivered {line.delivered} + filtered {filtered} + dead {dead} + "
            f"pending {line.pending}  {_verdict(line.balanced)}"
        )
        for kind, reasons in (("filtered", line.filtered), ("dead", line.dead)):
            for reason, count in sorted(reasons.items()):
                say(f"    {kind} {reason}: {count}")
    say(f"At offset {ledger.offset}: {'balanced' if ledger.balanced else 'NOT BALANCED'}")


def _print_events(lines: list[EventCounts]) -> None:
    for line in lines:
        rate = "-" if line.delivery_rate is None else f"{100 * line.delivery_rate:.1f} %"
        say(
            f"{line.app} → {line.destination}  {line.event}  delivered {line.delivered}  "
            f"not delivered {line.not_delivered}  playbook filter {line.playbook_filter}  "
            f"compliance filter {line.compliance_filter}  delivery rate {rate}"
        )
        for reason, count in line.reasons.items():
            say(f"    {reason}: {count}")
    if not lines:
        say("Nothing was counted yet.")


def _verdict(is_balanced: bool) -> str:
    return "✓" if is_balanced else "✗ does not balance"
