"""What a disk does when it is asked to keep something: the time of an fsync."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from msgspec import Struct

from trunkline.kit.clock import Clock

ROUNDS = 60
BLOCK = b"\0" * 4096
TOO_FAST_SECONDS = 0.00003  # no device that survives a power cut syncs in under 30 µs


class FsyncTime(Struct, frozen=True):
    """Seconds that one write of 4 KiB and fsync took."""

    median_seconds: float
    slowest_seconds: float

    @property
    def is_too_fast(self) -> bool:
        """Say whether it is faster than anything that keeps what it is told."""
        return self.median_seconds < TOO_FAST_SECONDS


def measure_fsync(folder: Path, clock: Clock) -> FsyncTime:
    """Write and sync a small file again and again. Raises `OSError` where that fails."""
    path = folder / f".fsync-{os.getpid()}"
    times: list[float] = []
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for number in range(ROUNDS):
            start = clock.monotonic()
            os.pwrite(fd, BLOCK, number * len(BLOCK))
            os.fsync(fd)
            times.append(clock.monotonic() - start)
    finally:
        os.close(fd)
        path.unlink()
    return FsyncTime(statistics.median(times), max(times))
