"""A work: one commit, never silent; upkeep through a door of its own; readings that change nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError

from audit.entry import Entry
from gateway.records import PersonRecord, TaskKind, TaskRecord, TaskState
from gateway.storage import tables
from gateway.storage.engine import build_engine
from gateway.unit_of_work import Database, Surroundings, UnloggedChangeError
from kernel.clock import ManualClock
from kernel.errors import StaleError
from kernel.ids import CredentialId, PrincipalId, TaskId, TenantId, VersionId
from policies.events import CredentialRevoked
from tests.support.budgets import fresh
from tests.support.databases import sqlite


class BrokenError(Exception):
    """What a test raises inside a work."""


def person(tenant: TenantId) -> PersonRecord:
    """Somebody."""
    return PersonRecord(principal=PrincipalId.new(os.urandom), tenant=tenant, name="Ada", salt=os.urandom(32))


def event() -> CredentialRevoked:
    """Any fact for the log."""
    return CredentialRevoked(credential=fresh(CredentialId))


def count(database: Database, table: str) -> int:
    """How many rows a table has."""
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.metadata.tables[table])).scalar_one())


def test_a_change_without_an_entry_is_refused_and_leaves_nothing(database: Database, tenant: TenantId) -> None:
    """No change is silent: the commit raises, and the change is gone."""

    def change_silently() -> None:
        with database.work(tenant) as work:
            work.people.insert(person(tenant))
            work.commit("silent")

    with pytest.raises(UnloggedChangeError, match="logs nothing"):
        change_silently()
    assert count(database, "person") == 0


def test_change_and_entry_come_together(database: Database, tenant: TenantId) -> None:
    """After the commit both are there, and the tenant's entries are numbered on."""
    before = count(database, "log_entry")
    with database.work(tenant) as work:
        work.people.insert(person(tenant))
        first, second = work.record(event()), work.record(event())
        work.commit("person")
    assert second.seq == first.seq + 1
    assert (count(database, "person"), count(database, "log_entry")) == (1, before + 2)


@pytest.mark.parametrize("raises", [True, False])
def test_leaving_without_a_commit_rolls_back(database: Database, tenant: TenantId, raises: bool) -> None:
    """An error, or a service that forgot: neither change nor entry, no gap in the numbers, no lock left behind."""
    before = count(database, "log_entry")
    lost: list[Entry] = []

    def leave() -> None:
        with database.work(tenant) as work:
            work.people.insert(person(tenant))
            lost.append(work.record(event()))
            if raises:
                raise BrokenError

    with pytest.raises(BrokenError) if raises else contextlib.nullcontext():
        leave()
    assert (count(database, "person"), count(database, "log_entry")) == (0, before)
    with database.work(tenant) as work:
        assert work.record(event()).seq == lost[0].seq
        work.commit("next")


def test_what_follows_a_commit_happens_after_it_and_never_without_it(database: Database, tenant: TenantId) -> None:
    """Callbacks of a work that rolled back never run."""
    ran: list[str] = []
    with database.work(tenant) as work:
        work.after_commit(lambda: ran.append("lost"))
        work.record(event())
    with database.work(tenant) as work:
        work.after_commit(lambda: ran.append("kept"))
        work.record(event())
        assert ran == []
        work.commit("kept")
        assert ran == ["kept"]


def test_all_entries_of_a_work_carry_one_time(database: Database, tenant: TenantId, clock: ManualClock) -> None:
    """The clock may move on meanwhile."""
    with database.work(tenant) as work:
        first = work.record(event())
        clock.advance(60)
        second = work.record(event())
        work.commit("time")
    for entry in (first, second):
        assert b"2026-11-23T09:30:00Z" in entry.payload


