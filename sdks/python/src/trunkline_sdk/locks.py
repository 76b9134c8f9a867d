"""One sender a route, whatever process it lives in: a lock on a small file beside the queue.

The system lets go of it when the process ends, however it ends, so there is no lease to run out
and no clock to trust.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        # flock, not lockf: it belongs to the opened file, so it also keeps apart two clients of
        # one process, and closing another file of the same name does not lose it.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class SenderLocks:
    """The locks that one client holds on the routes of a queue file."""

    def __init__(self, queue_path: Path) -> None:
        self._queue_path = queue_path
        self._held: dict[str, int] = {}

    def claim(self, route: str) -> bool:
        """Take the lock of a route, or say that somebody else has it. Raises `OSError`."""
        mark = sha256(route.encode()).hexdigest()[:12]
        path = f"{self._queue_path}.{mark}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(file):
            os.close(file)
            return False
        self._held[route] = file
        return True

    def release(self, route: str) -> None:
        """Give the lock of a route back."""
        file = self._held.pop(route, None)
        if file is not None:
            _unlock(file)
            os.close(file)

    def forget(self) -> None:
        """In a child: drop what was inherited. Closing a copy leaves the parent's lock alone."""
        for file in self._held.values():
            os.close(file)
        self._held.clear()
