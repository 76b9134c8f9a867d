"""Two processes that share the suite between them must find the same tests, whenever they look."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest


def names_of_tests(hash_seed: str) -> list[str]:
    """The names of all tests, as a process of its own finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_every_process_finds_the_same_tests() -> None:
    first = names_of_tests("1")
    time.sleep(1.1)  # a clock of whole seconds has moved on
    assert len(first) > 1000
    assert names_of_tests("2") == first
