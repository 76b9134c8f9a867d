"""What the verbs ask of the catalog and of a running node."""

from __future__ import annotations

import os

from sqlalchemy.exc import SQLAlchemyError

from trunkline.catalog.current import load_snapshot
from trunkline.catalog.database import CatalogError
from trunkline.catalog.vault import VaultError
from trunkline.cli._frame import CommandError
from trunkline.forwarder.inbox import apply_inbox
from trunkline.kit.bell import Ringer
from trunkline.kit.clock import SystemClock
from trunkline.model.snapshot import Destination, Snapshot
from trunkline.reports.state import inbox_position
from trunkline.state.home import Home, HomeLock
from trunkline.state.inbox import InboxRequest, append_request

ASK_SECONDS = 5.0  # how long a command waits for a running node to carry out what it asked


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
