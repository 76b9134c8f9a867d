"""What the pipeline tells: how many events, how long a step took, how far behind, what went wrong.

Once a step, never once an event: the counts of a step are added up before they come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trunkline.telemetry.log import get_logger
from trunkline.telemetry.metrics import counter, gauge, histogram

Result = Literal["accepted", "duplicate", "refused"]

_RECORDS = counter(
    "trunkline_pipeline_events_total",
    "Events taken from ACCEPTED, by what became of them.",
    ("result",),
)
_RESULTS = {result: _RECORDS.labels(result) for result in ("accepted", "duplicate", "refused")}
_STEP_SECONDS = histogram(
    "trunkline_pipeline_step_seconds",
    "How long one step took, from reading ACCEPTED to saving positions.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_LAG = gauge(
    "trunkline_pipeline_lag_seconds",
    "Age of the last event that was taken when it was taken; 0 when nothing is left.",
)
_IDS = gauge("trunkline_pipeline_dedupe_ids", "Ids in the index of duplicates.")
_UNPROCESSABLE = counter(
    "trunkline_pipeline_unprocessable_events_total",
    "Accepted events that could not be shaped, and are kept among the refused ones.",
)
_FAILURES = counter(
    "trunkline_pipeline_failed_steps_total",
    "Steps that failed and are done again.",
    ("reason",),
)
_SHORTENED = counter(
    "trunkline_pipeline_dedupe_files_dropped_total",
    "Files of the index of duplicates removed before their time, because it was full.",
)


def step_done(results: Mapping[Result, int], seconds: float, lag_seconds: float) -> None:
    """Tell that a step is saved."""
    for result, count in results.items():
        _RESULTS[result].inc(count)
    _STEP_SECONDS.observe(seconds)
    _LAG.set(max(0.0, lag_seconds))


def caught_up() -> None:
    """Tell that nothing is left to take."""
    _LAG.set(0)


def ids_held(ids: int) -> None:
    """Tell how full the index is."""
    _IDS.set(ids)


def unprocessable(
    count: int, app: str, protocol: str, partition: int, offset: int, error: str
) -> None:
    """Tell of events that could not be shaped: how many in this step, and the first of them."""
    _UNPROCESSABLE.inc(count)
    get_logger().error(
        "event_unprocessable",
        count=count,
        app=app,
        protocol=protocol,
        partition=partition,
        offset=offset,
        reason=error[:300],
        hint="the events are kept among the refused ones: trunkline refused list",
    )


def step_failed(
    reason: Literal["log", "state", "defect"], error: BaseException, pause: float
) -> None:
    """Tell that a step failed and will be done again; nothing is lost."""
    _FAILURES.labels(reason).inc()
    get_logger().warning(
        "pipeline_step_failed",
        reason=reason,
        error=f"{type(error).__name__}: {error}"[:300],
        again_seconds=pause,
        exc_info=error if reason == "defect" else None,
    )


def recovered(events_begin: int, events_end: int) -> None:
    """Tell that the index was brought up to date from EVENTS, and over which offsets."""
    get_logger().info("pipeline_recovered", events_begin=events_begin, events_end=events_end)


def output_unreadable(partition: int, offset: int, error: str) -> None:
    """Tell of a record of EVENTS that cannot be decoded; its id is not in the index."""
    get_logger().error("events_record_unreadable", partition=partition, offset=offset, error=error)


def id_file_corrupt(name: str, error: str) -> None:
    """Tell of a file of the index that cannot be read: it is made again from EVENTS."""
    get_logger().error("dedupe_file_corrupt", name=name, error=error)


def state_ahead(position: int, end: int) -> None:
    """Tell that the state knows of more than the log holds: a log from an older backup."""
    get_logger().error(
        "pipeline_state_ahead",
        position=position,
        log_end=end,
        hint="log/ is older than state/: restore both from one backup; going on from the log",
    )


def catalog_behind(wanted: int, has: int) -> None:
    """Tell that events name a snapshot that did not come; they are shaped with the one there is."""
    get_logger().warning("pipeline_catalog_behind", wanted=wanted, has=has)


def window_shortened(dropped: int, since_ms: int, ids_max: int) -> None:
    """Tell that the index is full: duplicates of older events will not be recognised."""
    _SHORTENED.inc(dropped)
    get_logger().warning(
        "dedupe_window_shortened",
        dropped=dropped,
        since_ms=since_ms,
        dedupe_ids_max=ids_max,
        hint="raise [pipeline] dedupe_ids_max",
    )
