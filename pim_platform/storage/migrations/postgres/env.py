"""Alembic's entry: migrates over the connection that the migrator hands in, as the owner role."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, version_table="migrations", version_table_schema="pim", transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
