"""Regions that need a consent: what an app says of them, and what a destination does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = ("app", "destination")


def upgrade() -> None:
    """Add to every app and destination that nothing was said of it, as before."""
    for table in TABLES:
        op.add_column(table, sa.Column("consent_regions", sa.JSON, nullable=True))


def downgrade() -> None:
    """Take it away: a consent is needed nowhere."""
    for table in reversed(TABLES):
        op.drop_column(table, "consent_regions")
