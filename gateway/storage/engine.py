"""Database engines with the settings that make a commit durable and a writer serial.

Rules
-----
1. SQLite: WAL, `synchronous=FULL`, foreign keys, and every writing transaction begins IMMEDIATE, because a deferred one
   that turns into a writer fails with "database is locked" regardless of any timeout.
2. PostgreSQL: READ COMMITTED with explicit row locks taken in one order (`gateway.unit_of_work`, rule 3);
   `synchronous_commit=on`.
3. An error of the database names the statement, never its parameters.
4. A connection is either a reader or a writer for its whole life in a transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.pool import StaticPool

BUSY_MILLISECONDS = 30_000
MEMORY = "sqlite://"


def build_engine(url: str, *, pool_size: int = 8) -> Engine:
    """Build an engine for `url`; `sqlite://` alone is one shared in-memory database (demonstrations and tests)."""
    if is_sqlite_url(url):
        return _sqlite(url)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": "-c synchronous_commit=on -c lock_timeout=30s"},
    )


def is_sqlite(connection: Connection) -> bool:
    """Whether statements with row locks must be left out (SQLite has one writer anyway)."""
    return connection.dialect.name == "sqlite"


def is_sqlite_url(url: str) -> bool:
    """Whether an address is SQLite's, which has one writer."""
    return url.startswith("sqlite")


def is_sqlite_file(engine: Engine) -> bool:
    """Whether the database is a SQLite file, which several connections may have open."""
    return engine.dialect.name == "sqlite" and not isinstance(engine.pool, StaticPool)


def begin_writing(connection: Connection) -> None:
    """Make the connection's transaction the writer from its first statement."""
    if is_sqlite(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))


def begin_reading(connection: Connection) -> None:
    """Open a consistent snapshot for reading."""
    if is_sqlite(connection):
        connection.exec_driver_sql("BEGIN DEFERRED")
    else:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def _sqlite(url: str) -> Engine:
    arguments: dict[str, Any] = {
        "connect_args": {"check_same_thread": False, "timeout": BUSY_MILLISECONDS / 1000},
        "hide_parameters": True,
    }
    if url == MEMORY:
        arguments["poolclass"] = StaticPool
    engine = create_engine(url, **arguments)
    event.listen(engine, "connect", _configure_sqlite)
    # SQLAlchemy would emit its own BEGIN; `begin_writing` and `begin_reading` say which kind it is.
    event.listen(engine, "begin", _no_automatic_begin)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_MILLISECONDS}",
        "trusted_schema=OFF",
        # Without it `INSERT OR REPLACE` removes a row and no trigger hears of it.
        "recursive_triggers=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _no_automatic_begin(_connection: Connection) -> None:
    return
