"""What pytest itself needs of us: the table of client libraries at the end of a run."""

from __future__ import annotations

import os

import pytest
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

# Whole nodes, shells and clocks: these want the machine to themselves, whatever their marks say.
ALONE = (
    "tests/catalog", "tests/cli/test_as_typed.py", "tests/cli/test_install.py", "tests/clients",
    "tests/gateway", "tests/jail/test_cost.py", "tests/naming", "tests/path", "tests/reports",
    "tests/sdk", "tests/state", "tests/test_",
)  # fmt: skip
# The everyday loop (`make check`) stays under two minutes without these.
SLOW = (
    "tests/bulk", "tests/channels", "tests/cli", "tests/jail", "tests/path", "tests/sdk",
    "tests/simulator/", "tests/vendors",
)  # fmt: skip


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A test has the same name in every process: packed bytes, which hold the time, name none."""
    unreadable = isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable())
    return argname if unreadable else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they stand."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if item.nodeid.startswith(ALONE):
            item.add_marker(pytest.mark.alone)
