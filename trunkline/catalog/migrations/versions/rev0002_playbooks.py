"""Playbooks: revisions and what was deployed when, kits, and what a destination works with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("playbook_revision", "playbook_deployment", "kit")
COLUMNS = ("revision", "shadow_revision", "kit_digest")


def upgrade() -> None:
    """Add the tables, and to every destination that it uses no playbook of its own."""
    op.add_column(
        "destination", sa.Column("revision", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(
        "destination", sa.Column("shadow_revision", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("destination", sa.Column("kit_digest", sa.String(16)))
    _make_revisions()
    _make_deployments()
    _make_kits()


def downgrade() -> None:
    """Take them away: every destination has its kind's own form again."""
    for table in reversed(TABLES):
        op.drop_table(table)
    for column in reversed(COLUMNS):
        op.drop_column("destination", column)


def _make_revisions() -> None:
    op.create_table(
        "playbook_revision",
        sa.Column("id", sa.Integer, primary_key=True),
        _destination_column(is_indexed=False),  # the unique pair is its index
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("digest", sa.String(16), nullable=False),
        sa.UniqueConstraint("destination_uid", "number"),
    )


def _make_deployments() -> None:
    op.create_table(
        "playbook_deployment",
        sa.Column("id", sa.Integer, primary_key=True),
        _destination_column(),
        sa.Column("deed", sa.String(16), nullable=False),
        sa.Column("author", sa.String(128), nullable=False),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("from_revision", sa.Integer, nullable=False),
        sa.Column("to_revision", sa.Integer, nullable=False),
    )


def _make_kits() -> None:
    op.create_table(
        "kit",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("digest", sa.String(16), primary_key=True),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("imported_ms", sa.BigInteger, nullable=False),
        sa.Column("is_newest", sa.Boolean, nullable=False),
    )


def _destination_column(is_indexed: bool = True) -> sa.Column[int]:
    return sa.Column(
        "destination_uid",
        sa.Integer,
        sa.ForeignKey("destination.uid", ondelete="CASCADE"),
        nullable=False,
        index=is_indexed,
    )
