"""`requests_per_second_max`: requests go in their turn, and waiting for it costs nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.forwarding import Rig, destination, event, run, snapshot
from trunkline.forwarder.pace import Pace, useful_concurrency
from trunkline.kit.clock import FakeClock
from trunkline.kit.destination import Settings
from trunkline.model.outcome import Rejected


def paced(rate: float, **settings: Any) -> Any:
    return destination(
        settings={"requests_per_second_max": rate, "batch_events_max": 1, **settings}
    )


async def deliver(rig: Rig, count: int, seconds: float) -> list[float]:
    """Deliver events of so many users; return when each request was made, from the first."""
    rig.put(*[event(f"m{n}", f"user-{n}") for n in range(count)])
    await rig.start()
    await rig.run_for(seconds)
    first = rig.receiver.requests[0].at
    return [round(sent.at - first, 2) for sent in rig.receiver.requests]


def test_requests_go_at_the_rate_after_one_second_s_worth(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, paced(4))
        assert await deliver(rig, 12, 3) == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
        assert rig.ledger() == {"delivered": 12}
        await rig.stop()

    run(story)


def test_a_rate_below_one_sends_one_and_then_waits(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, paced(0.1))
        assert await deliver(rig, 4, 35) == [0, 10, 20, 30]
        await rig.stop()

    run(story)


def test_the_wait_is_no_attempt_and_no_part_of_the_request_s_time(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, paced(0.1, timeout_seconds=5, concurrency_max=1))
        rig.receiver.seconds = lambda sent: 2.0
        await deliver(rig, 3, 40)
        await rig.stop()
        assert [sent.number for sent in rig.receiver.requests] == [1, 1, 1]
        took = [row[0] for row in rig.rows("SELECT took_ms FROM fate WHERE kind='attempt'")]
        assert len(took) == 3
        assert all(1900 <= each <= 2100 for each in took), took

    run(story)


def test_every_request_of_one_attempt_waits_for_its_turn(tmp_path: Path) -> None:
    """A batch that is rejected is split: each part is a request, and each goes in its turn."""

    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, paced(1, batch_events_max=8))
        rig.receiver.answer = lambda sent: Rejected("no")
        rig.put(*[event(f"m{n}") for n in range(4)])
        await rig.start()
        await rig.run_for(20)
        times = [sent.at for sent in rig.receiver.requests]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(times) == 7
        assert min(gaps) > 0.97
        await rig.stop()

    run(story)


def test_a_changed_rate_counts_at_once_and_gives_no_second_burst(tmp_path: Path) -> None:
    async def story() -> None:
        rig = Rig(tmp_path)
        rig.snapshot = snapshot(1, paced(2, concurrency_max=2))
        rig.put(*[event(f"m{n}", f"user-{n}") for n in range(60)])
        await rig.start()
        await rig.run_for(3)
        before = len(rig.receiver.requests)
        assert 7 <= before <= 9
        rig.snapshot = snapshot(2, paced(4, concurrency_max=2))
        rig.forwarder.snapshot_changed()
        await rig.run_for(4)
        # Two requests had taken their turns at the old rate already, and keep them.
        assert 13 <= len(rig.receiver.requests) - before <= 16
        rig.snapshot = snapshot(3, destination(settings={"batch_events_max": 1}))
        rig.forwarder.snapshot_changed()
        await rig.run_for(6)
        assert len(rig.receiver.requests) == 60
        await rig.stop()

    run(story)


@given(st.floats(0.01, 500), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_second_has_more_than_twice_the_rate(rate: float, pauses: list[float]) -> None:
    """What was saved up and what comes anew: a bucket of one second's worth is never more."""
    clock = FakeClock()
    pace = Pace(clock)
    pace.rate = rate
    times: list[float] = []
    for pause in pauses:
        clock.pause(pause)
        times.append(clock.monotonic() + pace.reserve())
    assert times == sorted(times), "in the order in which they asked"
    most = max(1.0, rate) + rate
    for start in times:
        in_second = sum(start <= at < start + 1 for at in times)
        assert in_second <= math.floor(most + 1e-6) + 1


def test_an_idle_destination_starts_at_once() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    pace.rate = 10
    assert [pace.reserve() for _ in range(11)] == pytest.approx([0.0] * 10 + [0.1])
    clock.pause(100)
    assert [pace.reserve() for _ in range(11)] == pytest.approx([0.0] * 10 + [0.1])


@pytest.mark.parametrize(("rate", "most"), [(None, 8), (0.01, 1), (0.25, 3), (0.8, 8), (50.0, 8)])
def test_no_more_requests_are_under_way_than_can_be_of_use(rate: float | None, most: int) -> None:
    assert useful_concurrency(Settings(requests_per_second_max=rate)) == most


@pytest.mark.parametrize("rate", [0, 0.001, 10_001, "fast"])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.requests_per_second_max"):
        msgspec.convert({"requests_per_second_max": rate}, Settings)
