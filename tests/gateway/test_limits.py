"""Token buckets of apps, of keys, and of the addresses that use a key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway_rig import make_app, make_snapshot
from trunkline.gateway.limits import (
    ADDRESSES_MAX,
    CLIENT_RATE_PER_IP,
    RateLimiter,
    Wait,
    site_of,
)
from trunkline.kit.clock import FakeClock
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Key, KeyType, Rate, Snapshot

FAST = Rate(events_per_second_max=10, burst=20)


SOMEBODY = "203.0.113.9"


def events(app: str, count: int, key: str = "k", *, is_client: bool = False) -> list[AcceptedEvent]:
    event = AcceptedEvent(app, "", "", "plain", "track", key, is_client, 1, 0, "", "", "", b"", b"")
    return [event] * count


def ask(limiter: RateLimiter, snapshot: Snapshot, sent: list[AcceptedEvent]) -> int:
    """Return the seconds to wait, 0 where all passed."""
    wait = limiter.admit(snapshot, sent, SOMEBODY)
    return 0 if wait is None else wait.seconds


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    assert ask(limiter, snapshot, events("a", 20)) == 0
    assert ask(limiter, snapshot, events("a", 15)) == 2  # 1.5 s, in whole seconds
    clock.pause(1.5)
    assert ask(limiter, snapshot, events("a", 15)) == 0
    assert ask(limiter, snapshot, events("a", 1)) == 1


def test_a_batch_above_the_burst_passes_when_full_and_is_paid_back() -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    assert ask(limiter, snapshot, events("a", 120)) == 0
    assert ask(limiter, snapshot, events("a", 1)) == 11
    clock.pause(10.11)
    assert ask(limiter, snapshot, events("a", 1)) == 0


def test_a_batch_of_several_apps_takes_from_all_or_from_none() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock)
    snapshot = make_snapshot(make_app("a", FAST), make_app("b", FAST), make_app("free"))
    assert ask(limiter, snapshot, events("a", 20)) == 0
    assert ask(limiter, snapshot, events("a", 1) + events("b", 20)) > 0
    assert ask(limiter, snapshot, events("b", 20) + events("free", 1000)) == 0


def test_a_burst_left_out_is_one_second_of_the_rate() -> None:
    limiter = RateLimiter(FakeClock())
    snapshot = make_snapshot(make_app("a", Rate(events_per_second_max=2.5)))
    assert ask(limiter, snapshot, events("a", 3)) == 0
    assert ask(limiter, snapshot, events("a", 1)) == 1


def test_a_new_snapshot_keeps_what_was_used_unless_the_rate_changed() -> None:
    limiter = RateLimiter(FakeClock())
    assert ask(limiter, make_snapshot(make_app("a", FAST)), events("a", 20)) == 0
    assert ask(limiter, make_snapshot(make_app("a", FAST)), events("a", 1)) > 0
    assert ask(limiter, make_snapshot(make_app("a", Rate(11))), events("a", 1)) == 0
    assert ask(limiter, make_snapshot(make_app("a")), events("a", 5000)) == 0


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 5)), max_size=60))
def test_what_passes_never_exceeds_burst_plus_rate(steps: list[tuple[int, float]]) -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    passed, begin = 0, clock.monotonic()
    for count, pause in steps:
        if ask(limiter, snapshot, events("a", count)) == 0:
            passed += count
        # 20 is the burst; one batch may run into debt by at most what it exceeds the burst.
        assert passed <= 20 + 10 * (clock.monotonic() - begin) + 20 + 1e-6
        clock.pause(pause)


@given(st.integers(1, 100), st.integers(1, 60))
def test_who_waits_as_told_passes(used: int, count: int) -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(make_app("a", FAST))
    ask(limiter, snapshot, events("a", used))
    clock.pause(ask(limiter, snapshot, events("a", count)))
    assert ask(limiter, snapshot, events("a", count)) == 0 or used + count <= 20


# Keys


def app_with(key_type: KeyType = "client", app: str = "a", **rates: Any) -> App:
    """Return an app with one key, `k`, that has these rates."""
    key = Key("k", key_type, (), **rates)
    return msgspec.structs.replace(make_app(app), keys=(key,))


def test_a_key_s_rate_is_shared_by_all_who_send_with_it_and_by_no_other_key() -> None:
    clock = FakeClock()
    limiter, snapshot = RateLimiter(clock), make_snapshot(app_with("server", rate=FAST))
    sent = events("a", 10)
    assert limiter.admit(snapshot, sent, "203.0.113.1") is None
    assert limiter.admit(snapshot, sent, "203.0.113.2") is None
    assert limiter.admit(snapshot, sent, "203.0.113.3") == Wait(1, "key")
    assert limiter.admit(snapshot, events("a", 10, "other"), "203.0.113.1") is None
    clock.pause(1)
    assert limiter.admit(snapshot, sent, "203.0.113.3") is None


def test_an_address_s_rate_is_its_own() -> None:
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with(rate_per_ip=FAST))
    sent = events("a", 20, is_client=True)
    assert limiter.admit(snapshot, sent, "203.0.113.1") is None
    assert limiter.admit(snapshot, sent, "203.0.113.1") == Wait(2, "address")
    assert limiter.admit(snapshot, sent, "203.0.113.2") is None


def test_who_is_refused_takes_nothing_from_the_others_of_the_key_and_the_app() -> None:
    """One address that floods must not use up what the page's other visitors have."""
    app = msgspec.structs.replace(app_with(rate=FAST, rate_per_ip=Rate(1, 5)), rate=FAST)
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app)
    for count in (5, *[5] * 50):
        limiter.admit(snapshot, events("a", count, is_client=True), "203.0.113.1")
    for last in (2, 3, 4):
        sent = events("a", 5, is_client=True)
        assert limiter.admit(snapshot, sent, f"203.0.113.{last}") is None


