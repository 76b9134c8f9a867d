"""Profiles: an app says whether they are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add to every app that its profiles are kept."""
    op.add_column(
        "app",
        sa.Column("profiles_enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column("app", "profiles_enabled")
