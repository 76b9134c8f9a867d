"""The reserve: disk space that is kept so that positions can be saved when the disk is full.

A file with blocks really allocated. Whoever meets a full disk removes it, and every process of the
node sees by its absence that the disk is full: they stop taking records, so that the freed bytes
are there for the state files alone. It is made again when twice its size is free.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from trunkline.telemetry import eventlog as telemetry


class Reserve:
    """The file, as one process sees it. A size of 0 means there is none and the disk never full."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes

    @property
    def is_held(self) -> bool:
        """Say whether the space is kept, which is whether the disk counts as having room."""
        return self.size_bytes == 0 or self.path.exists()

    @property
    def wanted_bytes(self) -> int:
        """Return how many bytes must be free before the reserve is made again."""
        return 2 * self.size_bytes

    def free_bytes(self) -> int:
        """Return what is free on its disk for this process."""
        return shutil.disk_usage(self.path.parent).free

    def let_go(self) -> None:
        """Remove the file, so that as many bytes are free."""
        if self.size_bytes == 0:
            return
        with contextlib.suppress(FileNotFoundError):  # another process was first
            self.path.unlink()
            telemetry.reserve_let_go(self.path, self.size_bytes)

    def make(self) -> bool:
        """Make the file if it is not there and there is room; say whether it is there now."""
        if self.is_held:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.free_bytes() < self.wanted_bytes:
            return False
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            fd = os.open(draft, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size_bytes)
            finally:
                os.close(fd)
            draft.rename(self.path)
        except OSError:
            # Full again before it was made, or a quota that disk_usage does not know: still full.
            draft.unlink(missing_ok=True)
            return False
        telemetry.reserve_made(self.path, self.size_bytes)
        return True
