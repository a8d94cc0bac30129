"""Marking the populations of an exact job, and whether it may still go on.

Rules
-----
1. The mark is durable before anything can be decrypted: it is made in the work that stores the upload which completes
   the first round. From there on the key holder may know a sum, whatever becomes of the job (RULES 20).
2. A job is decided once more, for every dataset, whenever a round is opened and when its result comes: whatever was
   taken back meanwhile, a grant, a dataset, somebody's access, ends it there.
3. So does a site that attested other rows since the job was admitted: agents compute on what they attested last, and
   the certificate names what was attested then.
"""

from __future__ import annotations

from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import priced_as
from gateway.services.collections.papers import Papers
from gateway.services.collections.paying import is_noised, lock_in_order
from gateway.services.deciding import Caller
from gateway.unit_of_work import Work
from policies.vocabulary import Action, JobKind
from privacy.budget import ledger
from privacy.homomorphic.requests.spec import CollectionSpec


def lock_populations(work: Work, papers: Papers) -> None:
    """Take the populations' locks, in one order; before the job's row is locked."""
    lock_in_order(work, [site.population for site in papers.sites], papers.job.id)


def mark_populations(work: Work, papers: Papers) -> None:
    """Mark every population of the job, unless it is marked; the populations are locked."""
    for site in papers.sites:
        if site.uncovered_seq is not None:
            continue
        change = ledger.mark_uncovered(work.ledger.read(site.population, job=papers.job.id), papers.job.id)
        work.ledger.append(change)
        leaf = work.record(change.event, correlation=papers.job.id).leaf_hash
        work.job_sites.change(
            {"job": site.job, "number": site.number},
            uncovered_seq=change.event.ledger_seq,
            uncovered_leaf=leaf,
        )


def is_settled(papers: Papers) -> bool:
    """Whether a sum may be decrypted: every population is marked, or holds what a noised job may cost."""
    if is_noised(papers.job):
        return all(site.reserve_leaf is not None for site in papers.sites)
    return all(site.uncovered_seq is not None for site in papers.sites)


def may_go_on(on: Collaborators, work: Work, papers: Papers) -> bool:
    """Whether every dataset still allows the job; what is decided here is logged in the work, which commits it."""
    if any(work.datasets.get(id=site.dataset).current_version != site.version for site in papers.sites):
        return False
    job, spec = papers.job, CollectionSpec.from_json(papers.job.spec)
    trainer = Caller(job.tenant, job.principal)
    answers = [
        on.decider.decide_in(
            work, trainer, Action.JOB_QUOTE, dataset=dataset, purpose=job.purpose, job_kind=JobKind(job.kind),
            job=job.id, **priced_as(spec),
        )
        for dataset in spec.datasets
    ]  # fmt: skip
    return all(answer.denial is None for answer in answers)
