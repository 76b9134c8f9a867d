"""The first tables: catalog, apps, keys, revoked secrets, event definitions, destinations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    "catalog",
    "app",
    "api_key",
    "api_key_secret",
    "dev_key",
    "revoked_secret",
    "event_definition",
    "destination",
)


def upgrade() -> None:
    """Make every table, and the one row of `catalog`: version 0."""
    _make_catalog()
    _make_app()
    _make_keys()
    _make_events()
    _make_destinations()


def downgrade() -> None:
    """Take every table away, those that point at others first."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _make_catalog() -> None:
    op.create_table(
        "catalog",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.Column("organisation", sa.String(128), nullable=False),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("events_per_month_max", sa.BigInteger),
    )
    op.execute(
        "INSERT INTO catalog (id, version, changed_ms, organisation, features) "
        """VALUES (1, 0, 0, 'Trunkline', '["s2s", "rest", "bulk", "push"]')"""
    )


def _make_app() -> None:
    op.create_table(
        "app",
        sa.Column("id", sa.String(15), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("platform", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("currencies", sa.JSON, nullable=False),
        sa.Column("unknown_events", sa.String(16), nullable=False),
        sa.Column("clock_shift_hours_max", sa.Double, nullable=False),
        sa.Column("dedupe_days", sa.Double, nullable=False),
        sa.Column("events_per_second_max", sa.Double),
        sa.Column("burst", sa.BigInteger),
        sa.Column("s2s_enabled", sa.Boolean, nullable=False),
        sa.Column("allowed_ips", sa.JSON, nullable=False),
    )


def _make_keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer, primary_key=True),
        _app_column(),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("allowed_origins", sa.JSON, nullable=False),
        sa.UniqueConstraint("app_id", "name"),
    )
    op.create_table(
        "api_key_secret",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "key_id",
            sa.Integer,
            sa.ForeignKey("api_key.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("until_ms", sa.BigInteger),
    )
    op.create_table(
        "dev_key",
        sa.Column("id", sa.Integer, primary_key=True),
        _app_column(is_indexed=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("until_ms", sa.BigInteger),
        sa.UniqueConstraint("app_id", "digest"),
    )
    op.create_table(
        "revoked_secret",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("app_id", sa.String(15), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger, nullable=False),
    )


def _make_events() -> None:
    op.create_table(
        "event_definition",
        sa.Column("id", sa.Integer, primary_key=True),
        _app_column(),
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("revenue", sa.Boolean, nullable=False),
        sa.Column("accept", sa.String(16), nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.UniqueConstraint("app_id", "slug"),
    )


def _make_destinations() -> None:
    op.create_table(
        "destination",
        sa.Column("uid", sa.Integer, primary_key=True),
        _app_column(),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(128)),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("filter_types", sa.JSON, nullable=False),
        sa.Column("filter_events", sa.JSON, nullable=False),
        sa.Column("filter_except", sa.JSON, nullable=False),
        sa.Column("event_order", sa.String(16), nullable=False),
        sa.Column("consent", sa.JSON, nullable=False),
        sa.Column("historical", sa.Boolean, nullable=False),
        sa.UniqueConstraint("app_id", "id"),
        sqlite_autoincrement=True,
    )


def _app_column(is_indexed: bool = True) -> sa.Column[str]:
    return sa.Column(
        "app_id",
        sa.String(15),
        sa.ForeignKey("app.id", ondelete="CASCADE"),
        nullable=False,
        index=is_indexed,
    )
