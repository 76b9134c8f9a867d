"""The simulator: the whole path in one process, under a seed, on a disk that loses its power.

    python -m tests.simulator --seed 17          what seed 17 lives through, line by line
    python -m tests.simulator --seed 0 --runs 50 a row of seeds, one line each

Real are the engines, the event log, the state files and the ledger's report. Simulated are time
(`FakeClock`), the disk below SQLite (`tests/support/power.py`), the threads (`InlineWorker`,
`InlineExecutor`) and the world outside (`outside.py`). One seed throws all dice, so it is one run.

`machine.py` is the node with its disk, `configured.py` the catalog and how late each process
sees it, `outside.py` the destinations and their weather, `truth.py` what was promised and what must
hold, `story.py` what happens in a run. `test_simulator.py` runs seeds, `test_it_can_fail.py` breaks
the engines on purpose: each break must be noticed.
"""
