"""`trunkline key`: API keys and dev keys of apps: new, rotate, change, revoke, list."""

from __future__ import annotations

import shlex
from typing import Annotated

import cyclopts

from trunkline.catalog import keys
from trunkline.catalog.key_list import KeyLine, list_keys, tell_leak
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
    help="""API keys and dev keys of apps: new, rotate, change, revoke, list.

    Example: `trunkline key rotate Wallet backend --overlap 24h`
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
    overlap: Annotated[
        str | None,
        cyclopts.Parameter(
            help="How long the present secret opens beside the new one: 30m, 24h, 7d, or 0. "
            "Left out: 24h."
        ),
    ] = None,
    overlap_hours: Annotated[float | None, cyclopts.Parameter(help="The same, in hours.")] = None,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Give a key another secret and print it, this once; the present one opens for a while more.

    Example: `trunkline key rotate Wallet --dev-key --overlap 48h`

    Parameters
    ----------
    app
        The app's id or name.
    name
        The key's name; left out with --dev-key.
    """
    key = _which(name, dev_key)
    hours = _read_overlap(overlap, overlap_hours)
    with catalog_errors():
        if key is None:
            issued = keys.rotate_dev_key(open_home(home), SystemClock(), app, hours)
        else:
            issued = keys.rotate_key(open_home(home), SystemClock(), app, key, hours)
    return _say_issued(issued, json)


@command.command
def change(
    app: str,
    name: str,
    /,
    *,
    type: KeyType,
    home: HomeOption = HOME_DEFAULT,
    json: JsonOption = False,
) -> int:
    """Turn a Server key into a Client key, which may do less; its secret stays.

    For a key that stands in a page or an app already, where rotating it would cut senders off.

    Example: `trunkline key change Wallet web --type client`

    Parameters
    ----------
    app
        The app's id or name.
    name
        The key's name.
    type
        client. No key becomes a Server key: anyone may have read what was a Client key.
    """
    if type == "server":
        raise CommandError(
            "no key becomes a server key: anyone may have read what was a client key; make a new "
            f"one: trunkline key new {shlex.join([app, 'NAME'])} --type server"
        )
    with catalog_errors():
        live = keys.make_client_key(open_home(home), SystemClock(), app, name)
    if json:
        say_json({"app": app, "name": name, "type": type, "live": live})
        return 0
    say(f"{app}/{name} is a client key now" + (f": {live.sentence()}" if live else ""))
    say("Its secret is the same, whatever it begins with. Give it allowed origins and rates in the")
    say("workspace file: without them any page may send with it.")
    return 0


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
    """List every key of every app, without secrets: state, last use, leaks; and what was revoked.

    Example: `trunkline key list`
    """
    with catalog_errors():
        lines = list_keys(open_home(home), SystemClock())
    if json:
        say_json(lines)
        return 0
    for line in lines:
        say(_show(line))
        if line.leak is not None:
            say(f"  {tell_leak(line)}")
    if not lines:
        say("no keys yet; make one with `trunkline key new APP NAME --type server`")
    return 0


_UNTIL = {"overlap": "until", "revoked": "at"}
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


def _show(line: KeyLine) -> str:
    until = "" if line.until is None else f"  {_UNTIL[line.state]} {line.until}"
    used = ""
    if line.state in ("active", "overlap"):
        used = f"  last used {line.last_used[:16]}Z" if line.last_used else "  not used yet"
    return f"{line.app_name or line.app}/{line.name}  {line.type}  {line.state}{until}{used}"


def _read_overlap(overlap: str | None, hours: float | None) -> float:
    """Return the hours of an overlap that was given in one of two ways, or in none."""
    if overlap is None:
        return keys.OVERLAP_HOURS if hours is None else hours
    if hours is not None:
        raise CommandError("give --overlap or --overlap-hours, not both")
    if overlap == "0":
        return 0.0
    if overlap[:-1].isdecimal() and overlap[-1:] in _HOURS:
        return int(overlap[:-1]) * _HOURS[overlap[-1]]
    raise CommandError(f"{overlap!r} is no overlap; expected a span, say 30m, 24h, 7d, or 0")


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
