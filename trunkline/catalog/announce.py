"""Telling the running processes of a change, and seeing that they have it.

Each process that follows the catalog leaves a file in `run/snapshots/` with its process id and the
version it works with. A file whose process is gone counts for nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from trunkline.catalog.tables import VersionRow
from trunkline.kit.bell import Ringer
from trunkline.kit.clock import Clock
from trunkline.state.home import Home

WAIT_SECONDS = 2.0
LOOK_SECONDS = 0.01


class Mark(Struct, frozen=True, order=True):
    """What tells one state of the catalog from another: the version alone comes again when a
    database is put back from a backup or made anew."""

    version: int
    changed_ms: int


class Live(Struct, frozen=True):
    """How many running processes have a change, and how many do not have it yet."""

    processes: int
    waiting: int

    def sentence(self) -> str:
        """Return it in words."""
        if self.waiting:
            return (
                f"live in {self.processes} processes; {self.waiting} have not taken it yet "
                "and look again every second"
            )
        if not self.processes:
            return "no node runs on this home; the next one starts with it"
        return f"live in {self.processes} process{'es' if self.processes > 1 else ''}"


class _Presence(Struct, frozen=True):
    pid: int
    mark: Mark


class Presence:
    """The file by which a process says what it works with."""

    def __init__(self, home: Home) -> None:
        self._folder = _folder(home)
        self._path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"

    def say(self, mark: Mark) -> None:
        """Say what this process works with from now on. Raises `OSError`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(_Presence(os.getpid(), mark)))
        draft.replace(self._path)

    def leave(self) -> None:
        """Say that this process follows no more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def announce(home: Home, mark: Mark, clock: Clock, wait_seconds: float = WAIT_SECONDS) -> Live:
    """Wake every process that follows the catalog, and wait until each has the change."""
    ringer = Ringer(home.catalog_bells)
    ringer.ring()
    ringer.close()
    deadline = clock.monotonic() + wait_seconds
    while True:
        live = _look(home, mark)
        if not live.waiting or clock.monotonic() >= deadline:
            return live
        clock.pause(LOOK_SECONDS)


def mark_of(row: VersionRow) -> Mark:
    """Return the mark of a catalog."""
    return Mark(row.version, row.changed_ms)


def _look(home: Home, mark: Mark) -> Live:
    presences = [_read(path) for path in _folder(home).glob("*.json")]
    running = [presence for presence in presences if presence and _is_alive(presence.pid)]
    # A later change than ours is as good: it holds ours.
    behind = sum(presence.mark < mark for presence in running)
    return Live(len(running) - behind, behind)


def _read(path: Path) -> _Presence | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Presence)
    except (OSError, msgspec.DecodeError):
        return None  # gone between look and read, or not ours


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _folder(home: Home) -> Path:
    return home.run_folder / "snapshots"
