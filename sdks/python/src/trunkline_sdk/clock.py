"""The one place that reads the time."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def now_ms() -> int:
    """Return Unix time in milliseconds, UTC. It may jump."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Return seconds that never go back; the zero means nothing."""
    return time.monotonic()


def format_ms(moment_ms: int) -> str:
    """Return a moment as RFC 3339, UTC, milliseconds, `Z`."""
    seconds, milliseconds = divmod(moment_ms, 1000)
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def to_ms(moment: datetime) -> int:
    """Return an aware moment as milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
