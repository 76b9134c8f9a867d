"""What the tracking protocol tells: the measurements that browsers post about themselves."""

from __future__ import annotations

from trunkline.telemetry.metrics import counter

_CLIENT_METRICS = counter(
    "trunkline_gateway_client_metrics_total",
    "Measurements that client libraries posted to /v1/m; they are counted and dropped.",
)


def client_metrics_dropped(count: int) -> None:
    """Count the measurements of one post."""
    _CLIENT_METRICS.inc(count)
