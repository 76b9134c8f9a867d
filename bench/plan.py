"""How long and how much: the sizes of a full run and of a short one, and where things lie."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct


class Plan(Struct, frozen=True):
    """What a run does. A short one sees that everything works; its figures mean little."""

    folder: Path
    rounds: int = 5
    seconds: float = 3.0  # of load in a round
    connections: int = 64
    single_events: int = 15_000  # a round of one request an event
    latency_seconds: float = 8.0
    fanout_events: int = 10_000  # to ten destinations; a hundredth of it to a thousand
    many_destinations: int = 1000
    burst_events: int = 5_000
    backlog_events: int = 600_000
    import_events: int = 100_000  # a round
    backlog_seconds: float = 60.0
    drain_seconds_max: float = 180.0


def full_plan(folder: Path) -> Plan:
    """Return the plan whose figures count: at most 20 minutes."""
    return Plan(folder)


def short_plan(folder: Path) -> Plan:
    """Return the plan that CI runs: at most two minutes."""
    return Plan(
        folder,
        rounds=2,
        seconds=0.7,
        single_events=1000,
        latency_seconds=2.0,
        fanout_events=1000,
        many_destinations=100,
        burst_events=500,
        backlog_events=10_000,
        import_events=2_000,
        backlog_seconds=5.0,
        drain_seconds_max=60.0,
    )


def load_average() -> float:
    """Return the load of the machine over the last minute."""
    return os.getloadavg()[0]
