"""Files that are being received: on disk from the first byte, whole or not there.

    <folder>/<id>.part     while bytes arrive
    <folder>/<id>.spool    all of them, synced

Whoever receives a file holds a lock on it until somebody else has it in his books, so a file that
nobody holds and no book names was left behind by a kill: `sweep` removes it. The kernel lets go of
a lock with its process, whatever ended that.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

PART = ".part"
SPOOL = ".spool"
_TRIES = 5


class SpoolFile:
    """A file that is being received. One thread at a time uses it; `close` it in any case."""

    def __init__(self, folder: Path) -> None:
        """Make it, and the folder where it is new. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._fd = _make(folder)
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The SHA-256 of all bytes so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes. Raises `OSError`."""
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self._hash.update(data)
        self.size += len(data)

    def seal(self) -> None:
        """Make the file durable under its last name. Raises `OSError`."""
        os.fsync(self._fd)
        self.path = self.path.rename(self.path.with_suffix(SPOOL))
        fd = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Take it away again."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _make(folder: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        path = folder / f"{uuid.uuid4().hex}{PART}"
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return path, fd
        os.close(fd)  # a sweep came between: nobody held it yet
    raise OSError(f"{folder}: files vanish there as soon as they are made")


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk of a folder, which need not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def sweep(folder: Path, find_wanted: Callable[[], Collection[str]]) -> int:
    """Remove what nobody holds and nobody wants; return how many files that were.

    `find_wanted` returns the names that are in the books. It is asked after a file was seen to be
    free: who puts a name into the books lets go of the file afterwards.
    """
    removed = 0
    for path in [*folder.glob(f"*{PART}"), *folder.glob(f"*{SPOOL}")]:
        removed += _sweep_one(path, find_wanted)
    return removed


def _sweep_one(path: Path, find_wanted: Callable[[], Collection[str]]) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.name in find_wanted():
            return False
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
