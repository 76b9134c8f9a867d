"""Rates of keys: for all senders of a key together, and for each address."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

COLUMNS = (("rate", "{}"), ("rate_per_ip", '"default"'))


def upgrade() -> None:
    """Add to every key that no rate was set for it."""
    for column, default in COLUMNS:
        op.add_column("api_key", sa.Column(column, sa.JSON, nullable=False, server_default=default))


def downgrade() -> None:
    """Take them away: no key has a rate."""
    for column, _ in reversed(COLUMNS):
        op.drop_column("api_key", column)
