"""The database read as a `Workspace`; `writing` is the other way.

Whole tables are read at once: a catalog is small, and a thousand apps are six queries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from trunkline.catalog.revision_rows import decode_tree, read_contents
from trunkline.catalog.tables import (
    AppRow,
    DestinationRow,
    DevKeyRow,
    EventRow,
    KeyRow,
    KeySecretRow,
    RevokedRow,
    Table,
    VersionRow,
)
from trunkline.catalog.vault import Vault
from trunkline.catalog.workspace import (
    AnalyticsJsSpec,
    AppSpec,
    ConsentRegionsSpec,
    DestinationSpec,
    EventSpec,
    FilterSpec,
    Instant,
    KeySpec,
    PlanSpec,
    Previous,
    ProfilesSpec,
    RateSpec,
    S2SSpec,
    SecretText,
    Workspace,
    find_secrets,
)

RowT = TypeVar("RowT", bound=Table)
SecretRow = KeySecretRow | DevKeyRow
DEV_KEY = ""  # the name of an app's dev key among the names of its keys


class Stored(Struct, frozen=True):
    """What the database holds. `retired` are secrets that were put out with an end, by
    (app id, key name), also those whose end has come."""

    version: int
    workspace: Workspace
    revoked: frozenset[bytes]
    retired: dict[tuple[str, str], frozenset[bytes]]


def version_row(session: Session) -> VersionRow:
    """Return the row that every change locks first, so that changes come one after another."""
    return session.execute(select(VersionRow).with_for_update()).scalar_one()


def rows_of(session: Session, table: type[RowT], *order: Any) -> Sequence[RowT]:
    """Return all rows of a table."""
    return session.execute(select(table).order_by(*order)).scalars().all()


def read_stored(session: Session, vault: Vault, now_ms: int) -> Stored:
    """Return what is configured. Overlaps that have ended are left out of the workspace."""
    catalog = version_row(session)
    return Stored(
        catalog.version,
        Workspace(
            organisation=catalog.organisation,
            plan=msgspec.convert(
                {
                    "features": catalog.features,
                    "events_per_month_max": catalog.events_per_month_max,
                },
                PlanSpec,
            ),
            apps=_read_apps(session, vault, now_ms),
        ),
        frozenset(row.digest for row in rows_of(session, RevokedRow)),
        _read_retired(session),
    )


def _read_retired(session: Session) -> dict[tuple[str, str], frozenset[bytes]]:
    retired: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    keys = {row.id: row for row in rows_of(session, KeyRow)}
    for row in rows_of(session, KeySecretRow):
        if row.until_ms is not None:
            key = keys[row.key_id]
            retired[key.app_id, key.name].add(row.digest)
    for dev_key in rows_of(session, DevKeyRow):
        if dev_key.until_ms is not None:
            retired[dev_key.app_id, DEV_KEY].add(dev_key.digest)
    return {place: frozenset(digests) for place, digests in retired.items()}


def group(rows: Iterable[RowT], attribute: str) -> dict[Any, list[RowT]]:
    """Return rows by what they belong to."""
    grouped: dict[Any, list[RowT]] = defaultdict(list)
    for row in rows:
        grouped[getattr(row, attribute)].append(row)
    return grouped


def _read_apps(session: Session, vault: Vault, now_ms: int) -> tuple[AppSpec, ...]:
    dev_keys = group(rows_of(session, DevKeyRow, DevKeyRow.id), "app_id")
    secrets = group(rows_of(session, KeySecretRow, KeySecretRow.id), "key_id")
    keys = group(rows_of(session, KeyRow, KeyRow.id), "app_id")
    events = group(rows_of(session, EventRow, EventRow.id), "app_id")
    destinations = group(rows_of(session, DestinationRow, DestinationRow.uid), "app_id")
    contents = read_contents(session)
    return tuple(
        msgspec.structs.replace(
            _app_spec(row, *_secrets_of(dev_keys[row.id], vault, now_ms)),
            keys=tuple(
                _key_spec(key, *_secrets_of(secrets[key.id], vault, now_ms)) for key in keys[row.id]
            ),
            events=tuple(_event_spec(event) for event in events[row.id]),
            destinations=tuple(
                _destination_spec(row, contents.get((row.uid, row.revision)), vault)
                for row in destinations[row.id]
            ),
        )
        for row in rows_of(session, AppRow, AppRow.since, AppRow.id)
    )


def _secrets_of(
    rows: Iterable[SecretRow], vault: Vault, now_ms: int
) -> tuple[SecretText | None, Previous | None]:
    present: SecretText | None = None
    previous: Previous | None = None
    for row in rows:
        if row.until_ms is None:
            present = SecretText(vault.open(row.sealed).decode())
        elif now_ms < row.until_ms:
            secret = SecretText(vault.open(row.sealed).decode())
            previous = Previous(secret=secret, until=Instant(row.until_ms))
    return present, previous


def _app_spec(row: AppRow, dev_key: SecretText | None, previous: Previous | None) -> AppSpec:
    return AppSpec(
        id=row.id,
        name=row.name,
        platform=row.platform,
        currency=row.currency,
        currencies=tuple(row.currencies),
        unknown_events=row.unknown_events,  # pyright: ignore[reportArgumentType] checked when stored
        clock_shift_hours_max=row.clock_shift_hours_max,
        dedupe_days=row.dedupe_days,
        rate=RateSpec(events_per_second_max=row.events_per_second_max, burst=row.burst),
        s2s=S2SSpec(
            enabled=row.s2s_enabled,
            dev_key=dev_key,
            dev_key_previous=previous,
            allowed_ips=tuple(row.allowed_ips),
        ),
        analytics_js=AnalyticsJsSpec(**row.analytics_js),
        profiles=ProfilesSpec(enabled=row.profiles_enabled),
        consent_regions=_consent_regions(row.consent_regions),
    )


def _key_spec(row: KeyRow, secret: SecretText | None, previous: Previous | None) -> KeySpec:
    return KeySpec(
        name=row.name,
        type=row.type,  # pyright: ignore[reportArgumentType] checked when stored
        secret=secret,
        secret_previous=previous,
        allowed_origins=tuple(row.allowed_origins),
        rate=RateSpec(**row.rate),
        rate_per_ip=_rate_per_ip(row.rate_per_ip),
    )


def _rate_per_ip(stored: str | dict[str, Any]) -> Any:  # checked when stored
    return stored if isinstance(stored, str) else RateSpec(**stored)


def _event_spec(row: EventRow) -> EventSpec:
    return EventSpec(
        slug=row.slug,
        name=row.name,
        revenue=row.revenue,
        accept=row.accept,  # pyright: ignore[reportArgumentType] checked when stored
        archived=row.archived,
    )


def _destination_spec(row: DestinationRow, playbook: str | None, vault: Vault) -> DestinationSpec:
    return DestinationSpec(
        id=row.id,
        name=row.name,
        kind=row.kind,
        enabled=row.enabled,
        settings=unseal_settings(row, vault),
        filter=FilterSpec(
            types=tuple(row.filter_types),  # pyright: ignore[reportArgumentType] checked when stored
            events=tuple(row.filter_events),
            except_=tuple(row.filter_except),
        ),
        order=row.event_order,  # pyright: ignore[reportArgumentType] checked when stored
        consent=tuple(row.consent),
        consent_regions=_consent_regions(row.consent_regions),
        historical=row.historical,
        deny_fields=tuple(row.deny_fields),
        hash_fields=_hash_fields(row.hash_fields),
        revision=row.revision or None,
        shadow=row.shadow_revision or None,
        kit_digest=row.kit_digest,
        playbook=None if playbook is None else decode_tree(playbook),
    )


def _consent_regions(stored: dict[str, Any] | None) -> ConsentRegionsSpec | None:
    return None if stored is None else msgspec.convert(stored, ConsentRegionsSpec)


def _hash_fields(stored: str | list[str]) -> Any:  # checked when stored
    return stored if isinstance(stored, str) else tuple(stored)


# ── settings: what is secret in them stands sealed, beside the rest ──


def seal_settings(settings: dict[str, Any], vault: Vault) -> tuple[dict[str, Any], bytes]:
    """Return settings with null for every secret, and the secrets sealed with their paths."""
    secrets = [[list(path), secret.text] for path, secret in find_secrets(settings).items()]
    return _without_secrets(settings), vault.seal(msgspec.json.encode(secrets))


def unseal_settings(row: DestinationRow, vault: Vault) -> dict[str, Any]:
    """Return settings with their secrets in place."""
    settings: Any = msgspec.json.decode(msgspec.json.encode(row.settings))
    for path, secret in msgspec.json.decode(vault.open(row.sealed)):
        holder = settings
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = SecretText(secret)
    return settings


def _without_secrets(value: Any) -> Any:
    if isinstance(value, SecretText):
        return None
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType] any JSON
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType] any JSON
    return value
