"""The tables of the catalog's database. Plain SQL types, so SQLite and PostgreSQL both hold them.

A secret stands here twice: as its SHA-256 (to look a key up by, and to know a revoked one again)
and sealed by the home's key (`vault`), because it must be exported or sent.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Where SQLAlchemy keeps what the tables look like."""


class VersionRow(Table):
    """One row: the catalog's version, and what belongs to all apps."""

    __tablename__ = "catalog"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    changed_ms: Mapped[int] = mapped_column(BigInteger)
    organisation: Mapped[str] = mapped_column(String(128))
    features: Mapped[list[str]] = mapped_column(JSON)
    events_per_month_max: Mapped[int | None] = mapped_column(BigInteger)


class AppRow(Table):
    """An app. `since` is the version that made it."""

    __tablename__ = "app"
    id: Mapped[str] = mapped_column(String(15), primary_key=True)
    since: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(128))
    platform: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    currencies: Mapped[list[str]] = mapped_column(JSON)
    unknown_events: Mapped[str] = mapped_column(String(16))
    clock_shift_hours_max: Mapped[float] = mapped_column(Double)
    dedupe_days: Mapped[float] = mapped_column(Double)
    events_per_second_max: Mapped[float | None] = mapped_column(Double)
    burst: Mapped[int | None] = mapped_column(BigInteger)
    s2s_enabled: Mapped[bool]
    allowed_ips: Mapped[list[str]] = mapped_column(JSON)
    analytics_js: Mapped[dict[str, bool]] = mapped_column(JSON, server_default="{}")
    profiles_enabled: Mapped[bool] = mapped_column(server_default=true())
    consent_regions: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class KeyRow(Table):
    """An API key. `rate` has the fields that are not null; `rate_per_ip` may be a word instead."""

    __tablename__ = "api_key"
    __table_args__ = (UniqueConstraint("app_id", "name"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    type: Mapped[str] = mapped_column(String(16))
    allowed_origins: Mapped[list[str]] = mapped_column(JSON)
    rate: Mapped[dict[str, Any]] = mapped_column(JSON, server_default="{}")
    rate_per_ip: Mapped[dict[str, Any] | str] = mapped_column(JSON, server_default='"default"')


class KeySecretRow(Table):
    """A secret of an API key. No two keys share one: it says which key was used."""

    __tablename__ = "api_key_secret"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    until_ms: Mapped[int | None] = mapped_column(BigInteger)


class DevKeyRow(Table):
    """A dev key of an app."""

    __tablename__ = "dev_key"
    __table_args__ = (UniqueConstraint("app_id", "digest"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"))
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    until_ms: Mapped[int | None] = mapped_column(BigInteger)


class RevokedRow(Table):
    """A secret that opens nothing any more and never will again."""

    __tablename__ = "revoked_secret"
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    app_id: Mapped[str] = mapped_column(String(15))
    name: Mapped[str] = mapped_column(String(128))
    revoked_ms: Mapped[int] = mapped_column(BigInteger)


class SuppressionRow(Table):
    """A person whose events go nowhere, as a keyed digest. `kind`: user, anonymous or email."""

    __tablename__ = "suppression"
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    added_ms: Mapped[int] = mapped_column(BigInteger)


class EventRow(Table):
    """An event that a person defined."""

    __tablename__ = "event_definition"
    __table_args__ = (UniqueConstraint("app_id", "slug"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"), index=True)
    slug: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(128))
    revenue: Mapped[bool]
    accept: Mapped[str] = mapped_column(String(16))
    archived: Mapped[bool]


class DestinationRow(Table):
    """A destination. `uid` is never given twice, so that the same id later is another one.

    `settings` has null where a secret belongs; `sealed` holds those as [[path, text], …].
    `consent_regions` is null where the app's hold.
    `revision` is the deployed one, 0 for the kind's own form; `shadow_revision` 0 for none;
    `kit_digest` the content of the kit that it works with, where its kind takes a kit.
    """

    __tablename__ = "destination"
    # AUTOINCREMENT: without it SQLite gives the highest number again once its row is deleted.
    __table_args__ = (UniqueConstraint("app_id", "id"), {"sqlite_autoincrement": True})
    uid: Mapped[int] = mapped_column(Integer, primary_key=True)
    app_id: Mapped[str] = mapped_column(ForeignKey("app.id", ondelete="CASCADE"), index=True)
    id: Mapped[str] = mapped_column(String(64))
    since: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(64))
    enabled: Mapped[bool]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    filter_types: Mapped[list[str]] = mapped_column(JSON)
    filter_events: Mapped[list[str]] = mapped_column(JSON)
    filter_except: Mapped[list[str]] = mapped_column(JSON)
    event_order: Mapped[str] = mapped_column(String(16))
    consent: Mapped[list[str]] = mapped_column(JSON)
    historical: Mapped[bool]
    deny_fields: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    hash_fields: Mapped[list[str] | str] = mapped_column(JSON, server_default='"none"')
    revision: Mapped[int] = mapped_column(Integer, server_default="0")
    shadow_revision: Mapped[int] = mapped_column(Integer, server_default="0")
    kit_digest: Mapped[str | None] = mapped_column(String(16))
    consent_regions: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class RevisionRow(Table):
    """A revision of a destination's playbook. Written once, never changed."""

    __tablename__ = "playbook_revision"
    __table_args__ = (UniqueConstraint("destination_uid", "number"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    destination_uid: Mapped[int] = mapped_column(ForeignKey("destination.uid", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    author: Mapped[str] = mapped_column(String(128))
    note: Mapped[str] = mapped_column(String(500))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(16))


class DeploymentRow(Table):
    """One time that another revision of a destination came into force, by which deed of whom."""

    __tablename__ = "playbook_deployment"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    destination_uid: Mapped[int] = mapped_column(
        ForeignKey("destination.uid", ondelete="CASCADE"), index=True
    )
    deed: Mapped[str] = mapped_column(String(16))
    author: Mapped[str] = mapped_column(String(128))
    note: Mapped[str] = mapped_column(String(500))
    at_ms: Mapped[int] = mapped_column(BigInteger)
    from_revision: Mapped[int] = mapped_column(Integer)
    to_revision: Mapped[int] = mapped_column(Integer)


class KitRow(Table):
    """A content of a kit. One that is not the newest stays while a destination works with it.

    That of a shipped kit is never the newest, so that an imported one goes before it;
    `imported_ms` is 0.
    """

    __tablename__ = "kit"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(16), primary_key=True)
    title: Mapped[str] = mapped_column(String(256))
    content: Mapped[str] = mapped_column(Text)
    imported_ms: Mapped[int] = mapped_column(BigInteger)
    is_newest: Mapped[bool]
