"""The lease queue: one worker at a time, a fence against late ones, nothing forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from gateway.records import TaskKind, TaskRecord, TaskState
from gateway.unit_of_work import Database
from kernel.errors import StaleError
from kernel.ids import TaskId, TenantId, VersionId
from tests.support.budgets import fresh

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
LEASE = 30
LATE = NOW + timedelta(seconds=LEASE + 1)


def enqueue(database: Database, tenant: TenantId, *, age: int = 0, subject: str = "") -> TaskRecord:
    """Add a task that was made `age` seconds ago."""
    record = TaskRecord(
        id=fresh(TaskId),
        tenant=tenant,
        kind=TaskKind.SEAL,
        subject=subject or str(fresh(VersionId)),
        state=TaskState.QUEUED,
        created_at=NOW - timedelta(seconds=age),
    )
    with database.upkeep("enqueue") as work:
        work.tasks.enqueue(record)
    return record


def claim(database: Database, worker: str = "one", now: datetime = NOW) -> TaskRecord | None:
    """Claim as a worker does."""
    with database.upkeep("claim") as work:
        return work.tasks.claim(worker, now, LEASE)


def must_claim(database: Database, worker: str = "one", now: datetime = NOW) -> TaskRecord:
    """Claim, and insist that there is something."""
    claimed = claim(database, worker, now)
    assert claimed is not None
    return claimed


def test_the_oldest_comes_first_and_each_once(database: Database, tenant: TenantId) -> None:
    """In the order of their making; an empty queue gives nothing."""
    young, old = enqueue(database, tenant, age=1), enqueue(database, tenant, age=9)
    assert must_claim(database).id == old.id
    assert must_claim(database, "two").id == young.id
    assert claim(database, "three") is None


def test_a_lease_says_whose_until_when_and_the_how_manieth(database: Database, tenant: TenantId) -> None:
    """Fence and attempt rise with every lease."""
    enqueue(database, tenant)
    first = must_claim(database)
    assert (first.worker, first.fence, first.attempt) == ("one", 1, 1)
    assert first.lease_until == NOW + timedelta(seconds=LEASE)
    again = must_claim(database, "two", LATE)
    assert (again.id, again.worker, again.fence, again.attempt) == (first.id, "two", 2, 2)


def test_a_lease_holds_until_its_last_second(database: Database, tenant: TenantId) -> None:
    """Nobody takes it before, anybody may after."""
    enqueue(database, tenant)
    must_claim(database)
    assert claim(database, "two", NOW + timedelta(seconds=LEASE)) is None
    assert claim(database, "two", LATE) is not None


def test_a_heartbeat_keeps_a_lease(database: Database, tenant: TenantId) -> None:
    """Extended in time it is nobody else's."""
    enqueue(database, tenant)
    leased = must_claim(database)
    with database.upkeep("heartbeat") as work:
        work.tasks.extend(leased, NOW + timedelta(seconds=LEASE - 1), LEASE)
    assert claim(database, "two", LATE) is None


@pytest.mark.parametrize("verb", ["extend", "require_fence", "give_back", "finish"])
def test_a_late_worker_is_kept_out_by_the_fence(database: Database, tenant: TenantId, verb: str) -> None:
    """After another took the task over, whatever the first one writes is stale, and changes nothing."""
    enqueue(database, tenant)
    late = must_claim(database)
    taken = must_claim(database, "two", LATE)
    more = (LATE, LEASE) if verb == "extend" else ()
    with pytest.raises(StaleError), database.upkeep(verb) as work:
        getattr(work.tasks, verb)(late, *more)
    with database.upkeep("check") as work:
        work.tasks.require_fence(taken)
        assert work.tasks.for_subject(taken.subject) == taken


def test_a_task_that_is_given_back_is_leased_anew(database: Database, tenant: TenantId) -> None:
    """At once, under a higher fence; the old lease is worth nothing."""
    enqueue(database, tenant)
    first = must_claim(database)
    with database.upkeep("retry") as work:
        work.tasks.give_back(first)
    second = must_claim(database, "two")
    assert (second.id, second.fence) == (first.id, first.fence + 1)
    with pytest.raises(StaleError), database.upkeep("late") as work:
        work.tasks.require_fence(first)


def test_what_is_done_stays_done(database: Database, tenant: TenantId) -> None:
    """Never claimed again, however late it is."""
    enqueue(database, tenant)
    with database.upkeep("finish") as work:
        work.tasks.finish(must_claim_in(work.tasks))
    assert claim(database, "two", LATE + timedelta(days=365)) is None


def must_claim_in(tasks: object) -> TaskRecord:
    """Claim within an open unit of work."""
    claimed = tasks.claim("one", NOW, LEASE)  # type: ignore[attr-defined]
    assert isinstance(claimed, TaskRecord)
    return claimed


def test_only_what_nobody_works_on_is_cancelled(database: Database, tenant: TenantId) -> None:
    """A queued task leaves the queue; a leased one is left to its worker."""
    queued, other = enqueue(database, tenant, age=1), enqueue(database, tenant)
    with database.upkeep("cancel") as work:
        work.tasks.cancel(queued.subject)
    assert must_claim(database).id == other.id
    with pytest.raises(StaleError), database.upkeep("cancel") as work:
        work.tasks.cancel(other.subject)


def test_a_subject_has_one_task(database: Database, tenant: TenantId) -> None:
    """The database refuses a second one."""
    first = enqueue(database, tenant)
    with pytest.raises(IntegrityError):
        enqueue(database, tenant, subject=first.subject)


def test_workers_at_once_never_share_a_task(database: Database, tenant: TenantId) -> None:
    """Eight threads, forty tasks: each is leased exactly once."""
    tasks = {enqueue(database, tenant).id for _ in range(40)}

    def drain(number: int) -> list[TaskId]:
        claimed = []
        while (task := claim(database, f"worker-{number}")) is not None:
            claimed.append(task.id)
        return claimed

    with ThreadPoolExecutor(8) as pool:
        found = [task for claimed in pool.map(drain, range(8)) for task in claimed]
    assert len(found) == len(tasks)
    assert set(found) == tasks


def test_a_rung_task_is_queued_once_and_again_when_it_is_done(database: Database, tenant: TenantId) -> None:
    """One for each subject; while it waits or is worked on nothing changes, and a new round begins at no attempt."""
    subject = str(fresh(VersionId))
    record = TaskRecord(
        id=fresh(TaskId), tenant=tenant, kind=TaskKind.TURN, subject=subject, state=TaskState.QUEUED, created_at=NOW
    )

    def ring() -> None:
        with database.upkeep("ring") as work:
            work.tasks.ring(replace(record, id=fresh(TaskId)))

    for _ in range(2):
        ring()
    leased = must_claim(database)
    ring()
    assert claim(database) is None
    with database.upkeep("finish") as work:
        work.tasks.finish(leased)
    assert claim(database) is None
    ring()
    again = must_claim(database)
    assert (again.id, again.attempt) == (leased.id, 1)
    assert again.fence > leased.fence