def test_the_longest_wait_is_told() -> None:
    app = msgspec.structs.replace(
        app_with(rate=Rate(1, 1), rate_per_ip=Rate(2, 1)), rate=Rate(3, 1)
    )
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app)
    sent = events("a", 1, is_client=True)
    assert limiter.admit(snapshot, sent, SOMEBODY) is None
    assert limiter.admit(snapshot, sent, SOMEBODY) == Wait(1, "key")


def test_by_default_an_address_has_a_limit_with_a_client_key_and_none_with_a_server_key() -> None:
    limiter = RateLimiter(FakeClock())
    snapshot = make_snapshot(app_with(), app_with("server", "b"))
    burst = CLIENT_RATE_PER_IP.burst or 0
    assert limiter.admit(snapshot, events("a", burst, is_client=True), SOMEBODY) is None
    refused = limiter.admit(snapshot, events("a", 1, is_client=True), SOMEBODY)
    assert refused == Wait(1, "address")
    for _ in range(10):
        assert limiter.admit(snapshot, events("b", 1000), SOMEBODY) is None


def test_none_is_no_limit_also_for_a_client_key() -> None:
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with(rate_per_ip=Rate()))
    for _ in range(10):
        assert limiter.admit(snapshot, events("a", 1000, is_client=True), SOMEBODY) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.7.7", "fd00::1", ""])
def test_the_default_spares_what_may_be_a_proxy_of_ours(address: str) -> None:
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with())
    for _ in range(10):
        assert limiter.admit(snapshot, events("a", 200, is_client=True), address) is None
    set_by_hand = make_snapshot(app_with(rate_per_ip=FAST))
    limiter.admit(set_by_hand, events("a", 20, is_client=True), address)
    refused = limiter.admit(set_by_hand, events("a", 20, is_client=True), address)
    assert refused == (Wait(2, "address") if address else None)


def test_of_ipv6_a_network_of_64_bits_is_one_sender() -> None:
    assert site_of("2001:db8::1") == site_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert site_of("2001:db8:0:1::1") != site_of("2001:db8::1")
    assert (site_of("203.0.113.9"), site_of("no:address")) == ("203.0.113.9", "no:address")
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with(rate_per_ip=FAST))
    for last in range(1, 21):
        address = f"2001:db8::{last:x}:1"
        assert limiter.admit(snapshot, events("a", 1, is_client=True), address) is None
    assert limiter.admit(snapshot, events("a", 1, is_client=True), "2001:db8::fff") is not None


def test_addresses_are_bounded_and_who_still_sends_is_kept() -> None:
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with(rate_per_ip=FAST))
    one, faithful = events("a", 1, is_client=True), "198.51.100.1"
    assert limiter.admit(snapshot, events("a", 20, is_client=True), faithful) is None
    for number in range(ADDRESSES_MAX + 500):
        limiter.admit(snapshot, one, f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 1000 == 0:
            assert limiter.admit(snapshot, one, faithful) is not None
    assert limiter.addresses_held == ADDRESSES_MAX
    assert limiter.admit(snapshot, one, faithful) is not None


def test_a_changed_rate_holds_at_once_for_addresses_too() -> None:
    limiter, sent = RateLimiter(FakeClock()), events("a", 20, is_client=True)
    before, same = (make_snapshot(app_with(rate_per_ip=FAST)) for _ in range(2))
    assert limiter.admit(before, sent, SOMEBODY) is None
    assert limiter.admit(same, sent, SOMEBODY) is not None
    assert limiter.admit(make_snapshot(app_with(rate_per_ip=Rate(11, 20))), sent, SOMEBODY) is None


def test_a_dev_key_is_not_taken_for_a_client_key_of_its_name() -> None:
    limiter, snapshot = RateLimiter(FakeClock()), make_snapshot(app_with(rate=Rate(1, 1)))
    for _ in range(10):
        assert limiter.admit(snapshot, events("a", 100), SOMEBODY) is None
