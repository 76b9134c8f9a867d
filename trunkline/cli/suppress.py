"""`trunkline suppress`: people whose events go nowhere: add, remove, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from trunkline.catalog import suppression
from trunkline.catalog.suppression import SuppressionChange
from trunkline.cli._frame import (
    HOME_DEFAULT,
    CommandError,
    HomeOption,
    JsonOption,
    open_home,
    say,
    say_json,
)
from trunkline.cli.check import catalog_errors
from trunkline.kit.clock import SystemClock
from trunkline.kit.suppression import PEOPLE_MAX

command = cyclopts.App(
    name="suppress",
    help="""People whose events go nowhere: add, remove, list.

    Their events are accepted and stored, and filtered at every destination with the reason
    `suppressed`, from within two seconds. No id is kept, only digests with the home's own key.

    Example: `trunkline suppress add Wallet u-42 --email jane@example.com`
    """,
)

_FILE_BYTES_MAX = 33_554_432
_LINE_LENGTH_MAX = 1000

Anonymous = Annotated[
    tuple[str, ...],
    cyclopts.Parameter(negative="", help="An anonymousId; may be given several times."),
]
Email = Annotated[
    tuple[str, ...],
    cyclopts.Parameter(
        negative="", help="An e-mail address, or its SHA-256; may be given several times."
    ),
]
File = Annotated[
    Path | None, cyclopts.Parameter(help="A file of user ids, one on each line; at most 32 MB.")
]


@command.command
def add(
    app: str,
    /,
    *users: str,
    anonymous: Anonymous = (),
    email: Email = (),
    file: File = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Suppress people: their events go to no destination from now on.

    Example: `trunkline suppress add Wallet u-42 u-43 --anonymous 8f3a`

    Parameters
    ----------
    app
        The app's id or name.
    users
        Ids as events have them in `userId`.
    """
    named = _named(users, anonymous, email, file)
    with catalog_errors():
        change = suppression.suppress(open_home(home), SystemClock(), app, named)
    return _say_change(change, "suppressed", "already", json)


@command.command
def remove(
    app: str,
    /,
    *users: str,
    anonymous: Anonymous = (),
    email: Email = (),
    file: File = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Let the events of people go again. What was filtered meanwhile can be replayed.

    Example: `trunkline suppress remove Wallet u-42`

    Parameters
    ----------
    app
        The app's id or name.
    users
        Ids as events have them in `userId`.
    """
    named = _named(users, anonymous, email, file)
    with catalog_errors():
        change = suppression.unsuppress(open_home(home), SystemClock(), app, named)
    return _say_change(change, "no longer suppressed", "were not suppressed", json)


@command.command(name="list")
def list_(
    app: str,
    /,
    *users: str,
    anonymous: Anonymous = (),
    email: Email = (),
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """List the suppressed: kind, since when, and a digest, for who it is is not kept.

    With ids, only those of them who are suppressed: exit code 1 where none is.

    Example: `trunkline suppress list Wallet u-42`

    Parameters
    ----------
    app
        The app's id or name.
    users
        Ids as events have them in `userId`.
    """
    named = _named(users, anonymous, email, None)
    is_asked = any(named.values())
    with catalog_errors():
        found = suppression.list_suppressed(
            open_home(home), SystemClock(), app, named if is_asked else None
        )
    if json:
        say_json(found)
    for person in () if json else found:
        say(f"{person.kind:9}  {person.digest}  since {person.since}")
    if not found and not json:
        say("nobody of these is suppressed" if is_asked else "nobody is suppressed")
    return 1 if is_asked and not found else 0


def _named(
    users: tuple[str, ...], anonymous: tuple[str, ...], email: tuple[str, ...], file: Path | None
) -> suppression.Named:
    listed = () if file is None else _lines(file)
    return {"user": (*users, *listed), "anonymous": anonymous, "email": email}


def _lines(file: Path) -> tuple[str, ...]:
    try:
        if file.stat().st_size > _FILE_BYTES_MAX:
            raise CommandError(f"{file} is larger than 32 MB; expected one user id on each line")
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read as text: {error}") from error
    ids = tuple(line for line in lines if line)
    if len(ids) > PEOPLE_MAX or any(len(each) > _LINE_LENGTH_MAX for each in ids):
        raise CommandError(
            f"{file}: expected at most {PEOPLE_MAX:,} user ids, one on each line, each of at most "
            f"{_LINE_LENGTH_MAX} characters"
        )
    return ids


def _say_change(change: SuppressionChange, done: str, was: str, json: bool) -> int:
    if json:
        say_json(change)
        return 0
    rest = f"; {change.unchanged} {was}" if change.unchanged else ""
    live = f": {change.live.sentence()}" if change.live else ""
    say(f"{change.changed} {done}{rest}{live}")
    return 0
