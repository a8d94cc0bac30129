"""Ending a job on data of sites: refused, cancelled, or failed because somebody did not go on.

Rules
-----
1. A job that waits for a document past its deadline fails, whoever kept it waiting; the log says which came and when.
2. A job that was admitted with noise is charged where it ends (`paying`); the caller has locked its populations.
3. A job that failed has decrypted what it decrypted: rounds that were opened have left, and the log has them.
"""

from __future__ import annotations

from gateway.records import JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.halting import count_failure
from gateway.services.collections.paying import charge_everywhere, is_noised, lock_of_job
from gateway.storage.collection_tables import collection as collection_table
from gateway.unit_of_work import Work
from kernel.clock import format_time
from kernel.ids import JobId, ReleaseId, TenantId
from privacy.events.jobs import JobEnd, JobEnded
from privacy.homomorphic.requests.kinds import gaussians_after

MOST_AT_ONCE = 100


def end_collection(
    on: Collaborators, work: Work, job: JobRecord, state: JobState, end: JobEnd, release: ReleaseId | None = None
) -> None:
    """End a job in the work that is open; the caller has locked its populations and its row."""
    rounds = work.collections.get(job=job.id).round if is_noised(job) else 0
    used = gaussians_after(job.kind, rounds) if is_noised(job) else 0
    paid = charge_everywhere(work, job, None if end is JobEnd.FAILED else rounds) if is_noised(job) else []
    work.jobs.change({"id": job.id}, state=state, ended_at=work.now, release=release)
    if paid and end is JobEnd.FAILED:
        count_failure(on, work, job)
    work.collections.change({"job": job.id}, deadline=None)
    work.progress.add(job.id, state, 100 if end is JobEnd.FINISHED else 0, work.now)
    work.record(JobEnded(job=job.id, end=end, attempts=0, steps_started=used), correlation=job.id)


def fail_overdue(on: Collaborators) -> int:
    """Fail the jobs whose deadline has passed.

    Returns:
        How many.
    """
    now = format_time(on.clock.now())
    with on.database.read() as reading:
        found = reading.collections.all(collection_table.c.deadline < now)[:MOST_AT_ONCE]
    return sum(_fail(on, one.tenant, one.job) for one in found)


def _fail(on: Collaborators, tenant: TenantId, job: JobId) -> bool:
    with on.database.work(tenant) as work:
        lock_of_job(work, job)
        record = work.jobs.get(lock=True, id=job)
        collection = work.collections.get(job=job)
        late = collection.deadline is not None and collection.deadline < work.now
        if record.state is not JobState.COLLECTING or not late:
            return False
        end_collection(on, work, record, JobState.FAILED, JobEnd.FAILED)
        work.commit("collection-overdue")
    return True