def task(tenant: TenantId) -> TaskRecord:
    """A queued task."""
    return TaskRecord(
        id=fresh(TaskId),
        tenant=tenant,
        kind=TaskKind.SEAL,
        subject=str(fresh(VersionId)),
        state=TaskState.QUEUED,
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


def test_upkeep_commits_at_its_end_without_an_entry(database: Database, tenant: TenantId) -> None:
    """Also when the block is left by a return; rolled back when it raises."""

    def claim() -> TaskRecord | None:
        with database.upkeep("claim") as work:
            return work.tasks.claim("worker", work_time, 30)

    def finish_and_break(claimed: TaskRecord) -> None:
        with database.upkeep("lost") as work:
            work.tasks.finish(claimed)
            raise BrokenError

    queued = task(tenant)
    work_time = queued.created_at
    before = count(database, "log_entry")
    with database.upkeep("enqueue") as work:
        work.tasks.enqueue(queued)
    claimed = claim()
    assert claimed is not None
    with database.read() as reading:
        stored = reading.tasks.for_subject(queued.subject)
    assert stored is not None
    assert (stored.state, stored.worker, stored.fence) == (TaskState.LEASED, "worker", 1)
    with pytest.raises(BrokenError):
        finish_and_break(claimed)
    with database.read() as reading:
        assert reading.tasks.for_subject(queued.subject) == stored
    assert count(database, "log_entry") == before


def test_the_door_of_upkeep_leads_to_nothing_that_governs(database: Database) -> None:
    """Leases and progress; no budget, no policy, no people, no key."""
    with database.upkeep("look") as work:
        assert set(vars(work)) == {"tasks", "progress"}


def test_a_reading_is_one_consistent_snapshot(database: Database, tenant: TenantId) -> None:
    """What commits meanwhile is not seen by a reading that has begun."""
    with database.read() as reading:
        before = reading.people.all(tenant=tenant)
        with database.work(tenant) as work:
            work.people.insert(person(tenant))
            work.record(event())
            work.commit("meanwhile")
        assert reading.people.all(tenant=tenant) == before
    with database.read() as reading:
        assert len(reading.people.all(tenant=tenant)) == 1


def test_nothing_is_changed_through_a_reading(database: Database, tenant: TenantId) -> None:
    """Whatever a reading writes is refused by the database, or gone with the reading."""
    with database.reading() as connection:
        try:
            connection.execute(insert(tables.person).values(principal="x", tenant=tenant, name="x", salt=b""))
        except DBAPIError:
            assert connection.dialect.name == "postgresql"
    assert count(database, "person") == 0


@dataclass
class Points:
    """Remembers where it was struck, and ends the work at one name."""

    at: str
    passed: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if name == self.at:
            raise BrokenError


@pytest.mark.parametrize(("at", "rows"), [("person:before-commit", 0), ("person:committed", 1)])
def test_each_commit_has_a_named_point_on_both_sides(tmp_path: Path, clock: ManualClock, at: str, rows: int) -> None:
    """Struck before it, nothing is there; struck after it, everything is."""
    points = Points(at)
    with sqlite(tmp_path) as url:
        database = Database(build_engine(url), Surroundings(clock, os.urandom, points))
        made = TenantId.new(os.urandom)

        def found() -> None:
            with database.work(made) as work:
                work.tenants.add(made, work.now)
                work.record(event())
                work.commit("person")

        with pytest.raises(BrokenError):
            found()
        assert count(database, "tenant") == rows
        points.at = ""
        with database.upkeep("beat"):
            pass
        assert points.passed[-2:] == ["beat:before-commit", "beat:committed"]
        database.dispose()


def test_a_stale_row_version_is_found(database: Database, tenant: TenantId) -> None:
    """Two who read the same row: the second to write learns that it changed."""
    with database.work(tenant) as work:
        work.people.insert(found := person(tenant))
        work.record(event())
        work.commit("person")
    with database.work(tenant) as work, pytest.raises(StaleError):
        work.people.change({"principal": found.principal, "name": "Bob"}, name="Carol")
    with database.writing() as connection:
        connection.execute(update(tables.person).values(name="Bob"))
    with database.read() as reading:
        assert reading.people.get(principal=found.principal).name == "Bob"
