"""The registry of metrics. Every process of a node writes to files that the console adds up.

`list_metrics` is the reference page's source: a metric that is not made here does not exist.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import (
    MultiProcessCollector,
    mark_process_dead,  # pyright: ignore[reportUnknownVariableType] its stubs lack the types
)

REGISTRY = CollectorRegistry()
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client reads it at import


class Metric(Struct, frozen=True):
    """One metric, for the reference page."""

    name: str
    type: str
    labels: tuple[str, ...]
    description: str


_LIST: list[Metric] = []


def counter(name: str, description: str, labels: Sequence[str] = ()) -> Counter:
    """Make a counter; `name` ends in `_total`."""
    _LIST.append(Metric(name, "counter", tuple(labels), description))
    return Counter(name, description, labels, registry=REGISTRY)


def gauge(
    name: str,
    description: str,
    labels: Sequence[str] = (),
    mode: Literal["mostrecent", "livesum"] = "mostrecent",
) -> Gauge:
    """Make a gauge; of several processes the last written counts, or (`livesum`) all living."""
    _LIST.append(Metric(name, "gauge", tuple(labels), description))
    return Gauge(name, description, labels, registry=REGISTRY, multiprocess_mode=mode)


def histogram(
    name: str, description: str, buckets: Sequence[float], labels: Sequence[str] = ()
) -> Histogram:
    """Make a histogram; `buckets` in the unit that ends the name."""
    _LIST.append(Metric(name, "histogram", tuple(labels), description))
    return Histogram(name, description, labels, registry=REGISTRY, buckets=buckets)


def list_metrics() -> tuple[Metric, ...]:
    """Return every metric that was made."""
    return tuple(sorted(_LIST, key=lambda metric: metric.name))


def render() -> bytes:
    """Return the text that Prometheus scrapes: all processes of the node added up."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or not Path(folder).is_dir():
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)
    return generate_latest(registry)


def forget_process(folder: Path, pid: int) -> None:
    """Leave a dead process out of the gauges that are added up; its counters stay."""
    mark_process_dead(pid, str(folder))
