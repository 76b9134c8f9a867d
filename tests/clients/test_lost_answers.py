"""Client libraries whose every batch is stored, but whose first answer is lost on its way back.

Each library sends each batch again, and must: it cannot know. None of it may become a second event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_checks import find_differences, find_disorder
from tests.support.client_stage import Performance, Performances, Stage, open_stage
from tests.support.losing_proxy import LosingProxy

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from open_stage(tmp_path_factory.mktemp("lost"))


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Iterator[Performances]:
    proxy = LosingProxy(stage.node.ingest_port)
    try:
        yield stage.finish(stage.start("calls", host=proxy.url))
    finally:
        proxy.close()


def test_a_lost_answer_makes_no_second_event(
    stage: Stage, performance: Performance, tell_table: Callable[[Performance, str], None]
) -> None:
    accepted, delivered = stage.ledger(performance.library.app)
    tell_table(
        performance,
        f"each batch's first answer lost: {accepted.duplicate} sent again and known",
    )
    assert not performance.failed, performance.errors[:3]
    assert not performance.missing
    assert performance.shelf.copies.total() == len(performance.calls)
    assert accepted.accepted == accepted.duplicate == delivered.delivered == len(performance.calls)
    assert accepted.balanced and delivered.balanced


def test_what_is_sent_again_changes_neither_content_nor_order(performance: Performance) -> None:
    assert not find_differences(performance)
    if performance.library.is_ordered:
        assert not find_disorder(performance)
