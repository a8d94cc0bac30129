"""Noised certificates of several sites against the log: course, decisions, attestations and charges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kernel.ids import PopulationId
from privacy.budget.fold import LedgerState
from privacy.budget.reservations import Reservation
from privacy.events.budget import (
    BudgetChanged,
    BudgetCharged,
    BudgetReserved,
    PopulationCreated,
    PopulationUncovered,
)
from privacy.events.sealing import SchemaDeclared
from privacy.release.certificate import ChargedMechanism
from privacy.release.noised import NoisedPredicate, NoisedSiteFacts
from privgate.verify.disclosures import (
    approval_problems,
    cited_entry,
    course_problems,
    decision_problems,
    version_problems,
)
from privgate.verify.history import History


def noised_problems(
    predicate: NoisedPredicate, history: History, ledgers: Mapping[PopulationId, LedgerState]
) -> Iterator[str]:
    """Everything that a noised certificate and the log tell differently."""
    yield from course_problems(predicate, history, exact=False)
    for site in predicate.sites:
        yield from decision_problems(predicate, site, history, exact=False)
        yield from version_problems(site, site.population.id, site.population.unit, history)
        yield from _reservation(predicate, site, history)
        yield from _charge(predicate, site, history, ledgers)
        yield from _population(site, history)
    yield from approval_problems(predicate, history)


def _reservation(predicate: NoisedPredicate, site: NoisedSiteFacts, history: History) -> Iterator[str]:
    cited = cited_entry(history, site.reserve, BudgetReserved)
    if cited is None:
        yield "a reservation that it cites is not in the log"
        return
    event = cited.event
    told = (event.job, event.population, event.request, event.manifest, event.decision, event.decision_leaf)
    stated = (predicate.job, site.population.id, predicate.request, site.manifest, site.decision, site.decision_leaf)
    if told != stated:
        yield "a reservation that it cites is of another job, population, request, version or decision"


def _charge(
    predicate: NoisedPredicate,
    site: NoisedSiteFacts,
    history: History,
    ledgers: Mapping[PopulationId, LedgerState],
) -> Iterator[str]:
    cited, guarantee = cited_entry(history, site.charge, BudgetCharged), site.guarantee
    told = None if cited is None else (cited.event.job, cited.event.population, cited.event.ledger_seq)
    if cited is None or told != (predicate.job, site.population.id, guarantee.ledger_seq):
        yield "a charge that it cites is not in the log, or of another job, population or number"
        return
    if cited.at != predicate.issued_at:
        yield "its time is not that of its charges"
    state = ledgers.get(site.population.id)
    reservation = None if state is None else state.reservations.get(predicate.job)
    if reservation is None or reservation.settled is None:
        yield "a ledger has no charge for this job"
        return
    settled = reservation.settled
    if (settled.before, settled.charge, settled.ledger_seq) != (
        guarantee.before,
        guarantee.charge,
        guarantee.ledger_seq,
    ):
        yield "a ledger gives another sum before it, charge or number than the guarantee states"
    if _charged(reservation) != site.mechanisms:
        yield "a site's mechanisms are not those that were charged"


def _population(site: NoisedSiteFacts, history: History) -> Iterator[str]:
    facts, guarantee = site.population, site.guarantee
    created = next((e.event for e in history.of(PopulationCreated) if e.event.population == facts.id), None)
    if created is None:
        yield "a population is not in the log"
        return
    told = (created.unit_noun, created.unit_domain, created.adjacency, created.public_size, created.holdout_share)
    if told != (facts.unit, facts.unit_domain, facts.adjacency, facts.public_size, facts.holdout_share):
        yield "a population was declared otherwise: unit, domain, adjacency, size or holdout"
    declared = [e.event for e in history.of(SchemaDeclared) if e.event.dataset == site.dataset]
    bound = (facts.id, facts.rows_per_unit, site.site.party)
    if [(d.population, d.rows_per_unit, d.site) for d in declared] != [bound]:
        yield "a dataset was declared with another population, number of rows per unit or site"
    changed = [e.event for e in history.of(BudgetChanged) if e.event.population == facts.id]
    before = [event for event in changed if event.ledger_seq <= guarantee.ledger_seq]
    budget = max(before, key=lambda event: event.ledger_seq) if before else created
    stated = (guarantee.epsilon, guarantee.capacity, guarantee.delta, guarantee.order)
    if stated != (budget.epsilon, budget.capacity, created.delta, created.order):
        yield "a guarantee states another budget than the population had then"
    marks = [e.event.ledger_seq for e in history.of(PopulationUncovered) if e.event.population == facts.id]
    uncovered = min((number for number in marks if number <= guarantee.ledger_seq), default=None)
    if uncovered != site.uncovered_since:
        yield "it does not say from when a population is not covered"


def _charged(reservation: Reservation) -> tuple[ChargedMechanism, ...]:
    return tuple(
        ChargedMechanism(block=hold.block, earlier=hold.earlier, mechanism=hold.mechanism.repeated(charge.times))
        for hold, charge in zip(reservation.holds, reservation.charges, strict=True)
        if charge.times
    )
