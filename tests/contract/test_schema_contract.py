"""The one migration history, on both databases: from nothing to what the program knows, and history that stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from audit.entry import Actor
from gateway.storage import append_only
from gateway.storage.engine import begin_writing, build_engine
from gateway.storage.schema import migrate, require_current
from gateway.storage.tables import metadata
from gateway.unit_of_work import Database, Surroundings
from kernel.clock import SystemClock
from kernel.errors import InvalidError
from kernel.ids import TenantId
from policies.events import TenantCreated
from privacy.budget import ledger
from tests.support.budgets import population
from tests.support.databases import DATABASES, EMPTY_DATABASES, cases


@pytest.fixture(params=cases(EMPTY_DATABASES))
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each database before its first migration."""
    with EMPTY_DATABASES[request.param](tmp_path) as url:
        engine = build_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(params=cases(DATABASES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each database at the head, with a tenant, a policy event, a ledger, an entry, a checkpoint."""
    with DATABASES[request.param](tmp_path) as url:
        engine = build_engine(url)
        _fill(Database(engine, Surroundings(SystemClock(), os.urandom)))
        yield engine
        engine.dispose()


def _fill(database: Database) -> None:
    tenant = TenantId.new(os.urandom)
    with database.work(tenant) as work:
        work.tenants.add(tenant, work.now)
        work.policy.create(tenant)
        name = work.texts.keep(tenant, "tenant-name", "A hospital", os.urandom(32))
        created = TenantCreated(epoch=1, tenant=tenant, name=name)
        work.policy.append(tenant, created)
        work.record(created, actor=Actor())
        change = ledger.create(population(tenant=tenant))
        work.ledger.append(change)
        work.record(change.event)
        work.commit("filled")
    with database.writing() as connection:
        connection.execute(text("INSERT INTO log_checkpoint (size, note) VALUES (1, :note)"), {"note": b"note"})


def test_the_history_makes_exactly_the_tables_that_the_program_knows(empty: Engine) -> None:
    """Upgraded from nothing, nothing differs from `tables.metadata`: no table, column, type, index or constraint."""
    migrate(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    require_current(empty)


def test_check_constraints_are_those_of_the_program(empty: Engine) -> None:
    """Alembic does not compare check constraints, and one of them is the ledger's second lock."""
    migrate(empty)
    found = {
        (table, constraint["name"])
        for table in inspect(empty).get_table_names()
        for constraint in inspect(empty).get_check_constraints(table)
    }
    declared = {
        (table.name, str(constraint.name))
        for table in metadata.tables.values()
        for constraint in table.constraints
        if type(constraint).__name__ == "CheckConstraint"
    }
    assert found == declared
    assert ("budget_block", "ck_budget_block_within_capacity") in found


def test_the_history_goes_back_to_nothing(empty: Engine) -> None:
    """Down and up again ends where up alone does; nothing of ours is left in between."""
    migrate(empty)
    migrate(empty, "base")
    assert set(inspect(empty).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    migrate(empty)
    require_current(empty)


def test_a_database_of_another_version_is_refused_with_the_command_to_run(empty: Engine) -> None:
    """Neither nothing nor an unknown version is taken for the head."""
    with pytest.raises(InvalidError, match="privgate-gateway init"):
        require_current(empty)
    migrate(empty)
    with empty.connect() as connection:
        begin_writing(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
        connection.commit()
    with pytest.raises(InvalidError, match="privgate-gateway migrate"):
        require_current(empty)


@pytest.mark.parametrize("table", [*append_only.FROZEN, "log_entry"])
def test_history_refuses_to_be_changed(engine: Engine, table: str) -> None:
    """Changing, removing, replacing and emptying what governs fail inside the database, and leave every row."""
    column = "tenant" if table == "log_entry" else next(iter(metadata.tables[table].columns.keys()))
    rewrites = {
        "sqlite": f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "postgresql": f"TRUNCATE {table}",
    }
    for statement in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        rewrites[engine.dialect.name],
    ):
        with engine.connect() as connection:
            begin_writing(connection)
            before = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert before
            with pytest.raises(DBAPIError, match="history is append-only"):
                connection.execute(text(statement))
            connection.rollback()
            assert connection.execute(text(f"SELECT * FROM {table}")).all() == before


@pytest.mark.parametrize("column", append_only._ENTRY_COLUMNS)
def test_no_column_of_an_entry_changes_but_its_index(engine: Engine, column: str) -> None:
    """Each column is named by the trigger; the index alone may be given."""
    with engine.connect() as connection:
        begin_writing(connection)
        with pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text(f"UPDATE log_entry SET {column} = {column}"))
        connection.rollback()
        begin_writing(connection)
        connection.execute(text("UPDATE log_entry SET idx = row_id"))
        connection.rollback()


def test_every_column_of_an_entry_but_its_index_is_guarded() -> None:
    """A column that is added later joins the guard, or this fails."""
    assert set(append_only._ENTRY_COLUMNS) == set(metadata.tables["log_entry"].columns.keys()) - {"idx"}


def test_the_database_itself_refuses_an_overdraft(engine: Engine) -> None:
    """The second lock of RULES 1: more committed than the capacity does not go in, whatever the program says."""
    with engine.connect() as connection:
        begin_writing(connection)
        with pytest.raises(IntegrityError, match="within_capacity"):
            connection.execute(text("UPDATE budget_block SET committed = capacity + 1"))
        connection.rollback()


def test_an_error_of_the_database_shows_no_parameter(engine: Engine) -> None:
    """Parameters may be private: what SQLAlchemy says of a failed statement names none."""
    with engine.connect() as connection:
        begin_writing(connection)
        with pytest.raises(DBAPIError, match="parameters hidden") as caught:
            connection.execute(text("INSERT INTO nowhere (name) VALUES (:name)"), {"name": "secret-value"})
        connection.rollback()
    assert "secret-value" not in str(caught.value)
