"""What the verbs share: where the home is, how to say a result, how to fail with one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from sqlalchemy.exc import SQLAlchemyError

from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import CatalogError
from trunkline.catalog.vault import VaultError
from trunkline.forwarder.inbox import apply_inbox
from trunkline.kit.bell import Ringer
from trunkline.kit.clock import SystemClock
from trunkline.kit.settings import Boot, SettingsError, load_boot
from trunkline.kit.times import parse_time_ms
from trunkline.model.snapshot import Destination, Snapshot
from trunkline.reports.state import inbox_position
from trunkline.state.home import Home, HomeError, HomeLock
from trunkline.state.inbox import InboxRequest, append_request

HomeOption = Annotated[
    Path,
    cyclopts.Parameter(
        name="--home", env_var="TRUNKLINE_HOME", help="The folder that holds everything."
    ),
]
JsonOption = Annotated[
    bool, cyclopts.Parameter(name="--json", negative="", help="Print JSON, for programs.")
]
HOME_DEFAULT = Path(".trunkline")
ASK_SECONDS = 5.0  # how long a command waits for a running node to carry out what it asked


class CommandError(Exception):
    """A command failed; the message is the one sentence for standard error."""


def open_home(folder: Path) -> Home:
    """Return the home, made or checked. Raises `CommandError`."""
    home = Home(folder)
    try:
        home.prepare()
    except HomeError as error:
        raise CommandError(str(error)) from error
    return home


def read_boot(home: Home, flags: Mapping[tuple[str, str], Any] | None = None) -> Boot:
    """Return the boot settings of a home. Raises `CommandError`."""
    try:
        return load_boot(home.settings_file, os.environ, flags or {})
    except SettingsError as error:
        raise CommandError(str(error)) from error


def say(text: str = "") -> None:
    """Print a line of the result."""
    print(text)


def say_json(value: object) -> None:
    """Print a result as indented JSON."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.flush()


def read_snapshot(home: Home) -> Snapshot:
    """Return the catalog as it is now. Raises `CommandError`."""
    try:
        return load_snapshot(home)
    except (CatalogError, VaultError, SQLAlchemyError) as error:
        first_line = str(error).splitlines()[0]
        raise CommandError(f"{home.catalog_file} cannot be read: {first_line}") from error


def find_destination(snapshot: Snapshot, name: str) -> Destination:
    """Return the destination called ID or APP/ID. Raises `CommandError` naming what there is."""
    every = [destination for app in snapshot.apps for destination in app.destinations]
    found = [d for d in every if name in (d.id, f"{d.app}/{d.id}")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{d.app}/{d.id}" for d in (found or every)[:20]) or "none"
    what = "is the name of several destinations" if found else "is no destination"
    raise CommandError(f"{name!r} {what}; expected one of: {names}")


def parse_moment(text: str, now_ms: int) -> int:
    """Return Unix milliseconds of a time, or of a span back from now: `90s`, `15m`, `2h`, `3d`."""
    units = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if text[:-1].isdigit() and text[-1:] in units:
        return now_ms - int(text[:-1]) * units[text[-1]]
    at_ms = parse_time_ms(text)
    if at_ms is None:
        raise CommandError(f"{text!r} is no time; expected 2026-11-20T10:15:30Z, or 2h, or 3d")
    return at_ms


def ask_forwarder(home: Home, request: InboxRequest) -> bool:
    """Have the forwarder carry a request out; say whether it is done.

    A running node does it within moments; where none runs it is done here, under the home's lock.
    """
    number = append_request(home.inbox_file, request)
    lock = HomeLock(home)
    if lock.try_take(f"pid {os.getpid()} trunkline command"):
        try:
            apply_inbox(home)
        finally:
            lock.release()
        return True
    ringer = Ringer(home.inbox_bells)
    clock = SystemClock()
    deadline = clock.monotonic() + ASK_SECONDS
    while clock.monotonic() < deadline:
        ringer.ring()
        if inbox_position(home) >= number:
            return True
        clock.pause(0.05)
    return False
