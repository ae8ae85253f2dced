"""Run by alembic for each upgrade: on the connection, and in the transaction, that schema.py hands over.

It sets up no logging: the program that opens a ledger has its own.
"""

from __future__ import annotations

from alembic import context

from wan_pipeline.spend import schema, tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=schema.VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
