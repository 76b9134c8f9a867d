"""What pytest itself needs of us: the table of client libraries at the end of a run."""

from __future__ import annotations

# Here and not in tests/clients: with several worker processes the one that prints collects nothing,
# so it sees only the conftest beside its argument.
from tests.support.client_table import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
