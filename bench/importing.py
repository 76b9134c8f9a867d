"""Workload 13: a file of events imported beside a running node, against batches over HTTP.

The file holds the tracking events of workload 3, with times of their own. An import keeps a
bounded way ahead of the pipeline (`trunkline/bulk/importing.py`), so a long one goes at the pace at
which the node takes events through, and not at that of its appends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import programs
from bench.accepting import BATCH
from bench.plan import Plan
from bench.results import Bound, Result, median, number
from bench.senders import event_line
from bench.stage import App, Stage

NUMBERS = (13,)
IMPORT_SECONDS_MAX = 600.0
LONG_AGO = "2024-01-02T03:04:05.678Z"


class Imported(Struct, rename="camel"):
    """What `trunkline import --json` says of a file."""

    accepted: int
    rejected: int
    seconds: float


class Told(Struct):
    """What `trunkline import --json` says."""

    files: list[Imported]


def measure(plan: Plan, only: frozenset[int]) -> list[Result]:  # noqa: ARG001 (it has one number)
    """Measure; wrk must be there. Raises `NotThere`, and `RuntimeError` where an import fails."""
    programs.need("wrk")
    folder = plan.folder / "importing"
    folder.mkdir()
    app = App("benchimportaaaa", [])
    batches: list[float] = []
    imports: list[float] = []
    with Stage(folder / "home", [app]) as stage:
        for index in range(plan.rounds):
            arguments = (*app.batches, f"i{index}", str(BATCH))
            load = programs.run_wrk(stage.url, arguments, plan.seconds / 2, plan.connections)
            batches.append(load.rate * BATCH)
            stage.wait_stored(plan.drain_seconds_max)
            file = _write(folder / f"{index}.ndjson", plan.import_events, f"f{index}")
            imports.append(_import(stage, app, file))
            stage.wait_stored(plan.drain_seconds_max)
            file.unlink()
    rounds = [ours / theirs for ours, theirs in zip(imports, batches, strict=True)]
    return [
        Result(
            workload=13,
            title=f"import of {plan.import_events:,} lines beside the node",
            unit="×",
            bound=Bound(0.3, 0.6),
            durability="A/A",
            measured=median(rounds),
            rounds=rounds,
            ours=f"{number(median(imports))} events/s",
            yardstick=f"/v1/batch of {BATCH}: {number(median(batches))} events/s",
        )
    ]


def _write(path: Path, events: int, tag: str) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for index in range(events):
            line = event_line(tag, index)
            file.write(f'{line[:-1]},"timestamp":"{LONG_AGO}"}}\n')
    return path


def _import(stage: Stage, app: App, file: Path) -> float:
    """Import a file; return the events a second."""
    command = [sys.executable, "-m", "trunkline", "import", str(file), "--app", app.id, "--json"]
    done = subprocess.run(
        [*command, "--home", str(stage.home.folder)],
        capture_output=True, text=True, check=False, timeout=IMPORT_SECONDS_MAX,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the import failed with {done.returncode}: {done.stderr[-300:]}")
    (imported,) = msgspec.json.decode(done.stdout, type=Told).files
    return imported.accepted / imported.seconds
