"""`trunkline refused`: what was not accepted and why, and sending it again after a fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    parse_moment,
    say,
    say_json,
)
from trunkline.cli._refused_resend import (
    SOME_NOT_SENT,
    Asked,
    judge_refused,
    lines_of,
    read_change,
    send_judged,
    totals_of,
)
from trunkline.kit.clock import SystemClock
from trunkline.reports.refused import RefusedFilter, list_refused

LIMIT_MAX = 10_000

command = cyclopts.App(
    name="refused",
    help="""What was not accepted and why, and sending it again after a fix.

    Example: `trunkline refused list`
    """,
)
Limit = Annotated[int, cyclopts.Parameter(help="How many at the most.")]
CodeOption = Annotated[
    str | None, cyclopts.Parameter(help="Only those that were refused with this code.")
]


@command.command(name="list")
def list_(
    *,
    app: str | None = None,
    code: CodeOption = None,
    limit: Limit = 100,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List refused events, newest first.

    Example: trunkline refused list --app zcmwmxbkmuodelu
    """
    rows = list_refused(open_home(home), RefusedFilter(app=app, code=code, limit=limit))
    if json:
        say_json(rows)
        return 0
    for row in rows:
        times = f"  ×{row.count}" if row.count > 1 else ""
        again = f"  (sent again {row.resent_at})" if row.resent_at else ""
        say(f"{row.id:>6}  {row.at}  {row.app}  {row.code}{times}{again}  {row.message}")
    if not rows:
        say("Nothing was refused.")
    return 0


@command.command
def show(id: int, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show one refused event with its redacted body.

    Example: trunkline refused show 17
    """
    rows = list_refused(open_home(home), RefusedFilter(ids=(id,)))
    if not rows:
        raise CommandError(f"no refused event {id}; `trunkline refused list` shows what is kept")
    row = rows[0]
    if json:
        say_json(row)
        return 0
    say(f"{row.at}  {row.app}  {row.protocol}  key {row.key}  from {row.address}")
    say(f"{row.code}: {row.message}")
    place = "" if row.index is None else f", index {row.index}"
    say(f"request {row.request_id}{place}  messageId {row.message_id or 'none'}")
    if row.resent_at:
        say(f"sent again {row.resent_at}")
    say(row.body)
    return 0


@command.command
def resend(
    app: str,
    *,
    id_: Annotated[
        list[int] | None,
        cyclopts.Parameter(name="--id", negative="", help="Only this one; as often as needed."),
    ] = None,
    code: CodeOption = None,
    since: Annotated[
        str | None, cyclopts.Parameter(help="Only what came since a time, or 2h, 3d ago.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        cyclopts.Parameter(
            name="--set", negative="", help="PATH=VALUE in each event; VALUE may be JSON."
        ),
    ] = None,
    edit: Annotated[
        Path | None, cyclopts.Parameter(help="A file with the event to send in place of one --id.")
    ] = None,
    key: Annotated[
        str, cyclopts.Parameter(help="The name of a key of the app, where theirs is gone.")
    ] = "",
    limit: Limit = 1000,
    again: Annotated[
        bool, cyclopts.Parameter(negative="", help="Also those that were sent again before.")
    ] = False,
    yes: Annotated[
        bool, cyclopts.Parameter(negative="", help="Send them. Without it nothing is sent.")
    ] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Send refused events again, after what was wrong with them was mended.

    Shows what each would come to now; with --yes the good ones are stored, beside a running node or
    without one. The exit code is 3 where some cannot be sent, or would be refused again.

    Example: trunkline refused resend Shop --code blocked_by_tracking_plan --since 2h --yes

    Parameters
    ----------
    app
        The app's id or name.
    """
    if not 0 < limit <= LIMIT_MAX:
        raise CommandError(f"--limit {limit}: expected 1 to {LIMIT_MAX:,}; run it again for more")
    change = read_change(set_ or [], edit, key, id_ or [])
    since_ms = parse_moment(since, SystemClock().now_ms()) if since else 0
    which = RefusedFilter(code=code, since_ms=since_ms, ids=id_ or None, limit=limit)
    asked = Asked(open_home(home), app, which, change, again)
    judged = judge_refused(asked)
    sent = send_judged(asked, judged) if yes else None
    if json:
        say_json(totals_of(judged, sent))
    else:
        for line in lines_of(judged, sent):
            say(line)
    return 0 if all(each.outcome == "ready" for each in judged) else SOME_NOT_SENT
