"""Making the snapshot that the data plane reads, and keeping the last one for when the database
is away.

The cache is one file: a line that says its format, then the snapshot, sealed whole, because it
holds what destinations are signed in with.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from sqlalchemy.orm import Session

from trunkline.catalog.revision_rows import read_contents, read_kits_by_digest
from trunkline.catalog.shaping_params import Shaping, given_params
from trunkline.catalog.store import group, rows_of, unseal_settings, version_row
from trunkline.catalog.suppression_rows import read_suppressed
from trunkline.catalog.tables import (
    AppRow,
    DestinationRow,
    DevKeyRow,
    EventRow,
    KeyRow,
    KeySecretRow,
)
from trunkline.catalog.vault import Vault, replace_private
from trunkline.catalog.workspace import reveal
from trunkline.kit.suppression import PURPOSE
from trunkline.kits.kit import settings_connection
from trunkline.model.snapshot import (
    S2S,
    AnalyticsJs,
    App,
    ConsentRegions,
    Destination,
    EventDefinition,
    Filter,
    Key,
    Plan,
    ProfileSettings,
    Rate,
    Secret,
    Snapshot,
)
from trunkline.state.home import Home

CACHE_HEADER = b"trunkline snapshot 1\n"
EMPTY = Snapshot(version=0, organisation="", plan=Plan(), apps=())

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


class CacheError(Exception):
    """The cached snapshot cannot be used; the message says why."""


def build_snapshot(session: Session, vault: Vault) -> Snapshot:
    """Return the snapshot of what the database holds, as one moment of it.

    Raises `VaultError` where a destination's secrets cannot be unsealed. Secrets whose end came
    before the last change are left out.
    """
    catalog = version_row(session)
    since_ms = catalog.changed_ms
    dev_keys = group(rows_of(session, DevKeyRow, DevKeyRow.id), "app_id")
    secrets = group(rows_of(session, KeySecretRow, KeySecretRow.id), "key_id")
    keys = group(rows_of(session, KeyRow, KeyRow.id), "app_id")
    events = group(rows_of(session, EventRow, EventRow.id), "app_id")
    destinations = group(rows_of(session, DestinationRow, DestinationRow.uid), "app_id")
    shapes = _Shapes(session, [row for rows in destinations.values() for row in rows])
    people = read_suppressed(session)
    return Snapshot(
        version=catalog.version,
        organisation=catalog.organisation,
        plan=Plan(tuple(catalog.features), catalog.events_per_month_max),
        suppression_key=vault.derive(PURPOSE) if people else b"",
        apps=tuple(
            _app(
                row,
                _secrets(dev_keys[row.id], since_ms),
                tuple(_key(key, _secrets(secrets[key.id], since_ms)) for key in keys[row.id]),
                tuple(_event(event) for event in events[row.id]),
                tuple(
                    _destination(found, shapes, vault, row.consent_regions)
                    for found in destinations[row.id]
                ),
                people.get(row.id, b""),
            )
            for row in rows_of(session, AppRow, AppRow.since, AppRow.id)
        ),
    )


def _secrets(rows: list[DevKeyRow] | list[KeySecretRow], since_ms: int) -> tuple[Secret, ...]:
    live = [row for row in rows if row.until_ms is None or row.until_ms > since_ms]
    return tuple(Secret(row.digest, row.until_ms) for row in live)


def _app(
    row: AppRow,
    dev_keys: tuple[Secret, ...],
    keys: tuple[Key, ...],
    events: tuple[EventDefinition, ...],
    destinations: tuple[Destination, ...],
    suppressed: bytes,
) -> App:
    return App(
        id=row.id,
        name=row.name,
        platform=row.platform,
        currency=row.currency,
        currencies=tuple(row.currencies),
        unknown_events=row.unknown_events,  # pyright: ignore[reportArgumentType] checked when stored
        clock_shift_hours_max=row.clock_shift_hours_max,
        dedupe_days=row.dedupe_days,
        rate=Rate(row.events_per_second_max, row.burst),
        s2s=S2S(row.s2s_enabled, dev_keys, tuple(row.allowed_ips)),
        keys=keys,
        events=events,
        destinations=destinations,
        suppressed=suppressed,
        analytics_js=AnalyticsJs(**row.analytics_js),
        profiles=ProfileSettings(row.profiles_enabled),
    )


def _key(row: KeyRow, secrets: tuple[Secret, ...]) -> Key:
    return Key(
        name=row.name,
        type=row.type,  # pyright: ignore[reportArgumentType] checked when stored
        secrets=secrets,
        allowed_origins=tuple(row.allowed_origins),
        rate=Rate(**row.rate),
        rate_per_ip=_rate_per_ip(row.rate_per_ip),
    )


def _rate_per_ip(stored: str | dict[str, Any]) -> Rate | None:
    if isinstance(stored, str):
        return None if stored == "default" else Rate()
    return Rate(**stored)


def _event(row: EventRow) -> EventDefinition:
    return EventDefinition(
        slug=row.slug,
        name=row.name,
        revenue=row.revenue,
        accept=row.accept,  # pyright: ignore[reportArgumentType] checked when stored
        archived=row.archived,
    )


class _Shapes:
    """What shapes the events of the destinations: contents of revisions and kits, read at once."""

    def __init__(self, session: Session, rows: list[DestinationRow]) -> None:
        self._contents = read_contents(session)
        self._kits = read_kits_by_digest(session, [_kit_key(row) for row in rows if row.kit_digest])

    def content(self, row: DestinationRow, number: int) -> bytes:
        """Return a revision of a destination; empty for number 0, the kind's own form."""
        return self._contents[row.uid, number].encode() if number else b""

    def fill(self, row: DestinationRow, settings: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return the settings with the kit's connection and defaults in them, and the playbook.

        A kit's playbook is what its destinations have before one of their own is deployed.
        """
        own = self.content(row, row.revision)
        if row.kit_digest is None:
            return settings, own
        kit = self._kits[_kit_key(row)]
        playbook = msgspec.json.decode(own) if own else kit["playbook"]
        connection = settings_connection(kit)
        shaping = Shaping(playbook, connection, given_params(settings))
        filled = {**settings, "connection": connection, "params": shaping.values}
        return filled, msgspec.json.encode(shaping.whole_playbook)


def _kit_key(row: DestinationRow) -> tuple[str, str]:
    return str(row.settings.get("kit")), cast(str, row.kit_digest)


def _destination(
    row: DestinationRow, shapes: _Shapes, vault: Vault, regions_of_app: dict[str, Any] | None
) -> Destination:
    settings, playbook = shapes.fill(row, reveal(unseal_settings(row, vault)))
    return Destination(
        uid=row.uid,
        app=row.app_id,
        id=row.id,
        name=row.name or row.id,
        kind=row.kind,
        enabled=row.enabled,
        settings=msgspec.json.encode(settings),
        filter=Filter(
            types=tuple(row.filter_types),
            events=tuple(row.filter_events),
            except_=tuple(row.filter_except),
        ),
        order=row.event_order,  # pyright: ignore[reportArgumentType] checked when stored
        consent=tuple(row.consent),
        historical=row.historical,
        since=row.since,
        playbook=playbook,
        revision=row.revision,
        shadow=shapes.content(row, row.shadow_revision),
        shadow_revision=row.shadow_revision,
        deny_fields=tuple(row.deny_fields),
        hash_fields=_hash_fields(row.hash_fields),
        consent_regions=_consent_regions(
            regions_of_app if row.consent_regions is None else row.consent_regions
        ),
    )


def _consent_regions(stored: dict[str, Any] | None) -> ConsentRegions | None:
    """Return what holds; none where consent is needed nowhere."""
    if stored is None or not stored["needed_in"]:
        return None
    return ConsentRegions(
        needed_in=tuple(stored["needed_in"]),
        is_needed_unknown=stored["unknown"] == "needed",
        drops=stored["without"] == "drop",
        country_fields=tuple(stored["country_fields"]),
        personal_fields=tuple(stored["personal_fields"]),
    )


def _hash_fields(given: str | list[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        return () if given == "none" else (given,)
    return tuple(given)


def write_cache(home: Home, vault: Vault, snapshot: Snapshot) -> None:
    """Keep a snapshot for a start without the database. Raises `OSError`."""
    sealed = vault.seal(_ENCODER.encode(snapshot))
    replace_private(home.snapshot_file, CACHE_HEADER + sealed)


def read_cache(home: Home, vault: Vault) -> Snapshot:
    """Return the snapshot that was kept. Raises `CacheError`, `VaultError` or `OSError`."""
    data = home.snapshot_file.read_bytes()
    if not data.startswith(CACHE_HEADER):
        raise CacheError(f"{home.snapshot_file} is of another format; it is made again by itself")
    try:
        return _DECODER.decode(vault.open(data[len(CACHE_HEADER) :]))
    except msgspec.DecodeError as error:
        raise CacheError(f"{home.snapshot_file} cannot be read: {error}") from error
