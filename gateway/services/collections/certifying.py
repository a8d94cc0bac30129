"""Build the certificate of a result of several sites from what is stored; nothing in it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.collection_records import PartyRecord
from gateway.services.certify import agreement_of, alone_of, guarantee_of, population_facts
from gateway.services.collaborators import Collaborators
from gateway.services.collections.papers import Papers
from gateway.services.collections.paying import Paid
from gateway.services.opinions import SecondOpinion
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.ids import ApprovalId, DecisionId, ReleaseId, Slug
from privacy.events.budget import PopulationUncovered
from privacy.homomorphic.observing import observers
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.questions import QUESTIONS
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.release import certificate as c
from privacy.release import disclosure as d
from privacy.release import noised as n
from privacy.release.check import uses_by_block
from privacy.release.observers import observers_of
from privacy.release.settlement import Charge, Disclosure


@dataclass(frozen=True, slots=True)
class Mark:
    """The entry that marks one population.

    Attributes:
        event, leaf: The entry.
        since: From which entry on the population is not covered.
        unit: What one of its units is called.
    """

    event: PopulationUncovered
    leaf: Digest
    since: int
    unit: Slug


def certify_disclosure(
    on: Collaborators,
    work: Work,
    settlement: Disclosure,
    papers: Papers,
    final: Digest,
    release: ReleaseId,
    marks: Sequence[Mark],
) -> bytes:
    """Return the certificate's signed envelope.

    Args:
        on: Collaborators.
        work: The work that marks and holds.
        settlement: How the outcome was settled.
        papers: The job's documents.
        final: The digest of the last of them.
        release: What is held.
        marks: The entry of each site's population, in the order of the sites.
    """
    job, order = papers.job, papers.order
    predicate = d.DisclosurePredicate(
        tenant=job.tenant,
        release=release,
        job=job.id,
        kind=Slug(job.kind),
        request=job.request_digest,
        differentially_private=False,
        key_holder=_party(papers.key_holder),
        sites=tuple(_site(work, papers, number, mark) for number, mark in enumerate(marks)),
        encryption=d.EncryptionFacts.of(order),
        course=_course(papers, final),
        observers=observers_of(CollectionKind(job.kind), profile_of(order.profile)),
        approvals=tuple(sorted(ApprovalId(given.id) for given in work.approvals.all(job=job.id))),
        policy_epoch=job.policy_epoch,
        origin=Slug(on.origin),
        software=on.software,
        not_covered=d.not_covered(d.EncryptionFacts.of(order).aggregation),
        issued_at=work.now,
    )
    name = QUESTIONS[CollectionKind(job.kind)].ARTIFACT
    return d.DisclosureCertificate.of(settlement, name, predicate).sign(on.certificate_signer).to_bytes()


def _site(work: Work, papers: Papers, number: int, mark: Mark) -> d.SiteFacts:
    part, member = papers.sites[number], papers.order.sites[number]
    if part.version is None or part.manifest is None or part.decision_leaf is None:
        raise ConflictError("this job was not admitted", field="job")
    return d.SiteFacts(
        site=_party(work.parties.get(id=part.party)),
        dataset=part.dataset,
        version=part.version,
        manifest=part.manifest,
        population=part.population,
        unit=mark.unit,
        least_persons=member.least_persons,
        decision=DecisionId(part.decision or ""),
        decision_leaf=part.decision_leaf,
        ledger_seq=mark.event.ledger_seq,
        uncovered=mark.leaf,
        uncovered_since=mark.since,
    )


def certify_noised(
    on: Collaborators,
    work: Work,
    settlements: Sequence[Charge],
    papers: Papers,
    final: Digest,
    release: ReleaseId,
    paid: Sequence[Paid],
    opinions: Sequence[SecondOpinion],
) -> bytes:
    """Return the signed envelope of a noised result's certificate.

    Args:
        on: Collaborators.
        work: The work that charges and holds.
        settlements: The charge of each population, in the order of the sites.
        papers: The job's documents.
        final: The digest of the last of them.
        release: What is held.
        paid: Where each charge stands.
        opinions: What the second accountant said of each charge.
    """
    job, order = papers.job, papers.order
    noise = papers.plan.noise
    if noise is None:
        raise ConflictError("this job's result is exact", field="job")
    count = max(charge.times for one in paid for charge in one.reservation.charges)
    present = min(len(papers.result(number + 1).added) for number in range(papers.collection.round))
    delta = min(one.account.population.budget.delta for one in paid)
    predicate = n.NoisedPredicate(
        tenant=job.tenant,
        release=release,
        job=job.id,
        kind=Slug(job.kind),
        request=job.request_digest,
        differentially_private=True,
        key_holder=_party(papers.key_holder),
        sites=tuple(
            _paid_site(work, papers, number, one, opinion)
            for number, (one, opinion) in enumerate(zip(paid, opinions, strict=True))
        ),
        noise=n.NoiseFacts.of(noise, present),
        protects=CollectionSpec.from_json(job.spec).question.protects,
        epsilons=tuple(n.ObservedFacts.of(one) for one in observers(noise, delta, present, count)),
        encryption=d.EncryptionFacts.of(order),
        course=_course(papers, final),
        observers=observers_of(CollectionKind(job.kind), profile_of(order.profile), noise.by),
        approvals=tuple(sorted(ApprovalId(given.id) for given in work.approvals.all(job=job.id))),
        policy_epoch=job.policy_epoch,
        origin=Slug(on.origin),
        software=on.software,
        not_covered=n.not_covered(n.NoiseFacts.of(noise, present)),
        issued_at=work.now,
    )
    name = QUESTIONS[CollectionKind(job.kind)].ARTIFACT
    return n.NoisedCertificate.of(settlements, name, predicate).sign(on.certificate_signer).to_bytes()


def _paid_site(work: Work, papers: Papers, number: int, paid: Paid, opinion: SecondOpinion) -> n.NoisedSiteFacts:
    part, member = papers.sites[number], papers.order.sites[number]
    population, settled = paid.account.population, paid.reservation.settled
    if part.version is None or part.manifest is None or part.decision_leaf is None or part.reserve_leaf is None:
        raise ConflictError("this job was not admitted", field="job")
    if settled is None:
        raise ConflictError("this population was not charged", field="job")
    mechanisms = tuple(
        c.ChargedMechanism(block=hold.block, earlier=hold.earlier, mechanism=hold.mechanism.repeated(charge.times))
        for hold, charge in zip(paid.reservation.holds, paid.reservation.charges, strict=True)
        if charge.times
    )
    budget = population.budget
    return n.NoisedSiteFacts(
        site=_party(work.parties.get(id=part.party)),
        dataset=part.dataset,
        version=part.version,
        manifest=part.manifest,
        population=population_facts(population, work.datasets.get(id=part.dataset)),
        least_persons=member.least_persons,
        decision=DecisionId(part.decision or ""),
        decision_leaf=part.decision_leaf,
        reserve=part.reserve_leaf,
        charge=paid.leaf,
        mechanisms=mechanisms,
        guarantee=guarantee_of(budget, settled),
        this_job_alone=alone_of(uses_by_block(mechanisms), budget.delta, opinion),
        agreement=agreement_of(opinion),
        uncovered_since=paid.account.uncovered_since,
    )


def _course(papers: Papers, final: Digest) -> d.CourseFacts:
    order, rounds = papers.order, papers.collection.round
    results = [papers.result(number + 1) for number in range(rounds)]
    return d.CourseFacts(
        order=order.digest,
        key=papers.key.digest,
        final=final,
        participants=order.participants,
        rounds=rounds,
        decryptions=results[-1].decryptions,
        learned=sum(result.learned for result in results),
    )


def _party(record: PartyRecord) -> d.PartyFacts:
    return d.PartyFacts(party=record.id, name=record.name, fingerprint=record.fingerprint)
