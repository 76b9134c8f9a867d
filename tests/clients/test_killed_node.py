"""Client libraries while the node is killed under them: their own retries carry every event over.

Each library goes on calling the whole time. What it told its user it had given up may be missing;
everything else must arrive, each as one event, however often the library sent it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_checks import find_differences, find_disorder
from tests.support.client_stage import Driver, Performance, Performances, Stage, open_stage

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(400)]

KILLS = 2
RETRIES = 9  # analytics-node and rudder-sdk-node by themselves give up after 1.4 s; users raise it
EVENTS_BETWEEN = 40
SECONDS_MAX = 120.0  # the Java libraries wait up to 30 s before they try again, then up to 60 s


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from open_stage(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Performances:
    drivers = stage.start("endless", retries=RETRIES)
    try:
        for _ in range(KILLS):
            wait_for_more(stage, drivers)
            assert all(driver.is_telling for driver in drivers)
            stage.node.kill()
            stage.node.start()
        wait_for_more(stage, drivers)
        stage.stop_file.touch()
        return stage.finish(drivers)
    finally:
        for driver in drivers:
            driver.end()


def wait_for_more(stage: Stage, drivers: list[Driver]) -> None:
    """Wait until the events of every library come in."""
    shelves = [stage.shelf_of(driver.library) for driver in drivers]
    goals = [len(shelf.events) + EVENTS_BETWEEN for shelf in shelves]
    pairs = list(zip(shelves, goals, strict=True))
    came = stage.receiver.wait(lambda: all(len(s.events) >= goal for s, goal in pairs), SECONDS_MAX)
    assert came, {d.library.name: len(s.events) for d, s in zip(drivers, shelves, strict=True)}


def test_every_call_not_given_up_arrives_through_kills(
    stage: Stage, performance: Performance, tell_table: Callable[[Performance, str], None]
) -> None:
    accepted, delivered = stage.ledger(performance.library.app)
    tell_table(
        performance,
        f"{KILLS} × SIGKILL; {accepted.duplicate} sent again and known, "
        f"{performance.shelf.extra_copies} delivered again",
    )
    assert not performance.missing
    assert len(performance.shelf.events) > KILLS * EVENTS_BETWEEN
    # One event an id, however often it was sent: a copy is a delivery again, never a second event.
    assert accepted.accepted == len(performance.shelf.events)
    assert accepted.balanced and delivered.balanced
    assert not accepted.refused and not delivered.dead


def test_a_library_that_retries_gives_up_nothing(performance: Performance) -> None:
    assert not performance.failed, performance.errors[:3]


def test_kills_change_neither_content_nor_order(performance: Performance) -> None:
    assert not find_differences(performance)
    if performance.library.is_ordered:
        assert not find_disorder(performance)
