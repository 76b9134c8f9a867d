"""What the jail tells: processes started and killed, code paused, what the code itself logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

Cause = Literal["deadline", "death", "forgery", "load"]

_LIVING = gauge("trunkline_jail_processes", "Jailed processes that live now.")
_STARTS = histogram(
    "trunkline_jail_start_seconds",
    "How long jailed processes took to start and load their code.",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 2, 5),
)
_BATCHES = histogram(
    "trunkline_jail_batch_seconds",
    "How long requests to jailed processes took.",
    (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1, 4),
)
_EVENTS = counter("trunkline_jail_events_total", "Events that jailed processes were given.")
_LOST = counter(
    "trunkline_jail_lost_total", "Jailed processes that were lost, by cause.", ("cause",)
)
_PAUSES = counter("trunkline_jail_pauses_total", "How often code was paused.")
_UNSAID = counter(
    "trunkline_jail_log_lines_dropped_total", "Lines of operators' code that were not logged."
)


def processes_live(count: int) -> None:
    """So many jailed processes live."""
    _LIVING.set(count)


def process_started(seconds: float) -> None:
    """A jailed process has loaded its code."""
    _STARTS.observe(seconds)


def batch_answered(events: int, seconds: float) -> None:
    """A jailed process answered."""
    _EVENTS.inc(events)
    _BATCHES.observe(seconds)


def process_lost(destination: str, cause: Cause, reason: str) -> None:
    """A jailed process was killed, or died; another takes its place."""
    _LOST.labels(cause).inc()
    get_logger().warning("code_lost", destination=destination, cause=cause, reason=reason)


def code_paused(destination: str, reason: str, seconds: float) -> None:
    """The code of a destination is paused; its events wait."""
    _PAUSES.inc()
    get_logger().error("code_paused", destination=destination, reason=reason, seconds=seconds)


def code_resumed(destination: str) -> None:
    """The code of a destination is tried again."""
    get_logger().info("code_resumed", destination=destination)


def batches_halved(destination: str, events: int) -> None:
    """Whole batches take too long, single events do not: batches are smaller from now on."""
    get_logger().info("code_batches_halved", destination=destination, events=events)


def code_said(destination: str, lines: Sequence[str]) -> None:
    """Code called `log()`."""
    for line in lines:
        get_logger().info("code_said", destination=destination, line=line)


def code_unsaid(count: int) -> None:
    """Code called `log()` more often than a node's log can bear."""
    _UNSAID.inc(count)


def jail_missing(reason: str) -> None:
    """This machine has no jail: code of operators does not run."""
    get_logger().error("jail_missing", reason=reason)


def zygote_failed(reason: str) -> None:
    """The process that jailed processes are forked from did not start, or was lost."""
    get_logger().error("jail_zygote_failed", reason=reason)
