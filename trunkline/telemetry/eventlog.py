"""What the event log tells: appends, rolled segments, a full disk, what could not be tidied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

_SECONDS = histogram(
    "trunkline_eventlog_append_seconds",
    "Time one append took until it was durable.",
    (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
    ("topic",),
)
_RECORDS = counter("trunkline_eventlog_records_total", "Records made durable.", ("topic",))
_FAILURES = counter(
    "trunkline_eventlog_append_failures_total",
    "Appends that failed, storing nothing that was promised.",
    ("topic", "reason"),
)
_FREED = counter("trunkline_eventlog_freed_bytes_total", "Bytes of removed segments.", ("topic",))
_FULL = gauge("trunkline_eventlog_full_state", "1 while the disk of the event log is full.")
_TIDY_FAILURES = counter(
    "trunkline_eventlog_tidy_failures_total", "Checkpoints that failed; nothing is lost by one."
)


def bind_appended(topic: str) -> Callable[[float, int], None]:
    """Return what counts an append of a topic: its seconds and its number of records."""
    observe = _SECONDS.labels(topic).observe
    count = _RECORDS.labels(topic).inc

    def appended(seconds: float, records: int) -> None:
        observe(seconds)
        count(records)

    return appended


def append_failed(topic: str, partition: int, is_full: bool, error: BaseException) -> None:
    """Tell that an append failed and was answered with an exception."""
    reason = "full" if is_full else "io"
    _FAILURES.labels(topic, reason).inc()
    get_logger().error(
        "eventlog_append_failed",
        topic=topic,
        partition=partition,
        reason=reason,
        detail=f"{type(error).__name__}: {error}",
    )


def segment_opened(path: Path, base: int) -> None:
    """Tell that appends go to another file from now on."""
    get_logger().info("eventlog_segment_opened", path=str(path), base=base)


def segments_removed(topic: str, count: int, bytes_freed: int) -> None:
    """Tell that retention unlinked segments."""
    _FREED.labels(topic).inc(bytes_freed)
    get_logger().info("eventlog_segments_removed", topic=topic, count=count, bytes=bytes_freed)


def reserve_let_go(path: Path, bytes_freed: int) -> None:
    """Tell that the disk is full and that the reserve was removed to save positions."""
    _FULL.set(1)
    get_logger().error("eventlog_disk_full", path=str(path), bytes=bytes_freed)


def reserve_made(path: Path, bytes_held: int) -> None:
    """Tell that the reserve is there: first time, or again after the disk was full."""
    _FULL.set(0)
    get_logger().info("eventlog_reserve_made", path=str(path), bytes=bytes_held)


def tidy_failed(path: Path, error: BaseException) -> None:
    """Tell that a checkpoint failed. What is durable stays so; it is tried again."""
    _TIDY_FAILURES.inc()
    get_logger().warning(
        "eventlog_tidy_failed", path=str(path), detail=f"{type(error).__name__}: {error}"
    )
