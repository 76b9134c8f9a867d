"""The benchmark: how fast Trunkline is beside a yardstick that was measured in the same run.

Machines are shared and noisy, so no figure stands alone: each is a ratio to something simpler that
ran on the same machine in the same minute, in turns (A B A B …), and the median of the rounds
counts. Before each round everything that was accepted has been delivered. `python -m bench` prints
one table and writes `bench/results.json`; docs/guide/performance.md says what the figures mean.
"""
