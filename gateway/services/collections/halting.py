"""Halting a trainer whose noised jobs fail too often: each failure may tell one bit of the rows (RULES 11)."""

from __future__ import annotations

from gateway.records import JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import EXACT, KEPT
from gateway.unit_of_work import Work
from kernel.amounts import Share
from kernel.ids import PopulationId
from privacy.budget import ledger
from privacy.events.jobs import TrainerHalted


def count_failure(on: Collaborators, work: Work, job: JobRecord) -> None:
    """After too many failures of one trainer on one population its cap falls to 0, until the owner sets another.

    The job's row says already that it failed; its populations are locked.
    """
    for site in sorted(work.job_sites.all(job=job.id), key=lambda site: site.population):
        failures = _failures(work, job, site.population)
        if failures % on.limits.faults_per_trainer:
            continue
        change = ledger.cap_trainer(work.ledger.read(site.population, job=job.id), Share.zero())
        if change is None:
            continue
        work.ledger.append(change)
        work.record(change.event, correlation=job.id)
        halted = TrainerHalted(principal=job.principal, population=site.population, failures=failures)
        work.record(halted, correlation=job.id)


def _failures(work: Work, job: JobRecord, population: PopulationId) -> int:
    failed = {
        one.id
        for one in work.jobs.all(principal=job.principal, state=JobState.FAILED)
        if one.epsilon not in (EXACT, KEPT)
    }
    return sum(site.job in failed for site in work.job_sites.all(population=population))
