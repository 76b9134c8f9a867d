"""Fixtures of the tests of client libraries, and the table printed when they are done."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.client_checks import format_table, table_row
from tests.support.client_libraries import LIBRARIES, Library
from tests.support.client_stage import Performance, Performances, Stage

ROW = "client library"


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


@pytest.fixture
def performance(stage: Stage, performances: Performances, library: Library) -> Performance:
    """What this library did on the module's stage. Under CI every library must be there."""
    if library.name in stage.unavailable:
        stand_aside = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stand_aside(f"{library.name} cannot be tested here: {stage.unavailable[library.name]}")
    return performances[library.name]


@pytest.fixture
def tell_table(
    record_property: Callable[[str, object], None],
) -> Callable[[Performance, str], None]:
    """Put a performance into the table at the end."""
    return lambda performance, notes: record_property(ROW, table_row(performance, notes))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
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
