"""Waking a reader of another process within a millisecond, without polling and without a service.

A bell is a FIFO in a folder. Who waits makes one and listens; who has news writes a byte into
every FIFO of the folder. A full FIFO is as good as a ring, a FIFO nobody listens to is skipped and
its leftovers removed. A ring may be lost in a crash, so who waits also looks by itself now and
then: the bell makes it fast, not correct.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import uuid
from pathlib import Path

_STALE_RINGS = 3  # a FIFO with no listener this many times in a row is a dead process's


class Bell:
    """The listening end: readable when rung."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.bell"
        os.mkfifo(self._path, 0o600)
        # Opened for writing too, so that the last ringer's close never reads as an end of file.
        self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._fd

    def drain(self) -> None:
        """Forget the rings so far."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._fd, 4096)) == 4096:
                pass

    def wait(self, timeout_seconds: float) -> bool:
        """Block until rung, then forget it; False when time is up."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if not poller.poll(timeout_seconds * 1000):
            return False
        self.drain()
        return True

    def close(self) -> None:
        """Stop listening."""
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


class Ringer:
    """The ringing end, for one folder of bells."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._fds: dict[str, int] = {}
        self._deaf: dict[str, int] = {}

    def ring(self) -> None:
        """Wake everyone who listens. Never blocks, never raises for a listener that is gone."""
        self._look()
        for name, fd in list(self._fds.items()):
            try:
                os.write(fd, b"!")
            except BlockingIOError:
                continue
            except OSError:
                os.close(fd)
                del self._fds[name]

    def close(self) -> None:
        """Let go of every bell."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _look(self) -> None:
        # 8 µs each time. The folder's mtime would be cheaper to ask, and has the kernel's tick: a
        # bell made within 4 ms of the last look would stay unheard until another one comes.
        names = {name for name in os.listdir(self._folder) if name.endswith(".bell")}  # noqa: PTH208
        for name in [name for name in self._fds if name not in names]:
            os.close(self._fds.pop(name))
        for name in names - self._fds.keys():
            self._open(name)

    def _open(self, name: str) -> None:
        path = self._folder / name
        try:
            self._fds[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._deaf.pop(name, None)
        except OSError as error:
            if error.errno not in (errno.ENXIO, errno.ENOENT):
                raise
            self._deaf[name] = self._deaf.get(name, 0) + 1
            # Not yet stale: its listener may be between mkfifo and open.
            if self._deaf[name] >= _STALE_RINGS:
                path.unlink(missing_ok=True)
                self._deaf.pop(name, None)
