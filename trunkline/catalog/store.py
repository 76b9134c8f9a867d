"""The database read as a `Workspace`, and the changes of a plan written into it.

Whole tables are read at once: a catalog is small, and a thousand apps are six queries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from trunkline.catalog.plan import Change, OrganisationSpec
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
    AppSpec,
    DestinationSpec,
    EventSpec,
    FilterSpec,
    Instant,
    KeySpec,
    PlanSpec,
    Previous,
    RateSpec,
    S2SSpec,
    SecretText,
    Workspace,
    find_secrets,
)
from trunkline.model.snapshot import digest

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
    return tuple(
        msgspec.structs.replace(
            _app_spec(row, *_secrets_of(dev_keys[row.id], vault, now_ms)),
            keys=tuple(
                _key_spec(key, *_secrets_of(secrets[key.id], vault, now_ms)) for key in keys[row.id]
            ),
            events=tuple(_event_spec(event) for event in events[row.id]),
            destinations=tuple(
                _destination_spec(destination, vault) for destination in destinations[row.id]
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
    )


def _key_spec(row: KeyRow, secret: SecretText | None, previous: Previous | None) -> KeySpec:
    return KeySpec(
        name=row.name,
        type=row.type,  # pyright: ignore[reportArgumentType] checked when stored
        secret=secret,
        secret_previous=previous,
        allowed_origins=tuple(row.allowed_origins),
    )


def _event_spec(row: EventRow) -> EventSpec:
    return EventSpec(
        slug=row.slug,
        name=row.name,
        revenue=row.revenue,
        accept=row.accept,  # pyright: ignore[reportArgumentType] checked when stored
        archived=row.archived,
    )


def _destination_spec(row: DestinationRow, vault: Vault) -> DestinationSpec:
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
        historical=row.historical,
    )


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


# ── writing ──


class Writer:
    """Writes the changes of one plan in one transaction. `version` is the one they make."""

    def __init__(self, session: Session, vault: Vault, version: int, now_ms: int) -> None:
        self._session = session
        self._vault = vault
        self._version = version
        self._now_ms = now_ms

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes: first what goes, so that its names and secrets are free."""
        for change in reversed(changes):
            if change.new is None:
                self._remove(change)
        for change in changes:
            if isinstance(change.new, KeySpec):
                self._drop_secrets(self._key_row(change), secrets_of(change.new))
        for change in changes:
            if change.new is not None:
                self._put(change.app, change.id, change.new)

    def _remove(self, change: Change) -> None:
        statements = {
            "app": delete(AppRow).where(AppRow.id == change.id),
            "key": delete(KeyRow).where(KeyRow.app_id == change.app, KeyRow.name == change.id),
            "event": delete(EventRow).where(
                EventRow.app_id == change.app, EventRow.slug == change.id
            ),
            "destination": delete(DestinationRow).where(
                DestinationRow.app_id == change.app, DestinationRow.id == change.id
            ),
        }
        self._session.execute(statements[change.kind])

    def _put(self, app: str, identity: str, spec: Struct) -> None:
        if isinstance(spec, OrganisationSpec):
            self._put_organisation(spec)
        elif isinstance(spec, AppSpec):
            self._put_app(identity, spec)
        elif isinstance(spec, KeySpec):
            self._put_key(app, spec)
        elif isinstance(spec, EventSpec):
            self._put_event(app, identity, spec)
        elif isinstance(spec, DestinationSpec):
            self._put_destination(app, spec)
        self._session.flush()

    def _put_organisation(self, spec: OrganisationSpec) -> None:
        row = version_row(self._session)
        row.organisation = spec.name
        row.features = list(spec.plan.features)
        row.events_per_month_max = spec.plan.events_per_month_max

    def _put_app(self, identity: str, spec: AppSpec) -> None:
        row = self._session.get(AppRow, identity) or AppRow(id=identity, since=self._version)
        row.name = spec.name
        row.platform = spec.platform
        row.currency = spec.currency
        row.currencies = list(spec.currencies)
        row.unknown_events = spec.unknown_events
        row.clock_shift_hours_max = spec.clock_shift_hours_max
        row.dedupe_days = spec.dedupe_days
        row.events_per_second_max = spec.rate.events_per_second_max
        row.burst = spec.rate.burst
        row.s2s_enabled = spec.s2s.enabled
        row.allowed_ips = list(spec.s2s.allowed_ips)
        self._session.add(row)
        self._session.flush()
        wanted = _wanted(spec.s2s.dev_key, spec.s2s.dev_key_previous)
        self._put_dev_keys(identity, wanted)

    def _put_dev_keys(self, app: str, wanted: dict[bytes, _Wanted]) -> None:
        query = select(DevKeyRow).where(DevKeyRow.app_id == app)
        for row in self._session.execute(query).scalars().all():
            found = wanted.pop(row.digest, None)
            if found is not None:
                row.until_ms = found.until_ms
            else:
                self._put_out(row)
        for key, value in wanted.items():
            self._session.add(
                DevKeyRow(app_id=app, digest=key, sealed=self._seal(value), until_ms=value.until_ms)
            )

    def _key_row(self, change: Change) -> KeyRow | None:
        query = select(KeyRow).where(KeyRow.app_id == change.app, KeyRow.name == change.id)
        return self._session.execute(query).scalar_one_or_none()

    def _drop_secrets(self, key: KeyRow | None, wanted: dict[bytes, _Wanted]) -> None:
        if key is None:
            return
        query = select(KeySecretRow).where(KeySecretRow.key_id == key.id)
        rows = self._session.execute(query).scalars().all()
        for row in rows:
            if row.digest not in wanted:
                self._put_out(row)
        self._session.flush()

    def _put_out(self, row: SecretRow) -> None:
        """End a secret. One that had an end stays, to be known when an older file brings it."""
        if row.until_ms is None:
            self._session.delete(row)
        else:
            row.until_ms = min(row.until_ms, self._now_ms)

    def _put_key(self, app: str, spec: KeySpec) -> None:
        query = select(KeyRow).where(KeyRow.app_id == app, KeyRow.name == spec.name)
        row = self._session.execute(query).scalar_one_or_none() or KeyRow(
            app_id=app, name=spec.name
        )
        row.type = spec.type
        row.allowed_origins = list(spec.allowed_origins)
        self._session.add(row)
        self._session.flush()
        wanted = secrets_of(spec)
        secrets = select(KeySecretRow).where(KeySecretRow.key_id == row.id)
        for secret in self._session.execute(secrets).scalars().all():
            found = wanted.pop(secret.digest, None)
            if found is not None:
                secret.until_ms = found.until_ms
        for key, value in wanted.items():
            self._session.add(
                KeySecretRow(
                    key_id=row.id, digest=key, sealed=self._seal(value), until_ms=value.until_ms
                )
            )

    def _put_event(self, app: str, slug: str, spec: EventSpec) -> None:
        query = select(EventRow).where(EventRow.app_id == app, EventRow.slug == slug)
        row = self._session.execute(query).scalar_one_or_none() or EventRow(app_id=app, slug=slug)
        row.name = spec.name
        row.revenue = spec.revenue
        row.accept = spec.accept
        row.archived = spec.archived
        self._session.add(row)

    def _put_destination(self, app: str, spec: DestinationSpec) -> None:
        query = select(DestinationRow).where(
            DestinationRow.app_id == app, DestinationRow.id == spec.id
        )
        row = self._session.execute(query).scalar_one_or_none() or DestinationRow(
            app_id=app, id=spec.id, since=self._version
        )
        row.name = spec.name
        row.kind = spec.kind
        row.enabled = spec.enabled
        row.settings, row.sealed = seal_settings(spec.settings, self._vault)
        row.filter_types = list(spec.filter.types)
        row.filter_events = list(spec.filter.events)
        row.filter_except = list(spec.filter.except_)
        row.event_order = spec.order
        row.consent = list(spec.consent)
        row.historical = spec.historical
        self._session.add(row)

    def _seal(self, wanted: _Wanted) -> bytes:
        return self._vault.seal(wanted.text.encode())


class _Wanted(Struct, frozen=True):
    """A secret as it is to stand in the database."""

    text: str
    until_ms: int | None

    def __repr__(self) -> str:
        return "•••"


def secrets_of(spec: KeySpec) -> dict[bytes, _Wanted]:
    """Return the secrets of a key by their digests."""
    return _wanted(spec.secret, spec.secret_previous)


def _wanted(secret: SecretText | None, previous: Previous | None) -> dict[bytes, _Wanted]:
    wanted: dict[bytes, _Wanted] = {}
    if previous is not None:
        wanted[digest(previous.secret.text)] = _Wanted(previous.secret.text, previous.until.ms)
    if secret is not None:
        wanted[digest(secret.text)] = _Wanted(secret.text, None)
    return wanted
