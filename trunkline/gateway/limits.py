"""Limits: requests and bytes that one process works on at a time, and rates of events.

A request that finds no room is told so at once, with a time to come back; nothing queues without a
bound. A rate is a token bucket, of an app, of a key, or of one address that uses a key. Each
gateway process has its own: with several processes a sender may exceed a rate, up to their number
of times, when its connections spread over them. The other choice, a share for each process, would
refuse a sender on one connection that keeps its rate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import Literal, NamedTuple

from trunkline.kit.clock import Clock
from trunkline.model.record import AcceptedEvent
from trunkline.model.snapshot import App, Key, Rate, Snapshot, is_address_in

Scope = Literal["app", "key", "address"]

ADDRESSES_MAX = 10_000  # buckets of addresses that one process holds; the longest unused one goes
# Whoever reads a Client key out of a page may send with it. No page and no app makes 50 events a
# second, and a network whose users share one address gets its 429s with a time to come back.
CLIENT_RATE_PER_IP = Rate(events_per_second_max=50, burst=200)
# What comes from these is a proxy of ours that nobody named, or a network of the operator's own:
# taken for one visitor, all visitors would share one bucket.
LOCAL_RANGES = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)

_SITE_BITS = 64  # of IPv6: one household or phone has all the addresses behind them


class InFlight:
    """What this process holds now. Whoever adds takes away again, in `finally`."""

    __slots__ = ("bytes", "bytes_max", "requests", "requests_max")

    def __init__(self, requests_max: int, bytes_max: int) -> None:
        self.requests = 0
        self.bytes = 0
        self.requests_max = requests_max
        self.bytes_max = bytes_max


class Wait(NamedTuple):
    """How long to wait, in whole seconds, and for whose bucket."""

    seconds: int
    scope: Scope


class _Bucket:
    """Tokens of one rate. May go below zero: one batch may be larger than the burst."""

    __slots__ = ("burst", "per_second", "rate", "scope", "seen", "tokens")

    def __init__(self, scope: Scope, rate: Rate, now: float) -> None:
        self.scope: Scope = scope
        self.rate = rate
        self.per_second = rate.events_per_second_max or 0.0
        self.burst = float(rate.burst or max(1, math.ceil(self.per_second)))
        self.tokens = self.burst
        self.seen = now

    def wait_for(self, events: int, now: float) -> float:
        """Return the seconds until this many events pass; 0 where they pass now."""
        self.tokens = min(self.burst, self.tokens + (now - self.seen) * self.per_second)
        self.seen = now
        # A batch above the burst passes when the bucket is full, and is paid back afterwards.
        return max(0.0, (min(events, self.burst) - self.tokens) / self.per_second)


# App, key, and whether that is a Client key: an app's dev key has a name beside those of its keys.
_Place = tuple[str, str, bool]


class _PerAddress(NamedTuple):
    """What one address may send with a key; `spares_local` leaves `LOCAL_RANGES` out."""

    rate: Rate
    spares_local: bool


class RateLimiter:
    """The token buckets of what has a rate: as many as the snapshot names, and of addresses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._apps: dict[str, _Bucket] = {}
        self._keys: dict[_Place, _Bucket] = {}
        self._per_address: dict[_Place, _PerAddress] = {}
        self._addresses: OrderedDict[tuple[_Place, str], _Bucket] = OrderedDict()
        self._limited: set[_Place] = set()
        self._has_limits = False

    @property
    def addresses_held(self) -> int:
        """How many addresses have a bucket now."""
        return len(self._addresses)

    def admit(
        self, snapshot: Snapshot, accepted: Sequence[AcceptedEvent], address: str
    ) -> Wait | None:
        """Take a token for each event and return None, or take none and return how long to wait.

        `address` is the caller's own one; a record may hold less of it.
        """
        if snapshot is not self._snapshot:
            self._adopt(snapshot)
        if not self._has_limits or not accepted:
            return None
        counts = _count(accepted)
        if not any(place[0] in self._apps or place in self._limited for place in counts):
            return None
        now = self._clock.monotonic()
        asked = self._ask(counts, address, now)
        longest, scope = 0.0, "app"
        for bucket, events in asked.items():
            seconds = bucket.wait_for(events, now)
            if seconds > longest:
                longest, scope = seconds, bucket.scope
        if longest > 1e-9:
            return Wait(max(1, math.ceil(longest)), scope)
        for bucket, events in asked.items():
            bucket.tokens -= events
        return None

    def _ask(self, counts: Mapping[_Place, int], address: str, now: float) -> dict[_Bucket, int]:
        """Return the buckets that these events need, and how many tokens of each."""
        asked: dict[_Bucket, int] = {}
        for place, events in counts.items():
            found = (self._apps.get(place[0]), self._keys.get(place))
            for bucket in (*found, self._bucket_of_address(place, address, now)):
                if bucket is not None:
                    asked[bucket] = asked.get(bucket, 0) + events
        return asked

    def _bucket_of_address(self, place: _Place, address: str, now: float) -> _Bucket | None:
        limit = self._per_address.get(place)
        if limit is None or not address or (limit.spares_local and _is_local(address)):
            return None
        spot = (place, site_of(address))
        bucket = self._addresses.get(spot)
        if bucket is None or bucket.rate != limit.rate:
            bucket = self._addresses[spot] = _Bucket("address", limit.rate, now)
            if len(self._addresses) > ADDRESSES_MAX:
                self._addresses.popitem(last=False)
        self._addresses.move_to_end(spot)
        return bucket

    def _adopt(self, snapshot: Snapshot) -> None:
        """Take over what a snapshot says. A bucket whose rate is the same keeps its tokens."""
        now = self._clock.monotonic()
        old_apps, self._apps = self._apps, {}
        old_keys, self._keys, self._per_address = self._keys, {}, {}
        for app in snapshot.apps:
            if _is_limit(app.rate):
                self._apps[app.id] = _keep(old_apps.get(app.id), "app", app.rate, now)
            for key in app.keys:
                self._adopt_key(app, key, old_keys, now)
        self._limited = {*self._keys, *self._per_address}
        self._has_limits = bool(self._apps or self._limited)
        self._snapshot = snapshot

    def _adopt_key(self, app: App, key: Key, old: Mapping[_Place, _Bucket], now: float) -> None:
        place = (app.id, key.name, key.type == "client")
        if _is_limit(key.rate):
            self._keys[place] = _keep(old.get(place), "key", key.rate, now)
        limit = _per_address(key)
        if _is_limit(limit.rate):
            self._per_address[place] = limit


