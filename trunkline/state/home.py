"""The home folder: everything a node keeps, in one place to back up.

A folder without our version file is a new home, whatever else lies in it. A folder of a newer
version is refused with a sentence, never half used.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trunkline.kit.clock import Clock

FORMAT = 1
LOCK_WAIT_SECONDS = 5.0


class HomeError(Exception):
    """The home cannot be used; the message says why and what to do."""


class Home:
    """The paths of a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.version_file = self.folder / "version"
        self.lock_file = self.folder / "lock"
        self.settings_file = self.folder / "trunkline.toml"
        self.key_file = self.folder / "secret.key"
        self.catalog_file = self.folder / "catalog.db"
        self.snapshot_file = self.folder / "catalog.snapshot"
        self.log_folder = self.folder / "log"
        self.reserve_file = self.log_folder / "reserve"
        self.pipeline_file = self.folder / "state" / "pipeline.db"
        self.ids_folder = self.folder / "state" / "ids"
        self.forwarder_file = self.folder / "state" / "forwarder.db"
        self.key_uses_folder = self.folder / "state" / "keys"
        self.inbox_file = self.folder / "state" / "inbox.db"
        self.imports_file = self.folder / "state" / "imports.db"
        self.erasures_file = self.folder / "state" / "erasures.db"
        self.profiles_file = self.folder / "state" / "profiles.db"
        self.imports_folder = self.folder / "state" / "imports"
        self.resent_file = self.folder / "state" / "resent.db"
        self.naming_file = self.folder / "state" / "naming.json"
        self.run_folder = self.folder / "run"
        self.metrics_folder = self.run_folder / "metrics"
        self.catalog_bells = self.run_folder / "bells" / "catalog"
        self.inbox_bells = self.run_folder / "bells" / "inbox"

    @property
    def is_new(self) -> bool:
        """Say whether no node or command has used this folder yet."""
        return not self.version_file.exists()

    def prepare(self) -> None:
        """Make the folder a home, or check that it is one of ours. Raises `HomeError`."""
        if self.is_new:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.version_file.write_text(f"trunkline home {FORMAT}\n", "utf-8")
            except OSError as error:
                raise HomeError(
                    f"{self.folder}: cannot make a home there ({error.strerror}); "
                    "give another folder with --home, or the right to write"
                ) from error
            return
        words = self.version_file.read_text("utf-8", "replace").split()
        if words[:2] != ["trunkline", "home"] or len(words) < 3 or not words[2].isdigit():
            raise HomeError(f"{self.version_file}: not a version file of ours; nothing was touched")
        if int(words[2]) > FORMAT:
            raise HomeError(
                f"{self.folder} has format {words[2]}, this Trunkline knows {FORMAT}: "
                "run the version that wrote it, or a later one; nothing was touched"
            )


class HomeLock:
    """The flock that says a node runs here. It ends with its holder, however that ends."""

    def __init__(self, home: Home) -> None:
        self._path = home.lock_file
        self._fd: int | None = None

    def try_take(self, holder: str) -> bool:
        """Take the lock if nobody has it; `holder` is what another will be told."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, holder.encode(), 0)
        self._fd = fd
        return True

    def take(self, holder: str, clock: Clock, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        """Take the lock, waiting a little; `HomeError` names who has it."""
        deadline = clock.monotonic() + wait_seconds
        while not self.try_take(holder):
            if clock.monotonic() >= deadline:
                raise HomeError(
                    f"{self._path.parent} is in use by {self.holder()}; stop that node, "
                    "or give another --home"
                )
            clock.pause(0.05)

    def holder(self) -> str:
        """Return what the holder said of itself."""
        try:
            return self._path.read_text("utf-8", "replace").strip() or "another node"
        except OSError:
            return "another node"

    def fileno(self) -> int:
        """Return the descriptor; children of a node inherit it, so that the lock outlives none."""
        if self._fd is None:
            raise HomeError("the lock is not held")
        return self._fd

    def release(self) -> None:
        """Let go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
