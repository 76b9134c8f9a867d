"""Data protection: what destinations are not to see, and people whose events go nowhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"

COLUMNS = (("deny_fields", "[]"), ("hash_fields", '"none"'))


def upgrade() -> None:
    """Add the table, and to every destination that it sees everything, as before."""
    for column, default in COLUMNS:
        op.add_column(
            "destination", sa.Column(column, sa.JSON, nullable=False, server_default=default)
        )
    op.create_table(
        "suppression",
        sa.Column(
            "app_id",
            sa.String(15),
            sa.ForeignKey("app.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("added_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Take them away: every destination sees everything, and nobody is suppressed."""
    op.drop_table("suppression")
    for column, _ in reversed(COLUMNS):
        op.drop_column("destination", column)
