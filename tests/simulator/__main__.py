"""Run seeds by hand: `python -m tests.simulator --seed 17`."""

from __future__ import annotations

import argparse
import sys

from tests.simulator.journal import Broken
from tests.simulator.running import run_seed


def main() -> int:
    """Run what the arguments say; 1 where a seed breaks something."""
    parser = argparse.ArgumentParser("python -m tests.simulator")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=0, help="so many seeds, one line each")
    arguments = parser.parse_args()
    if not arguments.runs:
        return _run(arguments.seed, is_loud=True)
    broken = sum(
        _run(seed, is_loud=False) for seed in range(arguments.seed, arguments.seed + arguments.runs)
    )
    print(f"{arguments.runs} seeds, {broken} broken")
    return int(broken > 0)


def _run(seed: int, *, is_loud: bool) -> int:
    try:
        lines = run_seed(seed, is_loud=is_loud)
    except Broken as broken:
        print(f"seed {seed} BROKEN: {broken}", flush=True)
        return 1
    print(f"seed {seed} holds; {lines[-1].strip()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
