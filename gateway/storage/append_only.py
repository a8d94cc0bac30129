"""Triggers that refuse to change or remove history, on both databases.

The log's entries may gain an index and nothing else. Policy events, budget events and checkpoints never change.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

FROZEN = ("policy_event", "budget_event", "log_checkpoint")
_ENTRY_COLUMNS = ("row_id", "id", "tenant", "seq", "type", "payload", "salt", "leaf", "leaf_hash")


def create_triggers(connection: Connection) -> None:
    """Add the triggers."""
    make = _postgres_triggers if connection.dialect.name == "postgresql" else _sqlite_triggers
    for statement in make():
        connection.execute(text(statement))


def drop_triggers(connection: Connection) -> None:
    """Remove the triggers; for going back in tests."""
    postgres = connection.dialect.name == "postgresql"
    for table in (*FROZEN, "log_entry"):
        for verb in ("update", "delete", "truncate"):
            suffix = f" ON {table}" if postgres else ""
            connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}{suffix}"))
    if postgres:
        connection.execute(text("DROP FUNCTION IF EXISTS refuse_change()"))


def _sqlite_triggers() -> list[str]:
    refuse = "BEGIN SELECT RAISE(ABORT, 'history is append-only'); END"
    statements = [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} {refuse}"
        for table in FROZEN
        for verb in ("update", "delete")
    ]
    statements.append(f"CREATE TRIGGER log_entry_no_delete BEFORE DELETE ON log_entry {refuse}")
    columns = ", ".join(_ENTRY_COLUMNS)
    statements.append(f"CREATE TRIGGER log_entry_no_update BEFORE UPDATE OF {columns} ON log_entry {refuse}")
    return statements


def _postgres_triggers() -> list[str]:
    body = "BEGIN RAISE EXCEPTION 'history is append-only'; END"
    statements = [f"CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"]
    run = "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    statements += [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} {run}"
        for table in FROZEN
        for verb in ("update", "delete")
    ]
    statements.append(f"CREATE TRIGGER log_entry_no_delete BEFORE DELETE ON log_entry {run}")
    columns = ", ".join(_ENTRY_COLUMNS)
    statements.append(f"CREATE TRIGGER log_entry_no_update BEFORE UPDATE OF {columns} ON log_entry {run}")
    # TRUNCATE is no DELETE there.
    statements += [
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} {run}" for table in (*FROZEN, "log_entry")
    ]
    return statements
