"""`trunkline key`: API keys and dev keys of apps: new, rotate, revoke, list."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from trunkline.catalog import keys
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
from trunkline.model.snapshot import KeyType

command = cyclopts.App(
    name="key",
    help="""API keys and dev keys of apps: new, rotate, revoke, list.

    Example: `trunkline key rotate Wallet backend --overlap-hours 24`
    """,
)

DevKeyOption = Annotated[
    bool, cyclopts.Parameter(name="--dev-key", negative="", help="The app's dev key (S2S).")
]


@command.command
def new(
    app: str,
    name: str,
    /,
    *,
    type: KeyType,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Make a key and print its secret, this once.

    Example: `trunkline key new Wallet backend --type server`

    Parameters
    ----------
    app
        The app's id or name.
    name
        A name for the key; events carry it as `source.key`.
    type
        server: for back ends. client: where anyone can read it.
    """
    with catalog_errors():
        issued = keys.new_key(open_home(home), SystemClock(), app, name, type)
    return _say_issued(issued, json)


@command.command
def rotate(
    app: str,
    name: str | None = None,
    /,
    *,
    dev_key: DevKeyOption = False,
    overlap_hours: Annotated[
        float, cyclopts.Parameter(help="How long the present secret opens beside the new one.")
    ] = keys.OVERLAP_HOURS,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Give a key another secret and print it, this once; the present one opens for a while more.

    Example: `trunkline key rotate Wallet --dev-key --overlap-hours 48`

    Parameters
    ----------
    app
        The app's id or name.
    name
        The key's name; left out with --dev-key.
    """
    key = _which(name, dev_key)
    with catalog_errors():
        if key is None:
            issued = keys.rotate_dev_key(open_home(home), SystemClock(), app, overlap_hours)
        else:
            issued = keys.rotate_key(open_home(home), SystemClock(), app, key, overlap_hours)
    return _say_issued(issued, json)


@command.command
def revoke(
    app: str,
    name: str | None = None,
    /,
    *,
    dev_key: DevKeyOption = False,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """End a key now and for good: no workspace file brings its secret back.

    Example: `trunkline key revoke Wallet web`

    Parameters
    ----------
    app
        The app's id or name.
    name
        The key's name; left out with --dev-key.
    """
    key = _which(name, dev_key)
    with catalog_errors():
        if key is None:
            live = keys.revoke_dev_key(open_home(home), SystemClock(), app)
        else:
            live = keys.revoke_key(open_home(home), SystemClock(), app, key)
    if json:
        say_json({"app": app, "name": key or keys.DEV_KEY_NAME, "live": live})
    else:
        say(f"revoked {app}/{key or keys.DEV_KEY_NAME}" + (f": {live.sentence()}" if live else ""))
    return 0


@command.command(name="list")
def list_(*, home: HomeOption = HOME_DEFAULT, json: JsonOption = False) -> int:
    """List every key of every app, without secrets, and what was revoked.

    Example: `trunkline key list`
    """
    with catalog_errors():
        lines = keys.list_keys(open_home(home), SystemClock())
    if json:
        say_json(lines)
        return 0
    for line in lines:
        until = "" if line.until is None else f"  {_UNTIL[line.state]} {line.until}"
        say(f"{line.app_name or line.app}/{line.name}  {line.type}  {line.state}{until}")
    if not lines:
        say("no keys yet; make one with `trunkline key new APP NAME --type server`")
    return 0


_UNTIL = {"overlap": "until", "revoked": "at"}


def _which(name: str | None, dev_key: bool) -> str | None:
    """Return the key's name, or None for the dev key."""
    if (name is None) != dev_key:
        raise CommandError("name a key, or give --dev-key for the app's dev key; not both")
    return name


def _say_issued(issued: keys.IssuedKey, json: bool) -> int:
    if json:
        say_json(issued)
        return 0
    say(f"{issued.type} key {issued.app}/{issued.name}: {issued.secret}")
    say("It is shown this once; keep it now.")
    if issued.previous_until is not None:
        say(f"The one before it opens until {issued.previous_until}.")
    if issued.live is not None:
        say(issued.live.sentence())
    return 0
