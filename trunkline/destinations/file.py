"""`file`: canonical events into a file on this machine, one JSON object a line (NDJSON).

An event is delivered when its line is on the disk (fsync). A crash can leave a torn last line, of
an event that nobody called delivered: it is cut off when the file is opened, and the event comes
again. A whole last line without its line end (a person's editor) gets one instead.

`events.ndjson` is rotated to `events-20261122T101530.123Z.ndjson` (UTC, when it was rotated) at
`rotate_bytes`, and at the first write of a new period of `rotate_hours`, counted from midnight
UTC. With `gzip` a rotated file is packed to `….ndjson.gz` behind the back of the deliveries; the
one being written never is, so that `tail -f` works. Nothing here ever deletes a rotated file:
moving them on is its operator's part. A file that was moved away from outside is begun anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
import re
import stat
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from trunkline.kit.destination import Attempt, Channel, Example, Mapped, Settings
from trunkline.kit.folders import sync_folder
from trunkline.kit.sample_events import PURCHASE, SIGN_UP
from trunkline.model.outcome import Blocked, Delivered, Outcome, Retry

_MODE = 0o640  # events are about people: not for everybody on the machine
_CHUNK_BYTES = 1 << 20
_LINE_BYTES_MAX = 64 << 20  # far above any event: a file that ends in more is no file of ours
_HOUR_MS = 3_600_000
_STAMP = r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z(-[0-9]{1,3})?"

# What time does not mend. A full disk, a quota, a failing device: those are retries.
_PERSON_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EEXIST,
        errno.ENXIO,
    }
)


class FileSettings(Settings, frozen=True, kw_only=True):
    """The settings of a file."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="The file to append to; its folder is made where it is missing. A relative "
            "path starts where the node was started.",
        ),
    ]
    rotate_bytes: Annotated[
        int | None,
        Meta(
            description="Begin a new file when the next lines would take this one past so many "
            "bytes (at least 1,024). null: never by size."
        ),
    ] = 268_435_456
    rotate_hours: Annotated[
        float | None,
        Meta(
            description="Begin a new file every so many hours (0.01 to 8,760), counted from "
            "midnight UTC. Left out: never by time."
        ),
    ] = None
    gzip: Annotated[
        bool, Meta(description="Pack files once they are rotated; the current one never is.")
    ] = False

    def __post_init__(self) -> None:
        if "\0" in self.path or self.path.endswith("/"):
            raise ValueError("path must name a file, not a folder, and hold no NUL")
        if self.rotate_bytes is not None and self.rotate_bytes < 1024:
            raise ValueError(f"rotate_bytes is {self.rotate_bytes}; give at least 1024, or null")
        if self.rotate_hours is not None and not 0.01 <= self.rotate_hours <= 8760:
            raise ValueError(f"rotate_hours is {self.rotate_hours}; give 0.01 to 8760, or null")


