"""The databases that are measured: a SQLite file, and a PostgreSQL server of our own, both with full durability."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from gateway.storage.engine import build_engine
from gateway.storage.schema import migrate
from gateway.unit_of_work import Database, Surroundings
from kernel.clock import SystemClock

DATABASES = ("sqlite", "postgresql")


def opened(name: str, folder: Path, held: ExitStack) -> Database | None:
    """Open a fresh, migrated database; nothing if its server is not here.

    Args:
        name: One of `DATABASES`.
        folder: An empty directory for its files.
        held: Closes what was opened.
    """
    url = database_url(name, folder, held)
    if url is None:
        return None
    engine = build_engine(url)
    migrate(engine)
    database = Database(engine, Surroundings(SystemClock(), os.urandom))
    held.callback(database.dispose)
    return database


def database_url(name: str, folder: Path, held: ExitStack) -> str | None:
    """The address of a fresh database; nothing if its server is not here."""
    if name == "sqlite":
        return f"sqlite:///{folder / 'bench.sqlite'}"
    from tests.support import postgres

    if postgres.binaries() is None:
        return None
    held.callback(postgres.stop)
    return held.enter_context(postgres.require(durable=True).database())
