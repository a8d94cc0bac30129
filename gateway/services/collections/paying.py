"""What a noised result costs its populations: held before the order is issued, charged when the job ends.

Rules
-----
1. All or none: the whole job is held in every population, in one work, or nothing of it anywhere.
2. The order opens the envelope: in the work that issues it every hold becomes touched, and from there on only a charge
   ends it, because a site may have sent (RULES 8).
3. A site reads whoever is in its file: both sides of a split are held, and every home block that was opened. What a
   site attests carries no map of who is at home where, and the offline replay knows the blocks of a population.
4. What is charged (RULES 11): finished or cancelled, what the rounds that were opened have used up, whole; failed,
   whatever was held. A failure counts against its trainer in each population (`halting`).
5. Populations are locked in the order of their ids, before the job's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway.collection_records import JobSiteRecord
from gateway.records import JobRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import EXACT, KEPT
from gateway.services.collections.papers import Papers
from gateway.services.collections.planning import PlannedCollection, SitePart, attested_version
from gateway.services.deciding import Answer
from gateway.unit_of_work import Work
from kernel.amounts import Delta
from kernel.canonical import Digest
from kernel.ids import JobId, PopulationId
from privacy.accounting.mechanisms import MechanismUse
from privacy.budget import ledger
from privacy.budget.balances import Account
from privacy.budget.ledger import Exhausted, Reserved
from privacy.budget.populations import Population
from privacy.budget.reservations import Block, BlockUse, Reservation, ReservationState
from privacy.homomorphic.requests.kinds import gaussians_after


@dataclass(frozen=True, slots=True)
class Paid:
    """One population's charge for a job."""

    account: Account
    reservation: Reservation
    leaf: Digest


@dataclass(frozen=True, slots=True)
class Question:
    """What a population is about to be charged, as the second accountant is asked about it."""

    population: PopulationId
    use: MechanismUse
    order: int
    delta: Delta


def is_noised(job: JobRecord) -> bool:
    """Whether a job on data of sites has a price."""
    return job.epsilon not in (EXACT, KEPT)


def lock_in_order(work: Work, populations: Sequence[PopulationId], job: JobId) -> None:
    """Take the locks of several populations, in one order for everybody."""
    for population in sorted(populations):
        work.ledger.lock(population, job=job)


def lock_of_job(work: Work, job: JobId) -> None:
    """Take the locks of a job's populations; before its row is locked."""
    lock_in_order(work, [site.population for site in work.job_sites.all(job=job)], job)


def held_uses(uses: Sequence[MechanismUse], population: Population, home: int) -> list[BlockUse]:
    """What a job holds in a population: its uses on every block whose units may be in a site's file."""
    sides = (Block.TRAIN, Block.HOLDOUT) if population.holdout_share.value else (Block.TRAIN,)
    return [BlockUse(block=side, mechanism=use).placed(home, alone=False) for side in sides for use in uses]


def agree(on: Collaborators, planned: PlannedCollection) -> None:
    """Return if the second accountant agrees with the price in every population; raise `ConflictError` otherwise."""
    if planned.priced:
        for budget in planned.budgets:
            on.second_opinion(planned.plan.uses(), budget.order, budget.delta)


def hold_everywhere(
    on: Collaborators, work: Work, job: JobRecord, planned: PlannedCollection, answers: Sequence[Answer]
) -> list[Digest] | Exhausted:
    """Hold the whole job in each population and open its envelope; nothing at all if one of them cannot hold it.

    Returns:
        The leaf hash of each reservation, in the order of the sites; or the first refusal, all of which are logged.
    """
    found = [
        _reserve(on, work, job, planned, site, answer) for site, answer in zip(planned.sites, answers, strict=True)
    ]
    refused = [one for one in found if isinstance(one, Exhausted)]
    for one in refused:
        work.record(one.refusal, correlation=job.id)
    if refused:
        return refused[0]
    return [_opened(work, job, one) for one in found if isinstance(one, Reserved)]


def _reserve(
    on: Collaborators, work: Work, job: JobRecord, planned: PlannedCollection, site: SitePart, answer: Answer
) -> Reserved | Exhausted:
    # Read anew: since the job was planned the site may have attested other rows.
    _, manifest = attested_version(work, work.datasets.get(id=site.dataset.id))
    standing = work.ledger.lock(site.dataset.population, principal=job.principal, job=job.id)
    permit = answer.permission.permit(answer.entry.leaf_hash, job.id, job.request_digest)
    uses = held_uses(planned.plan.uses(), standing.account.population, standing.account.homes)
    expires = work.now + timedelta(seconds=on.limits.hold_seconds)
    return ledger.reserve(standing, permit, uses=uses, manifest=manifest, expires_at=expires)


def _opened(work: Work, job: JobRecord, held: Reserved) -> Digest:
    assert held.change is not None  # the job was never admitted before
    work.ledger.append(held.change)
    leaf = work.record(held.change.event, correlation=job.id).leaf_hash
    touched = ledger.touch(held.change.after, attempt=1, now=work.now)
    assert touched is not None
    work.ledger.append(touched)
    work.record(touched.event, correlation=job.id)
    return leaf


def questions_of(papers: Papers) -> tuple[Question, ...]:
    """What the second accountant is asked of a job that is about to end; nothing of an exact one."""
    found = []
    for site in papers.sites:
        standing = papers.reading.ledger.read(site.population, job=papers.job.id)
        if standing.reservation is not None:
            use, budget = standing.reservation.holds[0].mechanism, standing.account.population.budget
            times = gaussians_after(papers.job.kind, papers.collection.round)
            found.append(Question(site.population, use.repeated(times), budget.order, budget.delta))
    return tuple(found)


def charge_everywhere(work: Work, job: JobRecord, rounds: int | None) -> list[Paid]:
    """Charge each population of a job that is admitted; none if it is not, or was charged before.

    Args:
        work: The open work, which has locked them.
        job: The job.
        rounds: How many rounds were opened; nothing to charge whatever is held.
    """
    sites = sorted(work.job_sites.all(job=job.id), key=lambda site: site.number)
    found = [_charge(work, job, site, rounds) for site in sites]
    return [paid for paid in found if paid is not None]


def _charge(work: Work, job: JobRecord, site: JobSiteRecord, rounds: int | None) -> Paid | None:
    standing = work.ledger.read(site.population, job=job.id)
    reservation = standing.reservation
    if reservation is None or reservation.state is not ReservationState.TOUCHED:
        return None
    if rounds is None:
        change = ledger.charge_in_full(standing)
    else:
        times = gaussians_after(job.kind, rounds)
        change = ledger.charge(standing, [times] * len(reservation.holds))
    assert change is not None and change.after.reservation is not None  # noqa: PT018 - one state: it was touched
    work.ledger.append(change)
    leaf = work.record(change.event, correlation=job.id).leaf_hash
    return Paid(change.after.account, change.after.reservation, leaf)
