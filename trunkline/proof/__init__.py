"""Proofs that operators can run on their own machine: a receiver, a sender, and `prove`.

The demo of `make run`, `trunkline prove`, the benchmark and the path tests all use these, so what
is shown is what is tested.
"""
