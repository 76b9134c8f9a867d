"""First-party Analytics.js: what pages get of an app."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add to every app that nothing was set, which means the defaults."""
    op.add_column("app", sa.Column("analytics_js", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("app", "analytics_js")
