"""`trunkline apply`: bring the catalog to what a workspace file says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts

from trunkline.catalog.apply import ApplyResult, apply_workspace
from trunkline.catalog.check import WorkspaceError
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.cli._jail import load_code
from trunkline.cli.check import catalog_errors, read_file, say_problems
from trunkline.kit.clock import SystemClock
from trunkline.node import destination_kinds

WORDS = {
    "app_id": "app id of {app}",
    "dev_key": "dev key of {app}",
    "server_key": "server key {app}/{name}",
    "client_key": "client key {app}/{name}",
    "slug": "slug of {app}/{name}",
}


def command(
    file: Path,
    /,
    *,
    dry_run: Annotated[
        bool, cyclopts.Parameter(negative="", help="Print the plan and change nothing.")
    ] = False,
    prune: Annotated[
        bool, cyclopts.Parameter(negative="", help="Remove what the file does not name.")
    ] = False,
    note: Annotated[str, cyclopts.Parameter(help="Why, kept with what it deploys.")] = "",
    author: Annotated[str | None, cyclopts.Parameter(help="Who; left out, $USER.")] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Bring the catalog to what a workspace file says; print the plan like a diff. All or nothing.

    What the file leaves out (ids, keys) is generated and printed once. What it does not name is
    listed, and removed only with --prune. A running node has the change within two seconds.

    Example: `trunkline apply workspace.yaml --dry-run`

    Parameters
    ----------
    file
        The workspace file.
    """
    text = read_file(file)
    try:
        with catalog_errors():
            result = apply_workspace(
                open_home(home),
                text,
                destination_kinds(),
                os.environ,
                base=file.parent,
                clock=SystemClock(),
                dry_run=dry_run,
                prune=prune,
                author=os.environ.get("USER", "") if author is None else author,
                note=note,
                load_code=load_code,
            )
    except WorkspaceError as error:
        if json:
            raise CommandError(str(error)) from error
        return say_problems(error.problems)
    if json:
        say_json(result)
    else:
        _say(result)
    return 0


def _say(result: ApplyResult) -> None:
    for line in result.lines:
        say(line)
    for title in result.unnamed:
        say(f"  not in the file, kept: {title}")
    for item in result.generated:
        say(f"! {WORDS[item.what].format(app=item.app, name=item.name)}: {item.value}")
    if any(item.what != "slug" and item.what != "app_id" for item in result.generated):
        say("! Keys are shown this once; keep them now.")
    if not result.is_changed:
        say(f"nothing to change; the catalog stays at version {result.version}")
    elif result.is_dry_run:
        say(f"dry run; the catalog stays at version {result.version}")
    elif result.live is not None:
        say(f"version {result.version}: {result.live.sentence()}")
