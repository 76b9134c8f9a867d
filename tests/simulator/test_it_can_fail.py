"""The simulator notices what it is there for: each break here is a real way to lose or to lie.

The last two are defects that it found when it was new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.simulator import story
from tests.simulator.journal import Broken
from tests.simulator.running import run_seed
from trunkline.forwarder.book import Book
from trunkline.forwarder.lanes import Lanes
from trunkline.forwarder.place import Place
from trunkline.forwarder.waiting import WaitingIndex
from trunkline.forwarder.writer import Writer
from trunkline.kit.eventlog import Fetched
from trunkline.model.snapshot import Snapshot
from trunkline.pipeline import recovery, upkeep
from trunkline.pipeline.engine import Pipeline

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SEEDS = range(60)


def first_notice() -> str:
    """Return what the first seed that breaks says, in one line."""
    for seed in SEEDS:
        said = notice(seed)
        if said:
            return said
    raise AssertionError(f"not noticed by {len(SEEDS)} seeds")


def notice(seed: int, sync: str = "FULL") -> str:
    """Return what a seed says that breaks, "" where it holds."""
    try:
        run_seed(seed, sync=sync)
    except Broken as broken:
        return str(broken).partition("\n")[0]
    return ""


def test_it_notices_a_missing_sync_of_accepted() -> None:
    """As events that are gone, as a segment that is damaged, or as counts without their events."""
    said = [notice(seed, "OFF") for seed in range(4)]
    assert sum(map(bool, said)) >= 2, said


@pytest.mark.slow
def test_it_notices_positions_that_are_saved_before_the_append(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Pipeline._take  # pyright: ignore[reportPrivateUsage]

    def hasty(self: Pipeline, parts: Any, batch: Sequence[Fetched], snapshot: Snapshot) -> None:
        moved = {fetched.partition: fetched.offset + 1 for fetched in batch}
        parts.books._move(moved, parts.books.events_next, {})
        real(self, parts, batch, snapshot)

    monkeypatch.setattr(Pipeline, "_take", hasty)
    said = first_notice()
    assert "acknowledged and not in EVENTS" in said or "does not balance" in said


def test_it_notices_a_position_that_is_saved_before_the_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Place, "unfinished", lambda self: [])
    assert "does not balance" in first_notice()


@pytest.mark.slow
def test_it_notices_an_event_that_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lanes.take

    def careless(self: Lanes, *args: Any) -> Any:
        taken, joining = real(self, *args)
        for item in taken:
            self.open(item.lane)
        return taken, joining

    monkeypatch.setattr(Lanes, "take", careless)
    assert " took " in first_notice()


@pytest.mark.slow
def test_it_notices_a_retry_that_nobody_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "CALM_SECONDS_MAX", 400.0)
    monkeypatch.setattr(WaitingIndex, "next_due", lambda self: None)
    assert "still owed" in first_notice()


@pytest.mark.slow
def test_it_notices_memory_that_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def leak(self: Book, item: Any) -> None:
        self.place.finish(item)

    monkeypatch.setattr(Book, "_leave_log", leak)
    assert "bytes counted" in first_notice()


@pytest.mark.slow
def test_it_notices_a_count_that_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Book.filter

    def twice(self: Book, offset: int, received_ms: int, reason: str) -> None:
        real(self, offset, received_ms, reason)
        real(self, offset, received_ms, reason)

    monkeypatch.setattr(Book, "filter", twice)
    assert "does not balance" in first_notice()


@pytest.mark.slow
def test_it_notices_events_that_are_forgotten_before_the_state_is_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def claim(self: Writer) -> bool:
        return True

    monkeypatch.setattr(Writer, "checkpoint", claim)
    assert "does not balance" in first_notice()


@pytest.mark.slow
def test_it_notices_events_that_are_forgotten_before_the_index_is_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_hold_events", lambda log: None)
    monkeypatch.setattr(upkeep, "SYNC_SECONDS", 1e9)
    assert "in EVENTS more than once" in first_notice()
