"""Admitting a job on data of sites: every dataset has allowed it, and the parties get their order.

Rules
-----
1. The order is made in the work of the last decision, from what is stored: nobody types a member of it.
2. Each site's version is the one that it attested last; the order does not name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from gateway.collection_records import DocumentRecord
from gateway.records import JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.planning import PlannedCollection, attested_version, planned_again
from gateway.services.deciding import Answer
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.ids import Slug
from privacy.events.collections import OrderIssued
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import SiteMember
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.homomorphic.registry import profile_of


def admit(
    on: Collaborators, work: Work, job: JobRecord, answers: Sequence[Answer], reserved: Sequence[Digest] = ()
) -> None:
    """Issue the order, in the work that decided.

    Args:
        on: Collaborators.
        work: The open work.
        job: Its row, locked.
        answers: The decision of each dataset, in the order of the request; all of them allow it.
        reserved: The reservation of each population, if the result has noise: the order opens the envelope.

    Raises:
        ConflictError: A site has attested nothing, or a party was disabled meanwhile.
    """
    planned = planned_again(on, work, job.tenant, job.spec)
    order = _order(on, work, job, planned, answers)
    signed = order.signed(on.certificate_signer)
    for number, (site, answer) in enumerate(zip(planned.sites, answers, strict=True)):
        version, manifest = attested_version(work, site.dataset)
        work.job_sites.change(
            {"job": job.id, "number": number},
            version=version.id,
            manifest=manifest,
            decision=answer.decision.decision,
            decision_leaf=answer.entry.leaf_hash,
            reserve_leaf=reserved[number] if reserved else None,
        )
    work.documents.insert(
        DocumentRecord(
            job=job.id,
            kind=DocumentKind.ORDER.value,
            number=0,
            party="",
            tenant=job.tenant,
            digest=order.digest,
            received=Digest.of(signed),
            content=signed,
            created_at=work.now,
        )
    )
    epoch = answers[0].decision.epoch
    work.jobs.change({"id": job.id}, state=JobState.COLLECTING, started_at=work.now, policy_epoch=epoch)
    deadline = work.now + timedelta(seconds=order.round_seconds)
    work.collections.change({"job": job.id}, deadline=deadline)
    work.progress.add(job.id, JobState.COLLECTING, 0, work.now)
    work.record(_issued(order), correlation=job.id)


def _order(
    on: Collaborators, work: Work, job: JobRecord, planned: PlannedCollection, answers: Sequence[Answer]
) -> Order:
    spec, approvals = planned.spec, sorted(work.approvals.all(job=job.id), key=lambda given: given.id)
    weights = spec.question.weights_of(len(planned.sites))
    return Order(
        job=job.id,
        gateway=on.origin,
        kind=Slug(job.kind),
        spec=spec.to_json(),
        spec_digest=spec.digest,
        plan=planned.plan.to_json(),
        outcome=Outcome(spec.result.value),
        profile=spec.profile,
        profile_digest=profile_of(spec.profile).digest,
        key_holder=planned.key_holder.member,
        sites=tuple(
            SiteMember(
                member=site.party.member,
                dataset=site.dataset.id,
                population=site.dataset.population,
                weight=weight,
                least_persons=spec.least_persons,
            )
            for site, weight in zip(planned.sites, weights, strict=True)
        ),
        decisions=tuple(answer.entry.leaf_hash for answer in answers),
        approvals=tuple(given.leaf for given in approvals if given.leaf is not None),
        rounds_at_most=planned.plan.rounds,
        dropouts=spec.question.missing,
        round_seconds=spec.round_seconds,
    )


def _issued(order: Order) -> OrderIssued:
    return OrderIssued(
        job=order.job,
        order=order.digest,
        participants=order.participants,
        profile=order.profile,
        key_holder=order.key_holder.party,
        exact=order.outcome is Outcome.EXACT,
    )
