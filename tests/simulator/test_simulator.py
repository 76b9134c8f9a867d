"""Seeds: whatever happens, what was acknowledged arrives, in order, and everything is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.running import run_seed

CHUNK = 25
# SQLite asks the dead disk for things whose failure it then ignores; apsw reports those aside.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


# Beyond the first: a person resumes a destination while it looks for what to probe with (101, 315);
# its settings stop working between the start of a task and its first step (152).
@pytest.mark.parametrize("seed", [*range(16), 101, 152, 315])
def test_whatever_happens_what_was_acknowledged_arrives_and_is_counted(seed: int) -> None:
    run_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunk", range(12))
def test_no_seed_of_many_breaks_it(chunk: int) -> None:
    for seed in range(100 + chunk * CHUNK, 100 + (chunk + 1) * CHUNK):
        run_seed(seed)


def test_a_seed_is_the_same_run_every_time_and_in_every_process() -> None:
    here = run_seed(4)
    assert run_seed(4) == here
    there = subprocess.run(
        [sys.executable, "-m", "tests.simulator", "--seed", "4"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines()[: len(here)] == here
