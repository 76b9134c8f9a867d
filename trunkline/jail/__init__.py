"""Operators' code in jailed workers: the `Workshop` of `kit/shaping.py`, built of processes."""
