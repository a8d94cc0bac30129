"""Build the certificate of a settled job from what is stored; nothing in it is typed here by hand.

Rules
-----
1. The second accountant agreed before the envelope was opened; its figures are handed in, never asked for afterwards.
2. The certificate is made inside the transaction that charges, because it cites the charge's entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

from gateway.records import DatasetRecord, JobRecord, VersionRecord
from gateway.services.certified_facts import engine_facts, model_facts, selection_facts
from gateway.services.collaborators import Collaborators
from gateway.services.opinions import SecondOpinion
from gateway.unit_of_work import Work
from kernel.amounts import Delta
from kernel.canonical import Digest
from kernel.events import Parameter
from kernel.ids import ApprovalId, DecisionId, ReleaseId, Slug
from privacy.accounting.mechanisms import MechanismUse
from privacy.budget.balances import Account
from privacy.budget.populations import Budget, Population
from privacy.budget.reservations import Reservation, Settled
from privacy.jobs.kinds import kind_named
from privacy.jobs.plan import Plan
from privacy.jobs.planning import trained_plan
from privacy.release import certificate as c
from privacy.release.check import alone_at, unamplified, uses_by_block
from privacy.release.settlement import Charge
from privacy.selftest.report import SelfTest
from privacy.units import PrivacyUnit

_TWELVE_DIGITS = Context(prec=12, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What the certificate of one job rests on."""

    job: JobRecord
    plan: Plan
    version: VersionRecord
    release: ReleaseId
    account: Account
    reservation: Reservation
    charge_leaf: Digest
    policy_epoch: int
    opinion: SecondOpinion
    self_test: SelfTest | None = None
    candidate: tuple[int, ...] | None = None


def certify(
    on: Collaborators, work: Work, settlement: Charge, facts: CertificateFacts
) -> tuple[c.PrivacyCertificate, bytes]:
    """Return the certificate and its signed envelope."""
    artifact_name = kind_named(facts.job.kind).artifact
    certificate = c.PrivacyCertificate.of(settlement, artifact_name, _predicate(on, work, settlement, facts))
    return certificate, certificate.sign(on.certificate_signer).to_bytes()


def _predicate(on: Collaborators, work: Work, settlement: Charge, facts: CertificateFacts) -> c.Predicate:
    job, account = facts.job, facts.account
    population, budget = account.population, account.population.budget
    mechanisms = tuple(
        c.ChargedMechanism(block=hold.block, earlier=hold.earlier, mechanism=hold.mechanism.repeated(charge.times))
        for hold, charge in zip(settlement.holds, settlement.charges, strict=True)
        if charge.times
    )
    alone = alone_of(uses_by_block(mechanisms), budget.delta, facts.opinion)
    reservation = facts.reservation
    return c.Predicate(
        tenant=job.tenant,
        release=facts.release,
        job=job.id,
        kind=Slug(job.kind),
        decision=DecisionId(reservation.decision),
        dataset=c.DatasetFacts(id=job.dataset, version=facts.version.id, manifest=reservation.manifest),
        population=population_facts(population, work.datasets.get(id=job.dataset)),
        request=job.request_digest,
        model=model_facts(job, facts.plan),
        mechanisms=mechanisms,
        engine=engine_facts(facts.plan, facts.candidate),
        selection=selection_facts(facts.plan, facts.candidate),
        guarantee=guarantee_of(budget, settlement.settled),
        this_job_alone=alone,
        agreement=agreement_of(facts.opinion),
        evidence=c.EvidenceFacts(
            origin=Slug(on.origin),
            decision=reservation.decision_leaf,
            reserve=job.reserve_leaf or reservation.decision_leaf,
            charge=facts.charge_leaf,
        ),
        approvals=tuple(ApprovalId(a.id) for a in work.approvals.all(job=job.id)),
        policy_epoch=facts.policy_epoch,
        uncovered_since=account.uncovered_since,
        software=on.software,
        self_test=_self_test(facts, alone),
        not_covered=tuple(c.NotCovered),
        issued_at=work.now,
    )


def population_facts(population: Population, dataset: DatasetRecord) -> c.PopulationFacts:
    """Who is protected."""
    return c.PopulationFacts(
        id=population.id,
        unit=population.unit_noun,
        unit_domain=population.unit_domain,
        adjacency=population.adjacency,
        rows_per_unit=PrivacyUnit.from_json(dataset.unit).rows_per_unit,
        public_size=population.public_size,
        holdout_share=population.holdout_share,
    )


def guarantee_of(budget: Budget, settled: Settled) -> c.Guarantee:
    """The headline of a charge."""
    return c.Guarantee(
        epsilon=budget.epsilon,
        delta=budget.delta,
        order=budget.order,
        before=settled.before,
        charge=settled.charge,
        capacity=budget.capacity,
        ledger_seq=settled.ledger_seq,
    )


def agreement_of(opinion: SecondOpinion) -> c.AgreementFacts:
    """What the second accountant said."""
    return c.AgreementFacts(library=opinion.library, version=opinion.version, order=opinion.order, rdp=opinion.rdp)


def alone_of(blocks: Sequence[tuple[MechanismUse, ...]], delta: Delta, opinion: SecondOpinion) -> c.ThisJobAlone:
    """The job by itself."""
    alone = alone_at(blocks, delta)
    return c.ThisJobAlone(
        epsilon=alone.epsilon,
        delta=alone.delta,
        order=alone.order,
        unamplified_epsilon=alone_at(map(unamplified, blocks), delta).epsilon,
        pld_epsilon=opinion.pld_epsilon,
        pld_library=Slug(f"{opinion.library}-{opinion.version}"),
    )


def _self_test(facts: CertificateFacts, alone: c.ThisJobAlone) -> c.SelfTestFacts:
    if facts.self_test is None:
        return c.SelfTestFacts(ran=False)
    noise = trained_plan(facts.plan).gradient_noise
    return c.SelfTestFacts.of(facts.self_test, Parameter(_TWELVE_DIGITS.plus(noise)), alone)
