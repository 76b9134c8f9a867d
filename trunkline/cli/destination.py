"""`trunkline destination`: state, lag, why it is parked; pause, resume, probe; test and send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec

from trunkline.cli._destination_trial import (
    event_to_send,
    say_step,
    say_trial,
    test_report,
    with_tools,
)
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    read_boot,
    say,
    say_json,
)
from trunkline.cli._node import ask_forwarder, find_destination, read_snapshot
from trunkline.forwarder.trial import try_event
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


@command.command
def test(name: str, /, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Test a destination's connection: whether credentials and address are right; nothing counts.

    A kit says how; a channel connects and looks whether what it needs is there. Exit 1 where the
    test fails, or there is none.

    Example: `trunkline destination test Shop/ads`

    Parameters
    ----------
    name
        The destination: ID or APP/ID.
    """
    place = open_home(home)
    found = find_destination(read_snapshot(place), name)
    report = test_report(place, found)
    if json:
        say_json({"id": found.id, "app": found.app, **msgspec.to_builtins(report)})
        return 0 if report.ok else 1
    for step in report.steps:
        say_step(step)
    say(f"{'✓' if report.ok else '✗'} {report.sentence}")
    return 0 if report.ok else 1


@command.command
def send(
    name: str,
    /,
    *,
    event: Annotated[
        Path | None, cyclopts.Parameter(help="A canonical event, as JSON or YAML.")
    ] = None,
    fixture: Annotated[
        str | None, cyclopts.Parameter(help="A fixture of its kit, as if it happened now.")
    ] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Send one event to a destination for real, past the log: what it is sent, answers, and means.

    It is shaped and carried as any event, once. Nothing is written here; the vendor counts it.
    Exit 1 where it was not delivered.

    Example: `trunkline destination send Shop/ads --fixture purchase`

    Parameters
    ----------
    name
        The destination: ID or APP/ID.
    """
    place = open_home(home)
    found = find_destination(read_snapshot(place), name)
    mapped = event_to_send(place, found, event, fixture)
    try:
        trial = with_tools(place, lambda tools: try_event(found, mapped, tools))
    except ValueError as error:
        raise CommandError(f"{found.app}/{found.id} cannot send: {error}") from error
    if json:
        say_json(
            {"id": found.id, "app": found.app, "delivered": trial.is_delivered, "trial": trial}
        )
    else:
        say_trial(trial)
    return 0 if trial.is_delivered else 1


def _set(name: str, state: str, home: HomeOption, json: bool) -> int:
    place = open_home(home)
    found = find_destination(read_snapshot(place), name)
    live = ask_forwarder(place, SetState(found.uid, state, SystemClock().now_ms()))
    if json:
        say_json({"id": found.id, "app": found.app, "asked": state, "done": live})
    else:
        say(f"{found.app}/{found.id}: {state}{'' if live else ' (asked; not yet carried out)'}")
    return 0
