"""`trunkline playbook`: revisions of playbooks: list, show, deploy, roll back, shadow."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from trunkline.catalog import revision_reports, revisions
from trunkline.catalog.check import WorkspaceError
from trunkline.catalog.export import render_tree
from trunkline.catalog.playbook_text import PlaybookFileError, load_file
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
from trunkline.cli._node import find_destination, read_snapshot
from trunkline.cli._playbook_diff import diff
from trunkline.cli._playbook_test import test
from trunkline.cli._shadow_counts import say_counts
from trunkline.cli.check import catalog_errors, say_problems
from trunkline.kit.clock import SystemClock
from trunkline.model.snapshot import Destination
from trunkline.state.home import Home

command = cyclopts.App(
    name="playbook",
    help="""What a destination is sent: revisions of its playbook, deployed and rolled back.

    Example: `trunkline playbook deploy --destination crm crm.yaml --note "send the currency"`
    """,
)

command.command(test)
command.command(diff)

DestinationOption = Annotated[
    str, cyclopts.Parameter(name="--destination", help="The destination, ID or APP/ID.")
]
RevisionOption = Annotated[
    int | None, cyclopts.Parameter(name="--revision", help="A revision's number.")
]
NoteOption = Annotated[str, cyclopts.Parameter(help="Why, in one line; kept with it.")]
AuthorOption = Annotated[str | None, cyclopts.Parameter(help="Who; left out, $USER.")]


@command.command(name="list")
def list_(
    *,
    app: Annotated[str | None, cyclopts.Parameter(help="Only this app's, by its id.")] = None,
    destination: Annotated[
        str | None, cyclopts.Parameter(help="Only this one's, ID or APP/ID.")
    ] = None,
    history: Annotated[
        bool, cyclopts.Parameter(negative="", help="Of one destination: what was deployed when.")
    ] = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List revisions, the newest first, with what is deployed and what runs in the shadow.

    Example: trunkline playbook list --destination crm --history
    """
    place = open_home(home)
    found = None if destination is None else _find(place, destination)
    if history and found is None:
        raise CommandError("--history is of one destination; name it with --destination")
    with catalog_errors():
        if history and found is not None:
            return _say_history(revision_reports.history(place, found.app, found.id), json)
        lines = revision_reports.list_revisions(
            place, found.app if found else app, found and found.id
        )
    if json:
        say_json(lines)
        return 0
    for line in lines:
        marks = (" deployed" if line.is_deployed else "") + (" shadow" if line.is_shadow else "")
        why = "".join(f"  {text}" for text in (line.author, line.note) if text)
        say(f"{line.app}/{line.destination}  revision {line.number}{marks}  {line.created}{why}")
    if not lines:
        say("No revisions; `trunkline playbook deploy --destination D FILE` makes one.")
    return 0


