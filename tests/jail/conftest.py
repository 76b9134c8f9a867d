"""The zygote that the tests of this folder share ends with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.jail_stage import end_kept


@pytest.fixture(scope="session", autouse=True)
def _one_zygote() -> Iterator[None]:
    yield
    asyncio.run(end_kept())
