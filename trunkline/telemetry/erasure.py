"""What the erasure of people tells. No id of anybody is ever told."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge

_DONE = counter("trunkline_erasure_jobs_total", "Erasures that were carried out to their end.")
_TRIES = counter(
    "trunkline_erasure_failed_tries_total",
    "Tries of an erasure that ended early, and go on later where they were.",
)
_OPEN = gauge(
    "trunkline_erasure_open_jobs", "Erasures that are not done, as far as they were looked at."
)


def job_begun(job: str, app: str) -> None:
    """The worker took a job up, perhaps again after a stop."""
    get_logger().info("erasure_begun", job=job, app=app)


def job_done(job: str, app: str, counts: Mapping[str, int]) -> None:
    """A job is through."""
    _DONE.inc()
    get_logger().info("erasure_done", job=job, app=app, **counts)


def jobs_open(count: int) -> None:
    """So many jobs are not done."""
    _OPEN.set(count)


def try_failed(job: str, step: str, error: Exception | str, pause_seconds: float) -> None:
    """A try ended early; what it did stays done."""
    _TRIES.inc()
    get_logger().warning(
        "erasure_try_failed", job=job, step=step, error=str(error)[:500], pause=pause_seconds
    )
