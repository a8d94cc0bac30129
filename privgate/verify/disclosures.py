"""Disclosure certificates against the log: each site's decision and attestation, two approvals, and the marks.

Rules
-----
1. Each fact that the log also tells must be told alike, for each site by itself.
2. A result without noise marks each population of its job: the certificate cites these very entries (RULES 20), and a
   job that ended as finished without them is found by `unmarked`.
3. A noised one has its price held, and its holds touched, in every population before its order is issued.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeVar, cast

from kernel.canonical import Digest
from kernel.ids import JobId, PartyId, PopulationId, Slug
from policies.events import ApprovalGiven, DatasetRegistered, DecisionMade
from policies.vocabulary import Action, ApprovalVerdict, Verdict
from privacy.budget.fold import LedgerState
from privacy.events.budget import BudgetTouched, PopulationCreated, PopulationUncovered
from privacy.events.collections import (
    CollectionConcluded,
    CollectionRequested,
    KeyAnnounced,
    OrderIssued,
    PartyEnrolled,
    RoundDecrypted,
    SiteAttested,
)
from privacy.events.jobs import JobEnd, JobEnded
from privacy.homomorphic.documents.order import LEAST_SITES
from privacy.homomorphic.documents.parties import PartyKind
from privacy.release.disclosure import DisclosurePredicate, PartyFacts, SiteFacts
from privacy.release.inference import InferencePredicate
from privacy.release.noised import NoisedPredicate, NoisedSiteFacts
from privgate.verify.history import Anything, Entered, History

E = TypeVar("E")
Collected: TypeAlias = DisclosurePredicate | NoisedPredicate
Approved: TypeAlias = DisclosurePredicate | NoisedPredicate | InferencePredicate


def disclosure_problems(
    predicate: DisclosurePredicate, history: History, ledgers: Mapping[PopulationId, LedgerState]
) -> Iterator[str]:
    """Everything that a disclosure certificate and the log tell differently."""
    yield from course_problems(predicate, history, exact=True)
    for site in predicate.sites:
        yield from decision_problems(predicate, site, history, exact=True)
        yield from version_problems(site, site.population, site.unit, history)
        yield from _mark(predicate, site, history, ledgers)
    yield from approval_problems(predicate, history)
    yield from _two_people(predicate, history)


def unmarked(history: History) -> Iterator[tuple[Entered[Anything], str]]:
    """What happened before every population of a job was marked, or, of a noised one, had its hold touched.

    An order needs a request: of each of its sites, so that there are as many populations.
    """
    asked: dict[JobId, set[PopulationId]] = defaultdict(set)
    unheld: dict[JobId, set[PopulationId]] = defaultdict(set)
    waiting: dict[JobId, set[PopulationId]] = defaultdict(set)
    for entered in history.entries:
        match entered.event:
            case CollectionRequested(job=job, population=population, exact=exact):
                asked[job].add(population)
                (waiting if exact else unheld)[job].add(population)
            case BudgetTouched(job=job, population=population):
                unheld[job].discard(population)
            case OrderIssued(job=job) if len(asked[job]) < LEAST_SITES:
                yield entered, "an order was issued that fewer populations were asked for than a job must have sites"
            case OrderIssued(job=job, exact=exact) if unheld[job] or exact != bool(waiting[job]):
                yield entered, "an order was issued before every population of its job held what it may cost"
            case PopulationUncovered(job=JobId() as job, population=population):
                waiting[job].discard(population)
            case RoundDecrypted(job=job) if waiting[job]:
                yield entered, "a sum was decrypted before every population of its job was marked as uncovered"
            case JobEnded(job=job, end=JobEnd.FINISHED) if waiting[job]:
                yield entered, "an exact result left, and a population of its job is not marked as uncovered"
            case _:
                pass


def course_problems(predicate: Collected, history: History, *, exact: bool) -> Iterator[str]:
    """What the log tells otherwise of the parties and of the job's course."""
    yield from _party(predicate.key_holder, PartyKind.KEYHOLDER, history)
    for site in predicate.sites:
        yield from _party(site.site, PartyKind.SITE, history)
    owners = {e.event.dataset: e.event.owner for e in history.of(DatasetRegistered)}
    if len({owners.get(site.dataset) for site in predicate.sites}) != len(predicate.sites):
        yield "an owner has two parts: whoever has all sites but one takes his own numbers off"
    job, stated = predicate.job, predicate.course
    orders = [e.event for e in history.of(OrderIssued) if e.event.job == job]
    told = [(o.order, o.participants, o.profile, o.key_holder, o.exact) for o in orders]
    party = predicate.key_holder.party
    if told != [(stated.order, stated.participants, predicate.encryption.profile, party, exact)]:
        yield "the order that it cites is not the one that was issued"
    if [e.event.key for e in history.of(KeyAnnounced) if e.event.job == job] != [stated.key]:
        yield "the key that it cites is not the one that was announced"
    if [e.at for e in history.of(CollectionConcluded) if e.event.job == job] != [predicate.issued_at]:
        yield "its time is not that of the job's last document"
    ends = [
        (e.event.final, e.event.rounds, e.event.decryptions)
        for e in history.of(CollectionConcluded)
        if e.event.job == job
    ]
    if ends != [(stated.final, stated.rounds, stated.decryptions)]:
        yield "the job was concluded otherwise than it states: last document, rounds or decryptions"
    rounds = [e.event for e in history.of(RoundDecrypted) if e.event.job == job]
    if (len(rounds), sum(one.learned for one in rounds)) != (stated.rounds, stated.learned):
        yield "the log tells other rounds, or another number of numbers that were read"
    everybody = len(predicate.sites)
    fewest = everybody if isinstance(predicate, DisclosurePredicate) else predicate.noise.present
    added = [one.sites for one in rounds]
    if added and (min(added) != fewest or max(added) > everybody):
        yield "a round was decrypted over other sites than all of them, or fewer than it states"


