"""The registry of metrics. Every process of a node writes to files that the console adds up.

The files belong to a process's *name*, so that one that is started again goes on with them, and
their space is taken before they are written to: they are written through memory, where a page that
finds no room on a full disk kills its process (SIGBUS) instead of failing a call.

`list_metrics` is the reference page's source: a metric that is not made here does not exist.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

REGISTRY = CollectorRegistry()
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client reads it at import
FILE_BYTES = 262_144  # some 1,500 series; what is above grows, and has no space kept
_KINDS = ("counter", "gauge_livesum", "gauge_mostrecent", "histogram")
_process = "supervisor"

if FOLDER_VARIABLE in os.environ:
    values.ValueClass = values.MultiProcessValue(lambda: _process)  # pyright: ignore[reportUnknownMemberType] no stubs


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


def take_name(process: str) -> None:
    """Write to the files of this process of the node from now on; before the first metric moves."""
    global _process
    _process = process


def keep_space(folder: Path, process: str) -> None:
    """Take the disk space of a process's files, where they have none yet. Raises `OSError`."""
    for kind in _KINDS:
        fd = os.open(folder / f"{kind}_{process}.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < FILE_BYTES:
                os.posix_fallocate(fd, 0, FILE_BYTES)
        finally:
            os.close(fd)


def forget_process(folder: Path, process: str) -> None:
    """Leave a dead process out of the gauges that are added up; its counters stay.

    Emptied, not removed: the next of its name may start on a full disk.
    """
    try:
        with (folder / f"gauge_livesum_{process}.db").open("r+b") as file:
            file.write(b"\0" * 8)  # how much of it is in use: nothing
    except OSError:
        return  # it was never made, or never had room: nothing is in it
