"""Token buckets of apps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway_rig import make_app, make_snapshot
from trunkline.gateway.limits import RateLimiter
from trunkline.kit.clock import FakeClock
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import Rate

FAST = Rate(events_per_second_max=10, burst=20)


def events(app: str, count: int) -> list[AcceptedEvent]:
    event = AcceptedEvent(app, "", "", "plain", "track", "k", False, 1, 0, "", "", "", b"", b"")
    return [event] * count


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    assert limiter.admit(snapshot, events("a", 20)) == 0
    assert limiter.admit(snapshot, events("a", 15)) == 2  # 1.5 s, in whole seconds
    clock.pause(1.5)
    assert limiter.admit(snapshot, events("a", 15)) == 0
    assert limiter.admit(snapshot, events("a", 1)) == 1


def test_a_batch_above_the_burst_passes_when_full_and_is_paid_back() -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    assert limiter.admit(snapshot, events("a", 120)) == 0
    assert limiter.admit(snapshot, events("a", 1)) == 11
    clock.pause(10.11)
    assert limiter.admit(snapshot, events("a", 1)) == 0


def test_a_batch_of_several_apps_takes_from_all_or_from_none() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock)
    snapshot = make_snapshot(make_app("a", FAST), make_app("b", FAST), make_app("free"))
    assert limiter.admit(snapshot, events("a", 20)) == 0
    assert limiter.admit(snapshot, events("a", 1) + events("b", 20)) > 0
    assert limiter.admit(snapshot, events("b", 20) + events("free", 1000)) == 0


def test_a_burst_left_out_is_one_second_of_the_rate() -> None:
    limiter = RateLimiter(FakeClock())
    snapshot = make_snapshot(make_app("a", Rate(events_per_second_max=2.5)))
    assert limiter.admit(snapshot, events("a", 3)) == 0
    assert limiter.admit(snapshot, events("a", 1)) == 1


def test_a_new_snapshot_keeps_what_was_used_unless_the_rate_changed() -> None:
    limiter = RateLimiter(FakeClock())
    assert limiter.admit(make_snapshot(make_app("a", FAST)), events("a", 20)) == 0
    assert limiter.admit(make_snapshot(make_app("a", FAST)), events("a", 1)) > 0
    assert limiter.admit(make_snapshot(make_app("a", Rate(11))), events("a", 1)) == 0
    assert limiter.admit(make_snapshot(make_app("a")), events("a", 5000)) == 0


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 5)), max_size=60))
def test_what_passes_never_exceeds_burst_plus_rate(steps: list[tuple[int, float]]) -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    passed, begin = 0, clock.monotonic()
    for count, pause in steps:
        if limiter.admit(snapshot, events("a", count)) == 0:
            passed += count
        # 20 is the burst; one batch may run into debt by at most what it exceeds the burst.
        assert passed <= 20 + 10 * (clock.monotonic() - begin) + 20 + 1e-6
        clock.pause(pause)


@given(st.integers(1, 100), st.integers(1, 60))
def test_who_waits_as_told_passes(used: int, count: int) -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    limiter.admit(snapshot, events("a", used))
    clock.pause(limiter.admit(snapshot, events("a", count)))
    assert limiter.admit(snapshot, events("a", count)) == 0 or used + count <= 20