class File(Channel[FileSettings]):
    """Canonical events into a file, one a line."""

    kind = "file"
    title = "File"
    settings_type = FileSettings

    def __init__(self, settings: FileSettings) -> None:
        super().__init__(settings)
        self._path = Path(settings.path).absolute()
        self._fd = -1
        self._bytes = 0
        self._period = 0
        self._packer = _Packer(self._path)

    def open(self) -> None:
        """Open the file and mend its end; pack what an earlier process left unpacked.

        What fails here fails again in `deliver`, which can say whose fault it is.
        """
        with contextlib.suppress(OSError):
            self._open()
        if self.settings.gzip:
            self._packer.start()

    def deliver(self, events: Sequence[Mapped], attempt: Attempt) -> Sequence[Outcome]:
        """Append the events as lines and sync them to the disk."""
        lines = b"".join([event.body + b"\n" for event in events])
        try:
            self._reopen_if_moved()
            if self._is_due(len(lines), attempt.now_ms):
                self._rotate(attempt.now_ms)
            self._append(lines)
        except OSError as error:
            return [_outcome_of(error, self._path)] * len(events)
        self._period = self._period_of(attempt.now_ms)
        return [Delivered()] * len(events)

    def close(self) -> None:
        """Close the file. What is being packed is left for the next start."""
        self._packer.stop()
        self._close()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, _MODE)
        try:
            # Two writers would mend and rotate under each other's hands.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            _mend(fd)
            status = os.fstat(fd)
            sync_folder(self._path.parent)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._bytes = fd, status.st_size
        self._period = self._period_of(int(status.st_mtime * 1000))

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _reopen_if_moved(self) -> None:
        if self._fd >= 0:
            try:
                is_ours = os.path.samestat(self._path.stat(), os.fstat(self._fd))
            except FileNotFoundError:
                is_ours = False
            if not is_ours:
                self._close()
        if self._fd < 0:
            self._open()

    def _append(self, lines: bytes) -> None:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            # Whatever part of it is there must not stay: half a line would spoil the next, and
            # after a failed sync nobody knows which. Opening again mends what cannot be cut now.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._bytes)
            self._close()
            raise
        self._bytes += len(lines)

    def _is_due(self, more_bytes: int, now_ms: int) -> bool:
        if not self._bytes:
            return False
        limit = self.settings.rotate_bytes
        is_full = limit is not None and self._bytes + more_bytes > limit
        # A clock that was set back does not rotate: the period must be a later one.
        return is_full or self._period_of(now_ms) > self._period

    def _period_of(self, now_ms: int) -> int:
        hours = self.settings.rotate_hours
        return 0 if hours is None else int(now_ms // (hours * _HOUR_MS))

    def _rotate(self, now_ms: int) -> None:
        self._path.rename(_rotated_path(self._path, now_ms))
        self._close()
        self._open()
        if self.settings.gzip:
            self._packer.start()

    examples: ClassVar[Sequence[Example]] = (
        Example(
            "One event",
            settings={"path": "/var/lib/trunkline/events.ndjson"},
            events=(SIGN_UP,),
            text=(
                b'{"messageId":"order-1002-signup","type":"identify",'
                b'"userId":"u-43","timestamp":"2026-11-20T10:15:31.000Z",'
                b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                b'"key":"backend"}}\n'
            ),
        ),
        Example(
            "Two events, a new file every day, old ones packed",
            settings={"path": "/var/lib/trunkline/daily.ndjson", "rotate_hours": 24, "gzip": True},
            events=(PURCHASE, SIGN_UP),
            text=(
                b'{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                b'"timestamp":"2026-11-20T10:15:30.000Z",'
                b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                b'"properties":{"revenue":29.9,"currency":"USD",'
                b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                b'"source":{"protocol":"s2s","key":"backend",'
                b'"slug":"taqsq"}}\n{"messageId":"order-1002-signup",'
                b'"type":"identify","userId":"u-43",'
                b'"timestamp":"2026-11-20T10:15:31.000Z",'
                b'"receivedAt":"2026-11-20T10:15:31.045Z","traits":{"plan":"gold"},'
                b'"app":"zcmwmxbkmuodelu","source":{"protocol":"tracking",'
                b'"key":"backend"}}\n'
            ),
        ),
        Example(
            "Small files",
            settings={"path": "/var/lib/trunkline/small.ndjson", "rotate_bytes": 1048576},
            events=(PURCHASE,),
            text=(
                b'{"messageId":"7d0a2c1e-3f64-4b7e-9b1a-52f1c6d8e901",'
                b'"type":"track","event":"Purchase Completed","userId":"u-42",'
                b'"timestamp":"2026-11-20T10:15:30.000Z",'
                b'"receivedAt":"2026-11-20T10:15:30.120Z",'
                b'"properties":{"revenue":29.9,"currency":"USD",'
                b'"order_id":"A-1001"},"app":"zcmwmxbkmuodelu",'
                b'"source":{"protocol":"s2s","key":"backend","slug":"taqsq"}}\n'
            ),
        ),
    )


class _Packer:
    """Packs the rotated files of one path on a thread, so that no delivery waits for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._is_wanted = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Pack what is there to pack, now or after what is being packed."""
        with self._lock:
            self._stopped.clear()
            self._is_wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="file-packer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End soon, after the piece in hand."""
        with self._lock:
            self._stopped.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _goes_on(self) -> bool:
        # The decision to end is taken under the lock, so that a wish is never lost with a thread.
        with self._lock:
            is_wanted = self._is_wanted and not self._stopped.is_set()
            self._is_wanted = False
            if not is_wanted:
                self._thread = None
            return is_wanted

    def _run(self) -> None:
        while self._goes_on():
            for path in _rotated_files(self._path):
                # A file that cannot be packed stays as it is, whole and readable, and is tried
                # again at the next rotation.
                with contextlib.suppress(OSError):
                    self._pack(path)

    def _pack(self, path: Path) -> None:
        packed = path.with_name(path.name + ".gz")
        unfinished = path.with_name(path.name + ".gz.part")
        with path.open("rb") as source, unfinished.open("wb") as raw:
            os.fchmod(raw.fileno(), _MODE)
            with gzip.GzipFile(path.name, "wb", 6, raw, mtime=0) as target:
                while piece := source.read(_CHUNK_BYTES):
                    if self._stopped.is_set():
                        break
                    target.write(piece)
            if not self._stopped.is_set():
                raw.flush()
                os.fsync(raw.fileno())
        if self._stopped.is_set():
            unfinished.unlink()
            return
        unfinished.rename(packed)
        sync_folder(path.parent)
        path.unlink()


def _mend(fd: int) -> None:
    """Make the file end with a line end: cut a torn last line, complete a whole one."""
    size = os.fstat(fd).st_size
    if not size or os.pread(fd, 1, size - 1) == b"\n":
        return
    start = _last_line_start(fd, size)
    try:
        msgspec.json.decode(os.pread(fd, size - start, start))
    except msgspec.DecodeError:
        os.ftruncate(fd, start)
    else:
        os.write(fd, b"\n")
    os.fsync(fd)


def _last_line_start(fd: int, size: int) -> int:
    at = size
    while at > 0:
        if size - at > _LINE_BYTES_MAX:
            raise OSError(errno.EINVAL, "does not end in a line of events")
        begin = max(0, at - _CHUNK_BYTES)
        found = os.pread(fd, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return 0


def _rotated_path(path: Path, now_ms: int) -> Path:
    """Return the name a file is rotated to: a free one, that sorts by time."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    stamp = f"{at:%Y%m%dT%H%M%S}.{now_ms % 1000:03d}Z"
    for number in range(1000):
        more = f"-{number}" if number else ""
        free = path.with_name(f"{path.stem}-{stamp}{more}{path.suffix}")
        if not free.exists() and not free.with_name(free.name + ".gz").exists():
            return free
    raise OSError(errno.EEXIST, "a thousand files were rotated in this millisecond", str(path))


def _rotated_files(path: Path) -> list[Path]:
    """Return the rotated files of a path that are not packed, the oldest first."""
    name = re.compile(re.escape(path.stem) + "-" + _STAMP + re.escape(path.suffix))
    return sorted(found for found in path.parent.iterdir() if name.fullmatch(found.name))


def _outcome_of(error: OSError, path: Path) -> Outcome:
    if error.errno == errno.EWOULDBLOCK:
        return Retry(f"{path} is being written by another process or destination")
    reason = error.strerror if error.errno == errno.EINVAL else os.strerror(error.errno or 0)
    if error.errno in _PERSON_ERRORS:
        return Blocked(f"{path}: {reason}; give the node the right to write there, or change path")
    return Retry(f"{path}: {reason}")
