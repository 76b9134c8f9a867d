"""Client libraries while the destination fails every second request: nobody notices but us."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_checks import find_differences, find_disorder
from tests.support.client_stage import Performance, Performances, Stage, open_stage

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from open_stage(tmp_path_factory.mktemp("failing"), fail_every=2)


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Performances:
    return stage.perform("calls")


def test_every_call_arrives_as_one_event_through_a_failing_receiver(
    stage: Stage, performance: Performance, tell_table: Callable[[Performance, str], None]
) -> None:
    shelf = performance.shelf
    tell_table(performance, f"every second of {shelf.requests} deliveries answered 503")
    assert shelf.requests > 1
    assert not performance.errors
    assert not performance.missing
    assert shelf.copies.total() == len(performance.calls)
    accepted, delivered = stage.ledger(performance.library.app)
    assert accepted.balanced and delivered.balanced
    assert accepted.accepted == delivered.delivered == len(performance.calls)
    assert not delivered.dead


def test_retries_change_neither_content_nor_order(performance: Performance) -> None:
    assert not find_differences(performance)
    if performance.library.is_ordered:
        assert not find_disorder(performance)
