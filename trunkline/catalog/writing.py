"""Writing the changes of a plan into the database.

Three steps, each flushed, because names and secrets are unique: what goes, goes first; then a
secret that changes hands leaves its old key; then everything takes its place, parents first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct
from sqlalchemy import delete, inspect
from sqlalchemy.orm import Session

from trunkline.catalog.plan import Change, OrganisationSpec
from trunkline.catalog.revision_rows import content_of, digest_of, find_revision
from trunkline.catalog.store import SecretRow, group, rows_of, seal_settings, version_row
from trunkline.catalog.tables import (
    AppRow,
    DeploymentRow,
    DestinationRow,
    DevKeyRow,
    EventRow,
    KeyRow,
    KeySecretRow,
    RevisionRow,
)
from trunkline.catalog.vault import Vault
from trunkline.catalog.workspace import (
    AppSpec,
    ConsentRegionsSpec,
    DestinationSpec,
    EventSpec,
    KeySpec,
    Previous,
    RateSpec,
    SecretText,
)
from trunkline.model.snapshot import digest


class Cause(Struct, frozen=True):
    """Who changes the catalog, by which deed, and why: kept with revisions and deployments."""

    deed: Literal["apply", "save", "deploy", "rollback", "shadow"] = "apply"
    author: str = ""
    note: str = ""


class Wanted(Struct, frozen=True):
    """A secret as it is to stand in the database."""

    text: str
    until_ms: int | None

    def __repr__(self) -> str:
        return "•••"


class Writer:
    """Writes the changes of one plan in one transaction. `version` is the one they make."""

    def __init__(
        self, session: Session, vault: Vault, version: int, now_ms: int, cause: Cause
    ) -> None:
        self._session = session
        self._vault = vault
        self._version = version
        self._now_ms = now_ms
        self._cause = cause

    def write(self, changes: Sequence[Change]) -> None:
        """Write changes. What the database refuses raises an error of SQLAlchemy."""
        for change in reversed(changes):
            if change.new is None:
                self._remove(change)
        rows = _Rows(self._session)
        self._release_secrets(changes, rows)
        for kind in (OrganisationSpec, AppSpec, KeySpec, EventSpec, DestinationSpec):
            for change in changes:
                if isinstance(change.new, kind):
                    self._put(change, change.new, rows)
            self._session.flush()
        self._put_secrets(changes, rows)
        self._session.flush()

    def _remove(self, change: Change) -> None:
        app, identity = change.app, change.id
        statements = {
            "app": delete(AppRow).where(AppRow.id == identity),
            "key": delete(KeyRow).where(KeyRow.app_id == app, KeyRow.name == identity),
            "event": delete(EventRow).where(EventRow.app_id == app, EventRow.slug == identity),
            "destination": delete(DestinationRow).where(
                DestinationRow.app_id == app, DestinationRow.id == identity
            ),
        }
        self._session.execute(statements[change.kind])

    # ── secrets ──

    def _release_secrets(self, changes: Sequence[Change], rows: _Rows) -> None:
        for change, wanted in _secrets_of(changes):
            for row in rows.secrets_of(change):
                if row.digest not in wanted:
                    self._put_out(row)
        self._session.flush()

    def _put_out(self, row: SecretRow) -> None:
        """End a secret. One that had an end stays, to be known when an older file brings it."""
        if row.until_ms is None:
            self._session.delete(row)
        else:
            row.until_ms = min(row.until_ms, self._now_ms)

    def _put_secrets(self, changes: Sequence[Change], rows: _Rows) -> None:
        for change, wanted in _secrets_of(changes):
            for row in rows.secrets_of(change):
                found = wanted.pop(row.digest, None)
                if found is not None:
                    row.until_ms = found.until_ms
            for key, value in wanted.items():
                self._session.add(self._secret_row(change, key, value, rows))

    def _secret_row(self, change: Change, key: bytes, value: Wanted, rows: _Rows) -> SecretRow:
        sealed, until_ms = self._vault.seal(value.text.encode()), value.until_ms
        if change.kind == "app":
            return DevKeyRow(app_id=change.id, digest=key, sealed=sealed, until_ms=until_ms)
        key_id = rows.keys[change.app, change.id].id
        return KeySecretRow(key_id=key_id, digest=key, sealed=sealed, until_ms=until_ms)

    # ── entries ──

    def _put(self, change: Change, spec: Struct, rows: _Rows) -> None:
        if isinstance(spec, OrganisationSpec):
            self._put_organisation(spec)
        elif isinstance(spec, AppSpec):
            self._put_app(change.id, spec, rows)
        elif isinstance(spec, KeySpec):
            self._put_key(change.app, spec, rows)
        elif isinstance(spec, EventSpec):
            self._put_event(change.app, change.id, spec, rows)
        elif isinstance(spec, DestinationSpec):
            self._put_destination(change.app, spec, rows)

    def _put_organisation(self, spec: OrganisationSpec) -> None:
        row = version_row(self._session)
        row.organisation = spec.name
        row.features = list(spec.plan.features)
        row.events_per_month_max = spec.plan.events_per_month_max

    def _put_app(self, identity: str, spec: AppSpec, rows: _Rows) -> None:
        row = rows.apps.get(identity) or AppRow(id=identity, since=self._version)
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
        row.analytics_js = msgspec.structs.asdict(spec.analytics_js)
        row.consent_regions = _plain_regions(spec.consent_regions)
        row.profiles_enabled = spec.profiles.enabled
        self._session.add(row)

    def _put_key(self, app: str, spec: KeySpec, rows: _Rows) -> None:
        place = (app, spec.name)
        row = rows.keys.setdefault(place, KeyRow(app_id=app, name=spec.name))
        row.type = spec.type
        row.allowed_origins = list(spec.allowed_origins)
        row.rate = _plain_rate(spec.rate)
        per_ip = spec.rate_per_ip
        row.rate_per_ip = per_ip if isinstance(per_ip, str) else _plain_rate(per_ip)
        self._session.add(row)

    def _put_event(self, app: str, slug: str, spec: EventSpec, rows: _Rows) -> None:
        row = rows.events.get((app, slug)) or EventRow(app_id=app, slug=slug)
        row.name = spec.name
        row.revenue = spec.revenue
        row.accept = spec.accept
        row.archived = spec.archived
        self._session.add(row)

    def _put_destination(self, app: str, spec: DestinationSpec, rows: _Rows) -> None:
        found = rows.destinations.get((app, spec.id))
        row = found or DestinationRow(app_id=app, id=spec.id, since=self._version)
        row.name = spec.name
        row.kind = spec.kind
        row.enabled = spec.enabled
        row.settings, row.sealed = seal_settings(spec.settings, self._vault)
        row.filter_types = list(spec.filter.types)
        row.filter_events = list(spec.filter.events)
        row.filter_except = list(spec.filter.except_)
        row.event_order = spec.order
        row.consent = list(spec.consent)
        row.consent_regions = _plain_regions(spec.consent_regions)
        row.historical = spec.historical
        row.deny_fields = list(spec.deny_fields)
        row.hash_fields = _plain_hashes(spec.hash_fields)
        row.kit_digest = spec.kit_digest
        row.shadow_revision = cast(int | None, spec.shadow) or 0
        before, row.revision = (row.revision if found else 0), spec.revision or 0
        self._session.add(row)
        self._session.flush()  # a new one has its uid now
        if spec.revision is not None:
            self._put_revision(row.uid, spec.revision, cast(dict[str, Any], spec.playbook))
        if row.revision != before:
            self._put_deployment(row, before)

    def _put_revision(self, uid: int, number: int, tree: dict[str, Any]) -> None:
        if find_revision(self._session, uid, number) is None:
            self._session.add(
                revision_row(uid, number, content_of(tree), self._cause, self._now_ms)
            )

    def _put_deployment(self, row: DestinationRow, before: int) -> None:
        self._session.add(
            DeploymentRow(
                destination_uid=row.uid,
                deed=self._cause.deed,
                author=self._cause.author,
                note=self._cause.note,
                at_ms=self._now_ms,
                from_revision=before,
                to_revision=row.revision,
            )
        )


def _plain_rate(rate: RateSpec) -> dict[str, Any]:
    return {k: v for k, v in msgspec.structs.asdict(rate).items() if v is not None}


def _plain_regions(spec: ConsentRegionsSpec | None) -> dict[str, Any] | None:
    return None if spec is None else msgspec.to_builtins(spec)


def _plain_hashes(given: str | Sequence[str]) -> str | list[str]:
    return given if isinstance(given, str) else list(given)


def revision_row(uid: int, number: int, content: str, cause: Cause, now_ms: int) -> RevisionRow:
    """Return the row of a new revision."""
    return RevisionRow(
        destination_uid=uid,
        number=number,
        author=cause.author,
        note=cause.note,
        created_ms=now_ms,
        content=content,
        digest=digest_of(content),
    )


class _Rows:
    """Every row that may be changed, by what a plan calls it."""

    def __init__(self, session: Session) -> None:
        self.apps = {row.id: row for row in rows_of(session, AppRow)}
        self.keys = {(row.app_id, row.name): row for row in rows_of(session, KeyRow)}
        self.events = {(row.app_id, row.slug): row for row in rows_of(session, EventRow)}
        self.destinations = {(row.app_id, row.id): row for row in rows_of(session, DestinationRow)}
        self._key_secrets = group(rows_of(session, KeySecretRow), "key_id")
        self._dev_keys = group(rows_of(session, DevKeyRow), "app_id")

    def secrets_of(self, change: Change) -> Sequence[SecretRow]:
        """Return the secrets that an app (its dev keys) or a key has now."""
        if change.kind == "app":
            return _living(self._dev_keys[change.id])
        key = self.keys.get((change.app, change.id))
        return [] if key is None else _living(self._key_secrets[key.id])


def _living(rows: Iterable[SecretRow]) -> list[SecretRow]:
    """Leave out what an earlier step deleted: such a row is kept in memory, but no more."""
    return [row for row in rows if not inspect(row).was_deleted]


def _secrets_of(changes: Sequence[Change]) -> list[tuple[Change, dict[bytes, Wanted]]]:
    found: list[tuple[Change, dict[bytes, Wanted]]] = []
    for change in changes:
        if isinstance(change.new, KeySpec):
            found.append((change, _wanted(change.new.secret, change.new.secret_previous)))
        elif isinstance(change.new, AppSpec):
            s2s = change.new.s2s
            found.append((change, _wanted(s2s.dev_key, s2s.dev_key_previous)))
    return found


def _wanted(secret: SecretText | None, previous: Previous | None) -> dict[bytes, Wanted]:
    wanted: dict[bytes, Wanted] = {}
    if previous is not None:
        wanted[digest(previous.secret.text)] = Wanted(previous.secret.text, previous.until.ms)
    if secret is not None:
        wanted[digest(secret.text)] = Wanted(secret.text, None)
    return wanted
