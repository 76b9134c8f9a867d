"""The catalog as the data plane sees it: immutable, versioned, swapped whole.

Secrets that must be compared are SHA-256 digests; secrets that must be sent (a webhook's) are
inside `Destination.settings`, in clear, in memory only.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal

from msgspec import Struct

UnknownEvents = Literal["accept", "flag", "block"]
KeyType = Literal["server", "client"]
Order = Literal["user", "device", "none"]


def digest(secret: str) -> bytes:
    """Return what is stored of a key, and looked up: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Secret(Struct, frozen=True):
    """A digest that opens something until `until_ms` (Unix milliseconds; None: for good)."""

    digest: bytes
    until_ms: int | None = None

    def holds_at(self, now_ms: int) -> bool:
        """Say whether it still opens."""
        return self.until_ms is None or now_ms < self.until_ms


class Rate(Struct, frozen=True):
    """A token bucket: None means no limit."""

    events_per_second_max: float | None = None
    burst: int | None = None


class Key(Struct, frozen=True):
    """An app's API key: what the tracking API calls a write key.

    `rate` holds for all its senders together, `rate_per_ip` for each address that sends with it;
    None is what the gateway does by itself for a key of this type.
    """

    name: str
    type: KeyType
    secrets: tuple[Secret, ...]
    allowed_origins: tuple[str, ...] = ()
    rate: Rate = Rate()
    rate_per_ip: Rate | None = None


class EventDefinition(Struct, frozen=True):
    """An event that a person defined: a name, and the slug that S2S senders use for it."""

    slug: str
    name: str
    revenue: bool = False
    accept: Literal["any", "server"] = "any"
    archived: bool = False


class S2S(Struct, frozen=True):
    """The S2S settings of an app: on or off, dev keys, callers' addresses."""

    enabled: bool = False
    dev_keys: tuple[Secret, ...] = ()
    allowed_ips: tuple[str, ...] = ()


class AnalyticsJs(Struct, frozen=True):
    """What pages get of an app: the script, the server's cookie, and another way past a blocker."""

    enabled: bool = True
    cookie: bool = True
    second_path: bool = True


class ProfileSettings(Struct, frozen=True):
    """Whether it is kept of an app who its users are."""

    enabled: bool = True


class Filter(Struct, frozen=True, rename={"except_": "except"}):
    """Which events a destination gets. Empty means all; names ignore case and spacing."""

    types: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    except_: tuple[str, ...] = ()


class ConsentRegions(Struct, frozen=True):
    """Where an event needs a consent, and what becomes of one without (see kit/consent.py).

    `needed_in` are codes of regions. `is_needed_unknown`: also where no place is known. `drops`:
    such an event is not sent; else it is, without what is personal. `country_fields` and
    `personal_fields` are paths of the event, beside those that are known for that.
    """

    needed_in: tuple[str, ...]
    is_needed_unknown: bool = True
    drops: bool = False
    country_fields: tuple[str, ...] = ()
    personal_fields: tuple[str, ...] = ()


class Destination(Struct, frozen=True):
    """A configured service that events go to.

    `uid` is never used twice: the same id made again later is another destination.
    `since` is the snapshot that created it: it gets events accepted under that one and later.
    `playbook` is the deployed revision as JSON, empty for the kind's own form of an event;
    `shadow` is a revision that runs beside it and sends nothing. `deny_fields` and `hash_fields`
    are paths of the event (see kit/protection.py).
    """

    uid: int
    app: str
    id: str
    name: str
    kind: str
    enabled: bool
    settings: bytes
    filter: Filter
    order: Order
    consent: tuple[str, ...]
    historical: bool
    since: int
    playbook: bytes = b""
    revision: int = 0
    shadow: bytes = b""
    shadow_revision: int = 0
    deny_fields: tuple[str, ...] = ()
    hash_fields: tuple[str, ...] = ()
    consent_regions: ConsentRegions | None = None


class App(Struct, frozen=True, dict=True):
    """A configured origin of events, with everything that decides about them.

    `suppressed` are the people whose events go nowhere: keyed digests of 16 bytes each.
    """

    id: str
    name: str
    platform: str
    currency: str
    currencies: tuple[str, ...]
    unknown_events: UnknownEvents
    clock_shift_hours_max: float
    dedupe_days: float
    rate: Rate
    s2s: S2S
    keys: tuple[Key, ...]
    events: tuple[EventDefinition, ...]
    destinations: tuple[Destination, ...]
    suppressed: bytes = b""
    analytics_js: AnalyticsJs = AnalyticsJs()
    profiles: ProfileSettings = ProfileSettings()

    @cached_property
    def events_by_slug(self) -> dict[str, EventDefinition]:
        """The definitions, by slug."""
        return {event.slug: event for event in self.events}

    @cached_property
    def events_by_name(self) -> dict[str, EventDefinition]:
        """The definitions, by folded name."""
        return {fold_name(event.name): event for event in self.events}


class Plan(Struct, frozen=True):
    """What the organisation may use."""

    features: tuple[str, ...] = ("s2s", "rest", "bulk", "push")
    events_per_month_max: int | None = None


class Snapshot(Struct, frozen=True, dict=True):
    """One immutable version of the catalog. `suppression_key` makes the digests of people."""

    version: int
    organisation: str
    plan: Plan
    apps: tuple[App, ...]
    suppression_key: bytes = b""

    @cached_property
    def apps_by_id(self) -> dict[str, App]:
        """The apps, by id."""
        return {app.id: app for app in self.apps}

    @cached_property
    def keys_by_digest(self) -> dict[bytes, tuple[App, Key, Secret]]:
        """Every API key of every app, by the digest of its secret."""
        return {
            s.digest: (app, key, s) for app in self.apps for key in app.keys for s in key.secrets
        }

    def find_key(self, secret: str, now_ms: int) -> tuple[App, Key] | None:
        """Return the app and key that a presented write key opens, or None.

        The lookup is by digest, so its time says nothing about the secret.
        """
        found = self.find_secret(secret, now_ms)
        return None if found is None else (found[0], found[1])

    def find_secret(self, secret: str, now_ms: int) -> tuple[App, Key, Secret] | None:
        """Return also which of the key's secrets was presented."""
        found = self.keys_by_digest.get(digest(secret))
        return found if found is not None and found[2].holds_at(now_ms) else None


def fold_name(name: str) -> str:
    """Return a name as names are compared: ignoring case, spaces, `_` and `-`."""
    return "".join(ch for ch in name.casefold() if ch not in " _-\t")


@lru_cache(maxsize=4096)
def networks(ranges: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse addresses and CIDR ranges; `ValueError` names the one that is none."""
    return tuple(ip_network(text, strict=False) for text in ranges)


@lru_cache(maxsize=65536)
def is_address_in(address: str, ranges: tuple[str, ...]) -> bool:
    """Say whether an address lies in one of the ranges (IPv4-mapped IPv6 counts as IPv4)."""
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks(ranges))
