"""Limits: requests and bytes that one process works on at a time, and the rate of each app.

A request that finds no room is told so at once, with a time to come back; nothing queues without a
bound. The rate of an app is a token bucket for each gateway process: with several processes an app
may exceed its rate, up to their number of times, when its connections spread over them. The other
choice, a share for each process, would refuse a sender on one connection that keeps its rate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from trunkline.kit.clock import Clock
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import Rate, Snapshot


class InFlight:
    """What this process holds now. Whoever adds takes away again, in `finally`."""

    __slots__ = ("bytes", "bytes_max", "requests", "requests_max")

    def __init__(self, requests_max: int, bytes_max: int) -> None:
        self.requests = 0
        self.bytes = 0
        self.requests_max = requests_max
        self.bytes_max = bytes_max


class _Bucket:
    """Tokens of one app. May go below zero: one batch may be larger than the burst."""

    __slots__ = ("burst", "per_second", "seen", "tokens")

    def __init__(self, rate: Rate, per_second: float, now: float) -> None:
        self.per_second = per_second
        self.burst = float(rate.burst or max(1, math.ceil(per_second)))
        self.tokens = self.burst
        self.seen = now

    def wait_for(self, events: int, now: float) -> float:
        """Return the seconds until this many events pass; 0 where they pass now."""
        self.tokens = min(self.burst, self.tokens + (now - self.seen) * self.per_second)
        self.seen = now
        # A batch above the burst passes when the bucket is full, and is paid back afterwards.
        return max(0.0, (min(events, self.burst) - self.tokens) / self.per_second)


class RateLimiter:
    """The token buckets of the apps that have a rate. As many as the snapshot names."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._buckets: dict[str, tuple[Rate, _Bucket]] = {}

    def admit(self, snapshot: Snapshot, accepted: Sequence[AcceptedEvent]) -> int:
        """Take a token for each event and return 0, or take none and return seconds to wait."""
        if snapshot is not self._snapshot:
            self._adopt(snapshot)
        if not self._buckets or not accepted:
            return 0
        counts = Counter(event.app for event in accepted)
        asked = [(self._buckets[app][1], n) for app, n in counts.items() if app in self._buckets]
        now = self._clock.monotonic()
        seconds = max((bucket.wait_for(events, now) for bucket, events in asked), default=0.0)
        if seconds > 1e-9:
            return max(1, math.ceil(seconds))
        for bucket, events in asked:
            bucket.tokens -= events
        return 0

    def _adopt(self, snapshot: Snapshot) -> None:
        old, self._buckets = self._buckets, {}
        for app in snapshot.apps:
            per_second = app.rate.events_per_second_max
            if per_second is None or per_second <= 0:
                continue
            kept = old.get(app.id)
            if kept is None or kept[0] != app.rate:
                kept = (app.rate, _Bucket(app.rate, per_second, self._clock.monotonic()))
            self._buckets[app.id] = kept
        self._snapshot = snapshot
