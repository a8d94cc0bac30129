"""Certificates of blind training against the log: request, order, each epoch, and the owner's last word.

Rules
-----
1. Each fact that the log also tells must be told alike.
2. Nothing is charged, and nothing may be: a job whose result its owner has alone touches no ledger.
3. Epochs follow each other: weights, then the gradient at them, as many as are stated, before the last word.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel.ids import PartyId
from policies.events import ApprovalGiven, DatasetRegistered, DecisionMade
from policies.vocabulary import Action, Verdict
from privacy.events.blind import (
    BlindBegun,
    BlindConcluded,
    BlindOrdered,
    BlindRequested,
    GradientMade,
    WeightsReceived,
)
from privacy.events.budget import BudgetReserved, PopulationCreated, PopulationUncovered
from privacy.events.collections import PartyEnrolled, SiteAttested
from privacy.homomorphic.documents.parties import PartyKind
from privacy.release.blind import BlindPredicate
from privgate.verify.disclosures import cited_entry
from privgate.verify.history import History


def blind_problems(predicate: BlindPredicate, history: History) -> Iterator[str]:
    """Everything that such a certificate and the log tell differently."""
    yield from _parties(predicate, history)
    yield from _decision(predicate, history)
    yield from _course(predicate, history)
    yield from _data(predicate, history)


def _parties(predicate: BlindPredicate, history: History) -> Iterator[str]:
    stated = predicate.site
    enrolled = {e.event.party: e.event for e in history.of(PartyEnrolled)}
    found = enrolled.get(PartyId(stated.party))
    if found is None or (found.kind, found.name, found.fingerprint) != (
        PartyKind.SITE,
        stated.name,
        stated.fingerprint,
    ):
        yield f"the site `{stated.name}` was not enrolled with this name and identity"
    owners = [e.event.owner for e in history.of(DatasetRegistered) if e.event.dataset == predicate.dataset]
    if found is not None and owners != [found.owner]:
        yield "the site is not that of the dataset's owner"


def _decision(predicate: BlindPredicate, history: History) -> Iterator[str]:
    cited = cited_entry(history, predicate.decision_leaf, DecisionMade)
    if cited is None or cited.event.decision != predicate.decision:
        yield "the decision that it cites is not in the log"
        return
    made, request = cited.event, cited.event.request
    if (made.verdict, request.action) != (Verdict.ALLOW, Action.JOB_SUBMIT):
        yield "the decision that it cites did not allow the job"
    told = (request.job, request.request_digest, request.dataset, request.tenant, made.epoch)
    stated = (predicate.job, predicate.request, predicate.dataset, predicate.tenant, predicate.policy_epoch)
    if told != stated or str(request.job_kind) != predicate.kind:
        yield "the decision that it cites is about another job, request, dataset, kind or epoch"
    owners = [e.event.owner for e in history.of(DatasetRegistered) if e.event.dataset == predicate.dataset]
    if owners != [request.principal]:
        yield "somebody other than the owner asked for it"


def _course(predicate: BlindPredicate, history: History) -> Iterator[str]:
    job, stated = predicate.job, predicate.course
    orders = [(e.event.order, e.event.party, e.event.profile) for e in history.of(BlindOrdered) if e.event.job == job]
    if orders != [(stated.order, predicate.site.party, predicate.encryption.profile)]:
        yield "the order that it cites is not the one that was issued"
    if [e.event.data for e in history.of(BlindBegun) if e.event.job == job] != [stated.data]:
        yield "the data that it cites are not those that came"
    ends = [
        (e.event.final, e.event.model, e.event.epochs, e.at) for e in history.of(BlindConcluded) if e.event.job == job
    ]
    if ends != [(stated.final, stated.model, stated.epochs, predicate.issued_at)]:
        yield "the owner's last word was another: document, model, epochs or time"
    steps = [
        (e.event.number, isinstance(e.event, GradientMade))
        for e in history.entries
        if isinstance(e.event, WeightsReceived | GradientMade) and e.event.job == job
    ]
    if steps != [(number, made) for number in range(1, stated.epochs + 1) for made in (False, True)]:
        yield "the log tells other epochs: weights and gradients, each once and in turn"


def _data(predicate: BlindPredicate, history: History) -> Iterator[str]:
    job = predicate.job
    asked = [
        (e.event.request, e.event.dataset, e.event.population, e.event.party)
        for e in history.of(BlindRequested)
        if e.event.job == job
    ]
    if asked != [(predicate.request, predicate.dataset, predicate.population, predicate.site.party)]:
        yield "another request, dataset, population or site was asked for"
    said = [e.event for e in history.of(SiteAttested) if e.event.version == predicate.version]
    told = [(s.dataset, s.population, s.party, s.manifest) for s in said]
    if told != [(predicate.dataset, predicate.population, predicate.site.party, predicate.manifest)]:
        yield "a version that it names was not attested by this site, with this dataset, population and manifest"
    units = [e.event.unit_noun for e in history.of(PopulationCreated) if e.event.population == predicate.population]
    if units != [predicate.unit]:
        yield "the population's unit was declared otherwise"
    given = [e.event.approval.approval for e in history.of(ApprovalGiven) if e.event.job == job]
    if set(given) != set(predicate.approvals):
        yield "its approvals are not those in the log"
    reserved = any(e.event.job == job for e in history.of(BudgetReserved))
    if reserved or any(e.event.job == job for e in history.of(PopulationUncovered)):
        yield "a ledger was touched for a result that stays with its owner"
