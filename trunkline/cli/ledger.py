"""`trunkline ledger`: the counts that must balance."""

from __future__ import annotations

from typing import Annotated

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
from trunkline.reports.ledger import Ledger, read_ledger


def command(
    *,
    app: str | None = None,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Only what was accepted since: a time, or 2h, 3d.")
    ] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Count what came in and what became of it; exit 1 when it does not balance.

    received = refused + duplicate + accepted, and for each destination
    accepted + replayed = delivered + filtered + dead + pending.

    Example: trunkline ledger --since 24h
    """
    place = open_home(home)
    clock = SystemClock()
    log = open_log(place, read_boot(place), clock)
    try:
        since_ms = parse_moment(since, clock.now_ms()) if since else 0
        ledger = read_ledger(place, log, app, since_ms)
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


def _verdict(is_balanced: bool) -> str:
    return "✓" if is_balanced else "✗ does not balance"