def _party(stated: PartyFacts, kind: PartyKind, history: History) -> Iterator[str]:
    enrolled = {e.event.party: e.event for e in history.of(PartyEnrolled)}
    found = enrolled.get(PartyId(stated.party))
    if found is None or (found.kind, found.name, found.fingerprint) != (kind, stated.name, stated.fingerprint):
        yield f"the {kind} `{stated.name}` was not enrolled with this name and identity"


def decision_problems(
    predicate: Collected, site: SiteFacts | NoisedSiteFacts, history: History, *, exact: bool
) -> Iterator[str]:
    """What the log tells otherwise of a site's decision."""
    cited = cited_entry(history, site.decision_leaf, DecisionMade)
    if cited is None or cited.event.decision != site.decision:
        yield "a site's decision that it cites is not in the log"
        return
    made, request = cited.event, cited.event.request
    if (made.verdict, request.action, bool(request.exact)) != (Verdict.ALLOW, Action.JOB_SUBMIT, exact):
        yield "a site's decision that it cites did not allow such a result"
    told = (request.job, request.request_digest, request.dataset, request.tenant, made.epoch)
    if told != (predicate.job, predicate.request, site.dataset, predicate.tenant, predicate.policy_epoch):
        yield "a site's decision that it cites is about another job, request, dataset or epoch"


def version_problems(
    site: SiteFacts | NoisedSiteFacts, population: PopulationId, unit: Slug, history: History
) -> Iterator[str]:
    """What the log tells otherwise of what a site attested."""
    said = [e.event for e in history.of(SiteAttested) if e.event.version == site.version]
    told = [(s.dataset, s.population, s.party, s.manifest) for s in said]
    if told != [(site.dataset, population, site.site.party, site.manifest)]:
        yield "a version that it names was not attested by this site, with this dataset, population and manifest"
    units = [e.event.unit_noun for e in history.of(PopulationCreated) if e.event.population == population]
    if units != [unit]:
        yield "a population's unit was declared otherwise"


def _mark(
    predicate: DisclosurePredicate,
    site: SiteFacts,
    history: History,
    ledgers: Mapping[PopulationId, LedgerState],
) -> Iterator[str]:
    cited = cited_entry(history, site.uncovered, PopulationUncovered)
    told = None if cited is None else (cited.event.job, cited.event.population, cited.event.ledger_seq)
    if cited is None or told != (predicate.job, site.population, site.ledger_seq):
        yield "the entry that marks a population is not in the log, or marks another"
        return
    state = ledgers.get(site.population)
    if state is None or state.account.uncovered_since != site.uncovered_since:
        yield "it does not say from when a population is not covered"


def approval_problems(predicate: Approved, history: History) -> Iterator[str]:
    """What the log tells otherwise of a job's approvals."""
    given = [e.event.approval for e in history.of(ApprovalGiven) if e.event.job == predicate.job]
    if {approval.approval for approval in given} != set(predicate.approvals):
        yield "its approvals are not those in the log"
    if any(a.verdict is not ApprovalVerdict.APPROVED or a.request_digest != predicate.request for a in given):
        yield "an approval that it rests on was a refusal, or for another request"


def _two_people(predicate: DisclosurePredicate, history: History) -> Iterator[str]:
    given = [e.event.approval for e in history.of(ApprovalGiven) if e.event.job == predicate.job]
    owners = {e.event.dataset: e.event.owner for e in history.of(DatasetRegistered)}
    said = {approval.approver for approval in given}
    for site in predicate.sites:
        owner = owners.get(site.dataset)
        if owner not in said or len(said) < 2:
            yield "a site's owner, or anybody beside him, did not approve"


def cited_entry(history: History, leaf: Digest, kind: type[E]) -> Entered[E] | None:
    """The entry of that leaf hash, if it is one of the kind."""
    found = history.by_leaf.get(leaf)
    return cast(Entered[E], found) if found is not None and isinstance(found.event, kind) else None
