"""`trunkline refused`: what the gateway did not accept, and why."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.reports.letters import list_refused

command = cyclopts.App(
    name="refused",
    help="""What the gateway did not accept, and why.

    Example: `trunkline refused list`
    """,
)
Limit = Annotated[int, cyclopts.Parameter(help="How many at the most.")]


@command.command(name="list")
def list_(
    *,
    app: str | None = None,
    limit: Limit = 100,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List refused events, newest first.

    Example: trunkline refused list --app zcmwmxbkmuodelu
    """
    rows = list_refused(open_home(home), app, limit)
    if json:
        say_json(rows)
        return 0
    for row in rows:
        times = f"  ×{row.count}" if row.count > 1 else ""
        say(f"{row.id:>6}  {row.at}  {row.app}  {row.code}{times}  {row.message}")
    if not rows:
        say("Nothing was refused.")
    return 0


@command.command
def show(id: int, *, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """Show one refused event with its redacted body.

    Example: trunkline refused show 17
    """
    rows = list_refused(open_home(home), None, 1, id)
    if not rows:
        raise CommandError(f"no refused event {id}; `trunkline refused list` shows what is kept")
    row = rows[0]
    if json:
        say_json(row)
        return 0
    say(f"{row.at}  {row.app}  {row.protocol}  key {row.key}  from {row.address}")
    say(f"{row.code}: {row.message}")
    say(f"request {row.request_id}  messageId {row.message_id or 'none'}")
    say(row.body)
    return 0
