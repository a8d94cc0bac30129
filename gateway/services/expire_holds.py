"""Use case: give back the holds of jobs that did not start in time."""

from __future__ import annotations

from gateway.records import JobState, TaskState
from gateway.services.collaborators import Collaborators
from kernel.ids import JobId, PopulationId
from privacy.budget import ledger
from privacy.budget.reservations import ReservationState
from privacy.events.jobs import JobEnd, JobEnded

MOST_AT_ONCE = 100


def expire_holds(on: Collaborators) -> int:
    """Expire what is due; a job that a worker has just taken up is left to that worker.

    Returns:
        How many holds were given back.
    """
    now = on.clock.now()
    with on.database.read() as reading:
        due = reading.ledger.expirable(now, MOST_AT_ONCE)
    return sum(_expire(on, population, job) for population, job in due)


def _expire(on: Collaborators, population: PopulationId, job: JobId) -> bool:
    with on.database.read() as reading:
        tenant = reading.jobs.get(id=job).tenant
    with on.database.work(tenant) as work:
        standing = work.ledger.lock(population, job=job)
        task = work.tasks.hold(job)
        held = standing.reservation is not None and standing.reservation.state is ReservationState.HELD
        if not held or task is None or task.state is not TaskState.QUEUED:
            return False
        change = ledger.expire(standing, now=work.now)
        if change is None:
            return False
        work.ledger.append(change)
        work.record(change.event, correlation=job)
        work.tasks.cancel(job)
        work.jobs.change({"id": job}, state=JobState.CANCELLED, ended_at=work.now)
        work.progress.add(job, JobState.CANCELLED, 0, work.now)
        work.record(JobEnded(job=job, end=JobEnd.CANCELLED, attempts=0, steps_started=0), correlation=job)
        work.commit("expire")
    return True