def _count(accepted: Sequence[AcceptedEvent]) -> dict[_Place, int]:
    """Count events by their key. Those of one key mostly stand together, and share its strings."""
    counts: dict[_Place, int] = {}
    app, key, is_client, run = "", "", False, 0
    for event in accepted:
        if event.key is key and event.app is app and event.is_client is is_client:
            run += 1
            continue
        if run:
            place = (app, key, is_client)
            counts[place] = counts.get(place, 0) + run
        app, key, is_client, run = event.app, event.key, event.is_client, 1
    place = (app, key, is_client)
    counts[place] = counts.get(place, 0) + run
    return counts


def _is_limit(rate: Rate) -> bool:
    return rate.events_per_second_max is not None and rate.events_per_second_max > 0


def _keep(old: _Bucket | None, scope: Scope, rate: Rate, now: float) -> _Bucket:
    return old if old is not None and old.rate == rate else _Bucket(scope, rate, now)


def _per_address(key: Key) -> _PerAddress:
    if key.rate_per_ip is not None:
        return _PerAddress(key.rate_per_ip, spares_local=False)
    return _PerAddress(CLIENT_RATE_PER_IP if key.type == "client" else Rate(), spares_local=True)


def _is_local(address: str) -> bool:
    try:
        return is_address_in(address, LOCAL_RANGES)
    except ValueError:  # no address: a connection that has none comes from this machine
        return True


@lru_cache(maxsize=ADDRESSES_MAX)
def site_of(address: str) -> str:
    """Return whom an address stands for: an IPv4 address itself, of IPv6 its network of 64 bits."""
    if ":" not in address:
        return address
    try:
        return str(ip_network((address, _SITE_BITS), strict=False))
    except ValueError:
        return address
