"""Fixtures of the tests of client libraries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.client_checks import stand_aside_without, table_row
from tests.support.client_libraries import LIBRARIES, Library
from tests.support.client_stage import Performance, Performances, Stage
from tests.support.client_table import ROW


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


@pytest.fixture
def performance(stage: Stage, performances: Performances, library: Library) -> Performance:
    """What this library did on the module's stage. Under CI every library must be there."""
    stand_aside_without(stage, library)
    return performances[library.name]


@pytest.fixture
def tell_table(
    record_property: Callable[[str, object], None],
) -> Callable[[Performance, str], None]:
    """Put a performance into the table at the end."""
    return lambda performance, notes: record_property(ROW, table_row(performance, notes))
