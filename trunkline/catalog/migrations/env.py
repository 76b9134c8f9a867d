"""What Alembic runs a migration with: the connection it is handed, inside its transaction.

Without a connection it writes SQL for the dialect it is told, which is how a test proves that the
same revisions make a PostgreSQL schema.
"""

from __future__ import annotations

from alembic import context

from trunkline.catalog.tables import Table

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(
        dialect_name=context.config.get_main_option("dialect"),
        target_metadata=Table.metadata,
        literal_binds=True,
    )
else:
    context.configure(connection=connection, target_metadata=Table.metadata)
with context.begin_transaction():
    context.run_migrations()
