"""What the profiles tell: events read, how far behind, what was past a limit, what went wrong.

Never an id of anybody. Once a batch, never once an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

Result = Literal["kept", "nobody", "off", "suppressed", "erased", "unreadable"]
LeftOut = Literal["identifiers", "joins", "traits", "client_joins"]

_RECORDS = counter(
    "trunkline_profiles_events_total",
    "Events read for profiles, by what became of them; `nobody`: they name no one.",
    ("result",),
)
_BATCH_SECONDS = histogram(
    "trunkline_profiles_batch_seconds",
    "How long one batch took, from its first event to the commit.",
    (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_LAG = gauge("trunkline_profiles_lag_events", "Events that the profiles have not read yet.")
_LEFT_OUT = counter(
    "trunkline_profiles_left_out_total",
    "What was past a limit of a profile: identifiers, joins of accounts, traits; `client_joins`: "
    "aliases between accounts that came with a Client key, which may join none.",
    ("what",),
)
_FAILURES = counter(
    "trunkline_profiles_failed_batches_total",
    "Batches that failed and are done again.",
    ("reason",),
)
_MISSED = counter(
    "trunkline_profiles_missed_events_total",
    "Events that were removed from the log before the profiles had read them.",
)


def batch_done(
    results: Mapping[Result, int], left_out: Mapping[LeftOut, int], seconds: float, lag: int
) -> None:
    """Tell that a batch is saved."""
    for result, count in results.items():
        if count:
            _RECORDS.labels(result).inc(count)
    for what, count in left_out.items():
        if count:
            _LEFT_OUT.labels(what).inc(count)
    _BATCH_SECONDS.observe(seconds)
    _LAG.set(lag)


def caught_up() -> None:
    """Tell that nothing is left to read."""
    _LAG.set(0)


def batch_failed(
    reason: Literal["log", "state", "defect"], error: BaseException, pause: float
) -> None:
    """Tell that a batch failed and will be done again; nothing of it was kept."""
    _FAILURES.labels(reason).inc()
    get_logger().warning(
        "profiles_batch_failed",
        reason=reason,
        error=f"{type(error).__name__}: {error}"[:300],
        again_seconds=pause,
        exc_info=error if reason == "defect" else None,
    )


def record_unreadable(offset: int, error: BaseException) -> None:
    """Tell of a record of EVENTS that cannot be decoded; it is passed over."""
    get_logger().error("profiles_record_unreadable", offset=offset, error=type(error).__name__)


def events_missed(count: int) -> None:
    """Tell that events were removed before they were read, since the store did not work."""
    _MISSED.inc(count)
    get_logger().error(
        "profiles_events_missed",
        count=count,
        hint="the profiles go on from the oldest event that is kept",
    )


def state_ahead(position: int, end: int) -> None:
    """Tell that the store knows of more than the log holds: a log from an older backup."""
    get_logger().error(
        "profiles_state_ahead",
        position=position,
        log_end=end,
        hint="log/ is older than state/: restore both from one backup; going on from the log",
    )


def let_go(hours: float) -> None:
    """Tell that EVENTS is no longer held for the profiles, which have failed for long."""
    get_logger().error(
        "profiles_let_go",
        failing_hours=round(hours, 1),
        hint="old events are removed although the profiles have not read them; "
        "see profiles_batch_failed, and `trunkline doctor`",
    )
