"""The newest keyring generation that this database has seen: an older keyring put in its place is refused."""

from __future__ import annotations

from sqlalchemy import select, update

from gateway.storage.tables import keyring_state
from gateway.unit_of_work import Database


def remembered_generation(database: Database) -> int:
    """Return the newest generation; 0 before the first."""
    with database.reading() as connection:
        return int(connection.execute(select(keyring_state.c.generation)).scalar_one())


def remember_generation(database: Database, generation: int) -> None:
    """Store a generation unless a newer one is known."""
    with database.writing() as connection:
        newer = keyring_state.c.generation < generation
        connection.execute(update(keyring_state).where(newer).values(generation=generation))
