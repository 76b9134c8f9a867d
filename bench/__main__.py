"""`python -m bench [--short] [--only N,N]`: measure, print one table, write bench/results.json."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import accepting, backlog, fanout, importing, kits, latency, shaping, single
from bench.page import PAGE, write_table
from bench.plan import Plan, full_plan, load_average, short_plan
from bench.programs import NotThere
from bench.results import Bound, Machine, Report, Result, show, write
from trunkline.kit.clock import SystemClock
from trunkline.proof.disk import measure_fsync

Measure = Callable[[Plan, frozenset[int]], list[Result]]

RESULTS = Path(__file__).parent / "results.json"
SECONDS_MAX = {True: 120.0, False: 1200.0}  # by `short`: what is not begun by then is left out
PARTS: tuple[tuple[tuple[int, ...], Measure], ...] = (
    (accepting.NUMBERS, accepting.measure),
    (single.NUMBERS, single.measure),
    (latency.NUMBERS, latency.measure),
    (fanout.NUMBERS, fanout.measure),
    (backlog.NUMBERS, backlog.measure),
    (shaping.NUMBERS, shaping.measure),
    (importing.NUMBERS, importing.measure),
    (kits.NUMBERS, kits.measure),
)
ALL = frozenset(number for numbers, _ in PARTS for number in numbers)


def main(arguments: list[str]) -> int:
    """Run what was asked for. The exit code says whether all of it could be measured."""
    asked = _parse(arguments)
    only = frozenset(map(int, asked.only.split(","))) if asked.only else ALL
    if not only <= ALL:
        known = ", ".join(map(str, sorted(ALL)))
        print(f"--only {asked.only}: expected numbers of workloads, of {known}", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="trunkline-bench-", dir=asked.folder))
    plan = short_plan(folder) if asked.short else full_plan(folder)
    console = Console(width=None if sys.stdout.isatty() else 170)
    try:
        report = _run(plan, only, asked.short, console)
    finally:
        if not asked.keep:
            shutil.rmtree(folder)
    show(report, console)
    write(report, asked.results)
    console.print(f"written: {os.path.relpath(asked.results)}")
    if only == ALL and not asked.short and asked.results == RESULTS:
        write_table(report)
        console.print(f"written: {os.path.relpath(PAGE)}")
    return 0 if all(result.measured is not None for result in report.results) else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="see that it works, within 120 s")
    parser.add_argument("--only", default="", help="numbers of workloads: 1,2,5")
    parser.add_argument("--folder", help="where homes are made: on the disk to be measured")
    parser.add_argument("--keep", action="store_true", help="leave the folders of failed parts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    return parser.parse_args(arguments)


def _run(plan: Plan, only: frozenset[int], is_short: bool, console: Console) -> Report:
    begun, load_before = time.monotonic(), load_average()
    fsync_ms = measure_fsync(plan.folder, SystemClock()).median_seconds * 1000
    results: list[Result] = []
    for numbers, measure in PARTS:
        wanted = only & frozenset(numbers)
        if not wanted:
            continue
        console.print(f"workloads {', '.join(map(str, sorted(wanted)))} …")
        if time.monotonic() - begun > SECONDS_MAX[is_short]:
            results += _unmeasured(wanted, "no time was left; run it with --only")
            continue
        try:
            results += measure(plan, wanted)
        except (NotThere, RuntimeError) as error:
            console.print(f"  not measured: {error}", markup=False)
            results += _unmeasured(wanted, str(error))
    machine = Machine(
        at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        is_short=is_short,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        processors=os.cpu_count() or 1,
        load_before=load_before,
        load_after=load_average(),
        fsync_ms=fsync_ms,
        seconds=time.monotonic() - begun,
    )
    return Report(machine, sorted(results, key=lambda result: result.workload))


def _unmeasured(numbers: frozenset[int], why: str) -> list[Result]:
    return [
        Result(
            workload=number, title="not measured", unit="", bound=Bound(0, None), durability="",
            note=why,
        )
        for number in sorted(numbers)
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
