"""What a workload came to, the table of them all, and the file that keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

CLASSES = {
    "A": "fsync'd before the answer",
    "B": "in the operating system's or a broker's hands",
    "C": "in the memory of a process",
}


class Bound(Struct, frozen=True):
    """What a figure must reach and should; `is_most`: it must not be above."""

    must: float
    aim: float | None
    is_most: bool = False

    def holds(self, measured: float) -> bool:
        """Say whether the figure is what it must be."""
        return measured <= self.must if self.is_most else measured >= self.must

    def say(self, value: float | None) -> str:
        """Return one of the two values with its sign."""
        return "" if value is None else f"{'≤' if self.is_most else '≥'} {number(value)}"


class Result(Struct, kw_only=True):
    """One figure. `durability` names the class of both sides: ours, then the yardstick's.

    `rounds` holds the figure of each round; `measured` is their median, None where there is none,
    and `note` then says why.
    """

    workload: int
    title: str
    unit: str
    bound: Bound
    durability: str
    measured: float | None = None
    rounds: list[float] = []
    ours: str = ""
    yardstick: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """Say in a word what came of it."""
        if self.measured is None:
            return "not measured"
        if not self.bound.holds(self.measured):
            return "falls short"
        aim = self.bound.aim
        if aim is None:
            return "good"
        return "aim" if Bound(aim, None, self.bound.is_most).holds(self.measured) else "must"


class Machine(Struct):
    """Where and how a run was made."""

    at: str
    is_short: bool
    python: str
    system: str
    processors: int
    load_before: float
    load_after: float
    fsync_ms: float
    seconds: float


class Report(Struct):
    """A whole run."""

    machine: Machine
    results: list[Result]


def median(values: Sequence[float]) -> float:
    """Return the median of the rounds."""
    return statistics.median(values)


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def show(report: Report, console: Console) -> None:
    """Print the one table."""
    table = Table(title="Trunkline benchmark")
    for name in ("#", "workload", "must", "aim", "measured", "verdict", "class", "ours", "beside"):
        table.add_column(name, justify="right" if name in ("must", "aim", "measured") else "left")
    for result in report.results:
        bound = result.bound
        measured = "" if result.measured is None else f"{number(result.measured)} {result.unit}"
        table.add_row(
            str(result.workload), result.title, bound.say(bound.must), bound.say(bound.aim),
            measured, result.verdict, result.durability, result.ours,
            result.yardstick or result.note,
        )  # fmt: skip
    console.print(table)
    console.print("  ".join(f"{letter}: {text}" for letter, text in CLASSES.items()))
    machine = report.machine
    console.print(
        f"{machine.processors} processors, load {machine.load_before:.1f} before and "
        f"{machine.load_after:.1f} after, an fsync takes {machine.fsync_ms:.2f} ms, "
        f"{machine.seconds:.0f} s in all"
    )
    if machine.is_short:
        console.print("A short run: it shows that the benchmark works, and no more.")


def write(report: Report, path: Path) -> None:
    """Keep a run as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
