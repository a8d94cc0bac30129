"""The database's structure: made and moved by one linear history of migrations, the same on both databases."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from kernel.errors import InvalidError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision; going back is for tests."""
    config = _config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        if revision == "base" or (_current(engine) or "") > revision != "head":
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def require_current(engine: Engine) -> None:
    """Raise `InvalidError` unless the database has the structure that this program knows."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    current = _current(engine)
    if current != head:
        done = "was never initialised: run `privgate-gateway init`" if current is None else "is of another version"
        raise InvalidError(f"the database {done}; `privgate-gateway migrate` brings it to {head}")


def _current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
