"""Reading jobs as others may see them: coarse, and only at ticks (RULES 14)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from gateway.records import JobRecord, JobState, ProgressRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import EXACT, datasets_of
from gateway.services.deciding import Caller
from gateway.storage.collection_tables import job_site
from gateway.storage.tables import job as job_table
from kernel.ids import DatasetId, JobId, TenantId
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Role


@dataclass(frozen=True, slots=True)
class VisibleJob:
    """A job with the state and the tenth that may be shown now."""

    record: JobRecord
    state: JobState
    percent: int
    datasets: tuple[DatasetId, ...] = ()


def visible_job(on: Collaborators, tenant: TenantId, job: JobId) -> VisibleJob:
    """Return a job as it may be seen now; raise `NotFoundError` if the tenant has none of that id."""
    now = on.clock.now()
    with on.database.read() as reading:
        record = reading.jobs.get(id=job, tenant=tenant)
        found = shown_now(record, reading.progress.visible(job, 0, now))
        return replace(found, datasets=datasets_of(reading, record))


def visible_jobs(
    on: Collaborators, caller: Caller, snapshot: PolicySnapshot, after: str | None, limit: int
) -> list[VisibleJob]:
    """A page of jobs: a trainer's own, those on an owner's datasets, a checker's exact ones, all for an auditor."""
    now = on.clock.now()
    roles = snapshot.principals[caller.principal].roles
    owned = [d.id for d in snapshot.datasets.values() if d.owner == caller.principal]
    of_sites = select(job_site.c.job).where(job_site.c.dataset.in_(owned))
    mine = (job_table.c.principal == caller.principal) | job_table.c.dataset.in_(owned) | job_table.c.id.in_(of_sites)
    seen = mine | (job_table.c.epsilon == EXACT) if Role.CHECKER in roles else mine
    conditions = () if Role.AUDITOR in roles else (seen,)
    with on.database.read() as reading:
        records = reading.jobs.page(*conditions, after=after, limit=limit, without=("spec",), tenant=caller.tenant)
        shown = [shown_now(record, reading.progress.visible(record.id, 0, now)) for record in records]
        return [replace(one, datasets=datasets_of(reading, one.record)) for one in shown]


def new_lines(on: Collaborators, job: JobId, after: int) -> list[ProgressRecord]:
    """Progress lines behind `after` that may be seen now."""
    with on.database.read() as reading:
        return reading.progress.visible(job, after, on.clock.now())


def shown_now(record: JobRecord, lines: list[ProgressRecord]) -> VisibleJob:
    """What the visible lines say of a job; before its first line it is queued, or what it was parked as."""
    if not lines:
        parked = record.state is JobState.AWAITING_APPROVAL or (record.state.ended and record.attempts == 0)
        return VisibleJob(record, record.state if parked else JobState.QUEUED, 0)
    return VisibleJob(record, lines[-1].state, lines[-1].percent)