@command.command
def show(
    *,
    destination: DestinationOption,
    revision: RevisionOption = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Print a revision as YAML; without --revision what is deployed.

    Example: trunkline playbook show --destination crm --revision 3
    """
    place = open_home(home)
    found = _find(place, destination)
    with catalog_errors():
        shown = revision_reports.read_revision(place, found.app, found.id, revision)
    if json:
        say_json(shown)
    elif shown.playbook is None:
        say(f"# {found.app}/{found.id} has no playbook: {found.kind}'s own form of an event")
    else:
        told = [shown.created, shown.author, shown.note]
        say(f"# {found.app}/{found.id} revision {shown.number}  {'  '.join(filter(None, told))}")
        say(render_tree(shown.playbook).rstrip("\n"))
    return 0


@command.command
def deploy(
    file: Path | None = None,
    /,
    *,
    destination: DestinationOption,
    revision: RevisionOption = None,
    note: NoteOption = "",
    author: AuthorOption = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Bring a revision into force: FILE, saved as one, or an existing one by its number.

    Number 0 is the kind's own form. Every running process has it before this returns; no event is
    lost or sent twice by it.

    Example: trunkline playbook deploy --destination crm crm.yaml --note "send the currency"

    Parameters
    ----------
    file
        A playbook, YAML or JSON.
    """
    place = open_home(home)
    found = _find(place, destination)
    what = _what(file, revision)
    change = partial(revisions.deploy, place, SystemClock(), found.app, found.id, what)
    return _carry_out(change, author, note, _say_deployed, json)


@command.command
def rollback(
    *,
    destination: DestinationOption,
    note: NoteOption = "",
    author: AuthorOption = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Bring back what was deployed before; once more, what was before that.

    Example: trunkline playbook rollback --destination crm --note "the vendor refuses 4"
    """
    place = open_home(home)
    found = _find(place, destination)
    change = partial(revisions.rollback, place, SystemClock(), found.app, found.id)
    return _carry_out(change, author, note, _say_deployed, json)


@command.command
def shadow(
    file: Path | None = None,
    /,
    *,
    destination: DestinationOption,
    revision: RevisionOption = None,
    off: Annotated[bool, cyclopts.Parameter(negative="", help="End the shadow.")] = False,
    note: NoteOption = "",
    author: AuthorOption = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Let a revision shape every event beside the deployed one; it sends nothing and is counted.

    Without FILE, --revision and --off: what was counted, and events that come out differently.

    Example: trunkline playbook shadow --destination crm --revision 4

    Parameters
    ----------
    file
        A playbook, YAML or JSON; it is saved as a revision.
    """
    if off and (file is not None or revision is not None):
        raise CommandError("--off ends the shadow; leave FILE and --revision out")
    place = open_home(home)
    found = _find(place, destination)
    if not off and file is None and revision is None:
        return say_counts(place, found, json)
    what = None if off else _what(file, revision)
    change = partial(revisions.set_shadow, place, SystemClock(), found.app, found.id, what)
    return _carry_out(change, author, note, _say_shadow, json)


def _carry_out(
    change: Callable[..., revisions.Deployed],
    author: str | None,
    note: str,
    say_done: Callable[[revisions.Deployed, bool], int],
    json: bool,
) -> int:
    """Make one change of the catalog and say what came of it, or every mistake that keeps it."""
    try:
        with catalog_errors():
            done = change(author=_author(author), note=note, load_code=load_code)
    except WorkspaceError as error:
        return _fail(error, json)
    return say_done(done, json)


def _find(place: Home, name: str) -> Destination:
    return find_destination(read_snapshot(place), name)


def _what(file: Path | None, revision: int | None) -> int | Any:
    if (file is None) == (revision is None):
        raise CommandError("name one of the two: FILE, or --revision N for one that was saved")
    if file is None:
        return revision
    try:
        return load_file(file)
    except PlaybookFileError as error:
        raise CommandError(str(error)) from error


def _author(given: str | None) -> str:
    return os.environ.get("USER", "") if given is None else given


def _fail(error: WorkspaceError, json: bool) -> int:
    if json:
        raise CommandError(str(error)) from error
    return say_problems(error.problems)


def _say_deployed(done: revisions.Deployed, json: bool) -> int:
    if json:
        say_json(done)
    elif done.live is None:
        say(f"{done.app}/{done.destination}: {_named(done.revision)} is deployed already")
    else:
        say(
            f"{done.app}/{done.destination}: {_named(done.revision)} deployed, before it "
            f"{_named(done.before)}: {done.live.sentence()}"
        )
    return 0


def _say_shadow(done: revisions.Deployed, json: bool) -> int:
    told = f"{_named(done.revision)} runs in the shadow" if done.revision else "no shadow"
    if json:
        say_json(done)
    elif done.live is None:
        say(f"{done.app}/{done.destination}: {told}, as before")
    else:
        say(f"{done.app}/{done.destination}: {told}: {done.live.sentence()}")
    return 0


def _say_history(rows: tuple[revision_reports.Deployment, ...], json: bool) -> int:
    if json:
        say_json(rows)
        return 0
    for row in rows:
        why = "".join(f"  {text}" for text in (row.author, row.note) if text)
        say(f"{row.at}  {row.deed}  {_named(row.from_revision)} → {_named(row.to_revision)}{why}")
    if not rows:
        say("Nothing was deployed yet.")
    return 0


def _named(number: int) -> str:
    return f"revision {number}" if number else "its own form"
