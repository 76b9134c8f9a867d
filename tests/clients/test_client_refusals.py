"""What a user sees of a refusal: a wrong key is told, a bad event costs only itself.

The Go libraries send what is answered 401 ten times, and tell then; all others tell at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_checks import find_differences, stand_aside_without
from tests.support.client_libraries import LIBRARIES, Library
from tests.support.client_stage import WRONG_KEY, Performance, Performances, Stage, open_stage

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]

PYTHON = [library for library in LIBRARIES if library.language == "python"]
INSISTING = [library for library in LIBRARIES if library.tries_refused > 1]
COUNTED_SECONDS = 2.5  # the gateway moves its counts to the metrics once a second


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from open_stage(tmp_path_factory.mktemp("refusals"))


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Performances:
    return stage.perform("few", key=WRONG_KEY)


@pytest.fixture(scope="module")
def poisoned(stage: Stage, performances: Performances) -> Performances:
    return stage.perform("poisoned", libraries=PYTHON)


def test_a_wrong_key_reaches_the_users_error_handler(
    performance: Performance, tell_table: Callable[[Performance, str], None]
) -> None:
    tries = performance.library.tries_refused
    sent = "never sent again" if tries == 1 else f"sent {tries} times"
    tell_table(performance, f"wrong write key: 401 told to the user, {sent}")
    assert performance.errors
    assert {error["status"] for error in performance.errors} == {401}
    assert performance.failed == performance.calls.keys()
    assert not performance.shelf.events.keys() & performance.calls.keys()


@pytest.mark.parametrize("library", INSISTING, ids=lambda library: library.name)
def test_a_library_that_insists_on_a_wrong_key_ends_after_its_tries(
    performance: Performance,
) -> None:
    assert performance.requests == len(performance.errors) * performance.library.tries_refused


def test_what_has_a_wrong_key_is_sent_no_more_often_than_was_told(
    stage: Stage, performances: Performances
) -> None:
    # All libraries have ended; what one sent twice and told once would be counted twice.
    stage.clock.pause(COUNTED_SECONDS)
    assert stage.count_requests("4xx") == sum(one.requests for one in performances.values())


@pytest.mark.parametrize("library", PYTHON, ids=lambda library: library.name)
def test_one_bad_event_costs_the_others_nothing(
    stage: Stage, poisoned: Performances, library: Library
) -> None:
    stand_aside_without(stage, library)
    performance = poisoned[library.name]
    assert not performance.errors
    assert not performance.missing
    assert not find_differences(performance)
    accepted, _ = stage.ledger(performance.library.app)
    assert accepted.refused == {"invalid_number": 1}
    assert accepted.accepted == len(performance.calls)
