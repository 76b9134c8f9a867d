"""How a process has the newest snapshot at hand without ever waiting for the catalog.

A thread wakes by a bell when something was applied, and by itself every second, because a bell may
be lost. It reads one row; where that row changed it loads the whole catalog and swaps the snapshot.
Whatever fails, the last snapshot stays in use: events do not notice that the catalog is away.

At a start without a readable database the snapshot kept in the home is taken. A home in which
nothing was ever applied has the empty snapshot, version 0: that is known, not missing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from trunkline.catalog.announce import Mark, Presence, mark_of
from trunkline.catalog.database import CatalogError, read_mark, read_session
from trunkline.catalog.snapshots import EMPTY, build_snapshot, read_cache, write_cache
from trunkline.catalog.store import version_row
from trunkline.catalog.vault import Vault, open_vault
from trunkline.kit.bell import Bell
from trunkline.kit.clock import Clock
from trunkline.model.snapshot import Snapshot
from trunkline.state.home import Home
from trunkline.telemetry import catalog as telemetry

LOOK_SECONDS = 1.0  # with the bell lost, a change still arrives within the two seconds promised
NOTHING = Mark(0, 0)
REASON_CHARACTERS_MAX = 300


class SnapshotFollower:
    """Holds the newest snapshot. `current` may be called from any thread, at any rate.

    `on_change` is called with every snapshot that was loaded, the first one by `start`, the others
    on the follower's own thread.
    """

    def __init__(
        self, home: Home, clock: Clock, on_change: Callable[[Snapshot], None] | None = None
    ) -> None:
        self._home = home
        self._clock = clock
        self._on_change = on_change
        self._snapshot: Snapshot | None = None
        self._mark: Mark | None = None
        self._trouble: str | None = None
        self._presence = Presence(home)
        self._stopping = threading.Event()
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None

    def current(self) -> Snapshot | None:
        """Return the snapshot to work with; None only before the first load."""
        return self._snapshot

    def start(self) -> None:
        """Load, then follow. Does not raise for a catalog that is away or broken."""
        # The bell first: what is applied between a look and the bell would be heard a second late.
        self._bell = Bell(self._home.catalog_bells)
        self.look()
        self._thread = threading.Thread(target=self._run, name="catalog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following; the last snapshot stays at hand."""
        self._stopping.set()
        if self._bell is not None and self._thread is not None:
            os.write(self._bell.fileno(), b"!")
            self._thread.join()
            self._bell.close()
            self._bell = None
        self._presence.leave()

    def look(self) -> None:
        """Look once, and load what changed. Never raises."""
        try:
            self._load_if_changed()
        except Exception as error:  # the edge of the loop: whatever it is, the snapshot stays
            self._report(error)
            if self._snapshot is None:
                self._load_cache()
        else:
            if self._trouble is not None:
                self._trouble = None
                telemetry.catalog_readable()

    def _run(self) -> None:
        assert self._bell is not None
        while not self._stopping.is_set():
            self._bell.wait(LOOK_SECONDS)
            if not self._stopping.is_set():
                self.look()

    def _load_if_changed(self) -> None:
        if self._is_unchanged():
            return
        started = self._clock.monotonic()
        with read_session(self._home) as session:
            if session is None:
                self._take_nothing(started)
                return
            row = version_row(session)
            mark = mark_of(row)
            vault = open_vault(self._home.key_file, may_create=row.version == 0)
            snapshot = build_snapshot(session, vault)
        self._swap(snapshot, mark, "database", started)
        self._keep(vault, snapshot)

    def _is_unchanged(self) -> bool:
        if self._mark is None or self._mark == NOTHING or not self._home.catalog_file.exists():
            return False
        return Mark(*read_mark(self._home)) == self._mark

    def _take_nothing(self, started: float) -> None:
        """Take the empty snapshot, unless there was a catalog here before."""
        if self._mark == NOTHING:
            return
        if self._snapshot is not None or self._home.snapshot_file.exists():
            raise CatalogError(
                f"{self._home.catalog_file} is missing or empty; bring it back or apply again"
            )
        self._swap(EMPTY, NOTHING, "nothing", started)

    def _load_cache(self) -> None:
        started = self._clock.monotonic()
        try:
            vault = open_vault(self._home.key_file, may_create=False)
            snapshot = read_cache(self._home, vault)
        except Exception as error:  # as above: a broken cache must not end the process
            self._report(error)
            return
        self._swap(snapshot, None, "cache", started)

    def _swap(self, snapshot: Snapshot, mark: Mark | None, source: str, started: float) -> None:
        self._snapshot = snapshot
        self._mark = mark
        took_ms = (self._clock.monotonic() - started) * 1000
        telemetry.snapshot_loaded(snapshot.version, len(snapshot.apps), source, took_ms)
        if self._on_change is not None:
            try:
                self._on_change(snapshot)
            except Exception:  # a listener's fault must not stop the others from new snapshots
                telemetry.listener_failed(snapshot.version)
        if mark is not None:
            self._say(mark)

    def _say(self, mark: Mark) -> None:
        try:
            self._presence.say(mark)
        except OSError as error:
            telemetry.presence_failed(str(error))

    def _keep(self, vault: Vault, snapshot: Snapshot) -> None:
        try:
            write_cache(self._home, vault, snapshot)
        except OSError as error:
            telemetry.cache_failed(str(error))

    def _report(self, error: Exception) -> None:
        first_line = (str(error).splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {first_line}"[:REASON_CHARACTERS_MAX]
        telemetry.catalog_unreadable(reason, is_news=reason != self._trouble)
        self._trouble = reason
