"""What pytest itself needs of us: the table of client libraries at the end of a run."""

from __future__ import annotations

import os

from hypothesis import settings

# Here and not in tests/clients: with several worker processes the one that prints collects nothing,
# so it sees only the conftest beside its argument.
from tests.support.client_table import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# CI judges a change, not the dice: there the examples are the same at every run. A person's runs
# look for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
