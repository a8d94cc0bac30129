"""Runs migrations on the connection that `gateway.storage.schema` hands over; there is no other way in."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from gateway.storage import collection_tables, inference_tables  # noqa: F401 - their tables are part of the structure
from gateway.storage.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
