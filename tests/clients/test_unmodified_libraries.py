"""Unmodified client libraries against a node: each call comes out as one event, as it was said."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.client_checks import find_differences, find_disorder
from tests.support.client_libraries import LIBRARIES
from tests.support.client_stage import Performance, Performances, Stage, open_stage

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(300)]

ORDERED = [library for library in LIBRARIES if library.is_ordered]  # the others send in parallel


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from open_stage(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def performances(stage: Stage) -> Performances:
    return stage.perform("calls")


def test_every_call_arrives_as_one_event(
    stage: Stage, performance: Performance, tell_table: Callable[[Performance, str], None]
) -> None:
    tell_table(performance, "plain")
    assert not performance.errors
    assert not performance.failed
    assert not performance.missing
    assert performance.shelf.copies.total() == len(performance.calls)
    accepted, delivered = stage.ledger(performance.library.app)
    assert accepted.balanced and delivered.balanced
    assert accepted.received == accepted.accepted == delivered.delivered == len(performance.calls)


def test_every_call_arrives_as_it_was_said(performance: Performance) -> None:
    assert not find_differences(performance)


@pytest.mark.parametrize("library", ORDERED, ids=lambda library: library.name)
def test_what_one_user_did_arrives_in_order(performance: Performance) -> None:
    assert not find_disorder(performance)


def test_the_version_that_ran_is_the_one_that_is_pinned(performance: Performance) -> None:
    assert performance.version == performance.library.version
