"""`trunkline destination`: state, lag, parked since when and why; pause, resume, probe."""

from __future__ import annotations

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import ask_forwarder, find_destination, read_snapshot
from trunkline.kit.clock import SystemClock
from trunkline.node import open_log
from trunkline.reports.letters import list_destinations
from trunkline.state.inbox import SetState

command = cyclopts.App(
    name="destination",
    help="""What destinations do, and what to do with them.

    Example: `trunkline destination list`
    """,
)


@command.command(name="list")
def list_(
    *, app: str | None = None, home: HomeOption = HOME_DEFAULT, json: JsonOption = False
) -> int:
    """List destinations: state, lag, and why one is parked.

    Example: trunkline destination list
    """
    place = open_home(home)
    log = open_log(place, read_boot(place), SystemClock())
    try:
        rows = list_destinations(place, log, read_snapshot(place))
    finally:
        log.close()
    rows = [row for row in rows if app in (None, row.app)]
    if json:
        say_json(rows)
        return 0
    for row in rows:
        since = f" since {row.since}" if row.state not in ("running", "new", "disabled") else ""
        reason = f"  {row.reason}" if row.reason else ""
        say(
            f"{row.app}/{row.id}  {row.kind}  {row.state}{since}  lag {row.lag}"
            f" (waiting {row.waiting})  dead letters {row.dead_letters}{reason}"
        )
    if not rows:
        say("No destination is configured; `trunkline apply FILE` makes some.")
    return 0


@command.command
def pause(name: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Hold a destination: its events are kept until it is resumed.

    Example: trunkline destination pause crm
    """
    return _set(name, "paused", home, json)


@command.command
def resume(name: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Let a paused or parked destination deliver again.

    Example: trunkline destination resume crm
    """
    return _set(name, "running", home, json)


@command.command
def probe(name: str, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Try a parked destination now, with its oldest event.

    Example: trunkline destination probe crm
    """
    return _set(name, "probe", home, json)


def _set(name: str, state: str, home: HomeOption, json: bool) -> int:
    place = open_home(home)
    found = find_destination(read_snapshot(place), name)
    live = ask_forwarder(place, SetState(found.uid, state, SystemClock().now_ms()))
    if json:
        say_json({"id": found.id, "app": found.app, "asked": state, "done": live})
    else:
        say(f"{found.app}/{found.id}: {state}{'' if live else ' (asked; not yet carried out)'}")
    return 0
