"""The benchmark works: a short run measures, prints its table and writes its results.

It is no timed test: no figure is looked at but whether there is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import page, programs, results
from bench.__main__ import ALL, main
from bench.results import Bound, Machine, Report, Result

ROOT = Path(__file__).parent.parent
HAS_PROGRAMS = all(programs.find(name) for name in ("wrk", "nginx"))


def run_bench(*arguments: str, environ: dict[str, str] | None = None) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--short", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=170, check=False, env=environ,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.returncode


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not HAS_PROGRAMS, reason="wrk and nginx: apt-get install -y wrk nginx")
def test_a_short_run_measures_every_workload_and_writes_it_down(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    said, code = run_bench("--folder", str(tmp_path), "--results", str(file))
    report = read(file)
    assert code == 0, said
    assert {r["workload"] for r in report["results"]} == set(range(1, 15))
    for result in report["results"]:
        assert result["measured"] > 0, result
        assert result["durability"] in ("A", "A/A", "A/C", "C/C"), result
    assert report["machine"]["is_short"]
    assert report["machine"]["fsync_ms"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"], "every home was removed"


@pytest.mark.slow
def test_what_cannot_be_measured_is_said_and_not_left_out(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    environ = {"PATH": str(tmp_path), "BENCH_PROGRAMS": str(tmp_path)}
    arguments = ("--only", "1,2", "--folder", str(tmp_path), "--results", str(file))
    said, code = run_bench(*arguments, environ=environ)
    found = read(file)["results"]
    assert code == 1
    assert [r["workload"] for r in found] == [1, 2]
    assert all(r["measured"] is None and "apt-get install -y" in r["note"] for r in found)
    assert "not measured" in said


def test_a_workload_that_is_not_there_is_refused_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--only", "1,99"]) == 2
    assert "expected numbers of workloads" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bound", "measured", "verdict"),
    [
        (Bound(0.35, 0.5), 0.6, "aim"),
        (Bound(0.35, 0.5), 0.4, "must"),
        (Bound(0.35, 0.5), 0.3, "falls short"),
        (Bound(0.15, 0.08, is_most=True), 0.05, "aim"),
        (Bound(0.15, 0.08, is_most=True), 0.1, "must"),
        (Bound(0.15, 0.08, is_most=True), 0.2, "falls short"),
        (Bound(300, None, is_most=True), 200, "good"),
        (Bound(1, 2), None, "not measured"),
    ],
)
def test_the_verdict_follows_from_must_and_aim(
    bound: Bound, measured: float | None, verdict: str
) -> None:
    result = Result(workload=1, title="", unit="×", bound=bound, durability="A", measured=measured)
    assert result.verdict == verdict


def test_one_odd_round_does_not_move_the_figure() -> None:
    assert results.median([3.0, 1.0, 100.0]) == 3.0


def test_the_page_has_a_row_for_every_workload() -> None:
    table = page.PAGE.read_text("utf-8").partition(page.BEGIN)[2].partition(page.END)[0]
    for number in ALL:
        assert f"\n| {number} |" in table


def test_a_new_run_takes_the_place_of_the_table_and_of_nothing_else(tmp_path: Path) -> None:
    result = Result(
        workload=7, title="hangs", unit="×", bound=Bound(0.95, 0.98), durability="A/A",
        measured=0.97, rounds=[0.96, 0.97, 0.99],
    )  # fmt: skip
    machine = Machine(
        at="2026-11-22T04:00:00+00:00", is_short=False, python="3.11", system="Linux",
        processors=2, load_before=0.1, load_after=2.0, fsync_ms=0.2, seconds=600,
    )  # fmt: skip
    copy = tmp_path / "performance.md"
    copy.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n", "utf-8")
    page.write_table(Report(machine, [result]), copy)
    text = copy.read_text("utf-8")
    assert text.startswith(f"before\n{page.BEGIN}\n| # |")
    assert text.endswith(f"{page.END}after\n")
    row = "| 7 | hangs | ≥ 0.95 | ≥ 0.98 | 0.97 × (0.96 to 0.99) | must | A/A |  |  |"
    assert row in text
    assert "old" not in text
