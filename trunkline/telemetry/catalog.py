"""What following the catalog tells: which snapshot a process works with, and what is in the way."""

from __future__ import annotations

from trunkline.telemetry import metrics
from trunkline.telemetry.log import get_logger

_VERSION = metrics.gauge(
    "trunkline_catalog_snapshot_version", "The snapshot that was loaded last, by its version."
)
_LOADS = metrics.counter(
    "trunkline_catalog_loads_total", "Snapshots that were loaded.", labels=("source",)
)
_FAILURES = metrics.counter(
    "trunkline_catalog_failures_total", "Looks at the catalog that failed; the last snapshot stays."
)


def snapshot_loaded(version: int, apps: int, source: str, milliseconds: float) -> None:
    """A snapshot was loaded. `source`: database, cache or nothing (a home without a catalog)."""
    _VERSION.set(version)
    _LOADS.labels(source).inc()
    get_logger().info(
        "snapshot_loaded", version=version, apps=apps, source=source, took_ms=round(milliseconds, 1)
    )


def catalog_unreadable(reason: str, is_news: bool) -> None:
    """The catalog cannot be read. Counted each time, told once for each reason."""
    _FAILURES.inc()
    if is_news:
        get_logger().error("catalog_unreadable", reason=reason, works_with="the last snapshot")


def catalog_readable() -> None:
    """The catalog can be read again."""
    get_logger().info("catalog_readable")


def events_defined(app: str, count: int) -> None:
    """Events that senders named were defined."""
    get_logger().info("events_defined", app=app, count=count)


def naming_put_off(error: Exception, pause_seconds: float) -> None:
    """What senders named could not be defined now, or how far it is not be saved."""
    get_logger().warning("naming_put_off", error=str(error)[:500], pause=pause_seconds)


def cache_failed(reason: str) -> None:
    """The snapshot could not be kept for a start without the database."""
    get_logger().warning("snapshot_cache_failed", reason=reason)


def presence_failed(reason: str) -> None:
    """A process could not say which snapshot it works with; `apply` will not wait for it."""
    get_logger().warning("snapshot_presence_failed", reason=reason)


def listener_failed(version: int) -> None:
    """Who is told of new snapshots raised. The snapshot is in use all the same."""
    get_logger().error("snapshot_listener_failed", version=version, exc_info=True)
