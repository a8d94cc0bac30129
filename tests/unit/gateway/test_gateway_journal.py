"""The group-commit door: durable before it is answered, many to one commit, closed when it is down."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from audit.entry import Actor
from gateway import journal as journal_module
from gateway.journal import Journal
from gateway.storage import tables
from gateway.unit_of_work import Database
from kernel.errors import UnavailableError
from kernel.ids import CredentialId, TenantId
from policies.events import CredentialRevoked
from tests.support.budgets import fresh

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def entries(database: Database, tenant: TenantId) -> int:
    """How many entries of a tenant are durable."""
    query = select(func.count()).select_from(tables.log_entry).where(tables.log_entry.c.tenant == tenant)
    with database.reading() as connection:
        return int(connection.execute(query).scalar_one())


async def record(journal: Journal, tenant: TenantId) -> None:
    """Record the decision on one read."""
    await journal.record(tenant, CredentialRevoked(credential=fresh(CredentialId)), NOW, Actor())


def test_an_entry_is_durable_when_its_reader_goes_on(database: Database, tenant: TenantId) -> None:
    """Not before, and exactly once."""
    journal = Journal(database, os.urandom)
    before = entries(database, tenant)
    journal.start()
    seen = []

    async def read() -> None:
        await record(journal, tenant)
        seen.append(entries(database, tenant))

    asyncio.run(read())
    journal.stop()
    assert seen == [before + 1]


def test_what_gathers_is_committed_together(
    database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred readers cost a few commits, and the tenant's counter has no gap."""
    journal, commits = Journal(database, os.urandom), []
    really = journal._commit
    monkeypatch.setattr(journal, "_commit", lambda batch: (commits.append(len(batch)), really(batch)))
    before = entries(database, tenant)
    journal.start()

    async def read_many() -> None:
        await asyncio.gather(*(record(journal, tenant) for _ in range(100)))

    asyncio.run(read_many())
    journal.stop()
    assert sum(commits) == 100
    assert len(commits) < 50
    with database.reading() as connection:
        query = (
            select(tables.log_entry.c.seq).where(tables.log_entry.c.tenant == tenant).order_by(tables.log_entry.c.seq)
        )
        assert connection.execute(query).scalars().all() == list(range(before + 100))


def test_a_journal_that_is_down_answers_nothing(database: Database, tenant: TenantId) -> None:
    """Before its start, after its stop: reads fail closed, and the probe says so."""
    journal = Journal(database, os.urandom)
    for act in (lambda: None, journal.start, journal.stop):
        act()
        if journal.alive:
            continue
        with pytest.raises(UnavailableError):
            asyncio.run(record(journal, tenant))


def test_a_commit_that_fails_fails_its_readers_and_the_next_one_works(
    database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is answered on the strength of an entry that is not there."""
    journal, really = Journal(database, os.urandom), database.writing
    broken = iter([ConnectionError("gone")])

    def writing(*, commit: bool = True) -> object:
        for error in broken:
            raise error
        return really(commit=commit)

    before = entries(database, tenant)
    monkeypatch.setattr(database, "writing", writing)
    journal.start()
    with pytest.raises(UnavailableError):
        asyncio.run(record(journal, tenant))
    assert entries(database, tenant) == before
    asyncio.run(record(journal, tenant))
    journal.stop()
    assert entries(database, tenant) == before + 1


def test_a_full_journal_refuses_at_once(database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 now is better than an answer minutes later."""
    monkeypatch.setattr(journal_module, "MOST_WAITING", 0)
    journal = Journal(database, os.urandom)
    journal.start()
    with pytest.raises(UnavailableError):
        asyncio.run(record(journal, tenant))
    journal.stop()


def test_stopping_commits_what_waits(database: Database, tenant: TenantId) -> None:
    """An acknowledged read is never lost by a clean end, and one that waits is answered."""
    journal = Journal(database, os.urandom)
    before = entries(database, tenant)
    journal.start()

    async def read_and_stop() -> None:
        reading = [asyncio.create_task(record(journal, tenant)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(journal.stop)
        await asyncio.gather(*reading)

    asyncio.run(read_and_stop())
    assert entries(database, tenant) == before + 20
