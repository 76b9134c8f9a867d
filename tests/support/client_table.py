"""The table of client libraries that is printed when the tests are done, also by `make test`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

ROW = "client library"  # a test's property: one line of the table
COLUMNS = ("library", "version", "calls", "given up", "arrived", "came once", "what was done")


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of the table."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print it, from what the tests of all worker processes reported."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    rows = [value for report in reports for name, value in report.user_properties if name == ROW]
    if rows:
        terminalreporter.section("client libraries, unmodified")
        for line in format_table(rows):
            terminalreporter.write_line(line)
