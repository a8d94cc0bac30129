"""Step over the orders: each is what was asked, decided and approved, for parties as they were enrolled.

Rules
-----
1. Signed by a pinned certificate key, and the one order of its job that the log issued.
2. `spec` has the digest that decisions and approvals bind, and the plan is worked out from it again.
3. It names, in the order of its sites, each dataset that was asked for, with the decision that allowed the job on it;
   and the approvals that were given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from audit.findings import StepResult
from audit.trust import TrustFile
from kernel.errors import PrivgateError
from kernel.ids import JobId, PartyId
from policies.events import ApprovalGiven, DecisionMade
from policies.vocabulary import Action, ApprovalVerdict, Verdict
from privacy.events.collections import CollectionRequested, OrderIssued, PartyDisabled, SiteAttested
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import Identity
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.following import is_as_asked, plan_follows
from privgate.verify.disclosures import cited_entry
from privgate.verify.history import History, HistoryFindings
from privgate.verify.parties.case import Case
from privgate.verify.parties.files import PartyFiles


def check_orders(
    history: History, files: PartyFiles, known: Mapping[PartyId, Identity], trust: TrustFile | None, origin: str
) -> tuple[StepResult, dict[JobId, Case]]:
    """Check every order; the jobs whose order could be read."""
    findings = HistoryFindings("Orders", history)
    cases: dict[JobId, Case] = {}
    for entered, found in files.cited:
        if not isinstance(entered.event, OrderIssued):
            continue
        data = files.read(entered, found, findings)
        order = None if data is None else _read(data, trust, found.file, entered.index, findings)
        if order is None:
            continue
        told = order_problems(order, entered.event, origin)
        for problem in (*told, *log_problems(order, history), *party_problems(order, entered.index, history, known)):
            findings.wrong(found.file, problem, entered.index)
        if (
            cases.setdefault(order.job, Case(order, known, () if trust is None else trust.certificate_keys)).order
            is not order
        ):
            findings.wrong(found.file, "a job has a second order", entered.index)
    return findings.result(f"{len(cases)} orders are what was asked, decided and approved"), cases


def _read(data: bytes, trust: TrustFile | None, file: str, index: int, findings: HistoryFindings) -> Order | None:
    try:
        if trust is not None:
            return Order.opened(data, trust.certificate_keys)
        order = Order.read(data)
    except PrivgateError as error:
        findings.wrong(file, f"it is no order that a pinned certificate key signed: {error.message}", index)
        return None
    findings.unclear(file, "no key is pinned", index)
    return order


def order_problems(order: Order, event: OrderIssued, origin: str) -> Iterator[str]:
    """What an order says otherwise than the entry that issued it, or than follows from its request."""
    told = (event.job, event.order, event.participants, event.profile, event.key_holder, event.exact)
    holder, exact = order.key_holder.party, order.outcome is Outcome.EXACT
    if told != (order.job, order.digest, order.participants, order.profile, holder, exact):
        yield "it is not the order that the log issued: another digest, job, sites, profile, key holder or outcome"
    if order.gateway != origin:
        yield "it cites another log"
    try:
        follows, digest = plan_follows(order), profile_of(order.profile).digest
    except PrivgateError:
        yield "its profile or its kind is unknown"
        return
    if digest != order.profile_digest:
        yield "its profile is not the one of that name"
    if not is_as_asked(order):
        yield "it is not what its request asks for: another digest, or other sites, profile, outcome or times"
    if not follows:
        yield "its plan does not follow from its request"


def log_problems(order: Order, history: History) -> Iterator[str]:
    """What the log tells otherwise of the request, its decisions and its approvals."""
    asked = [e.event for e in history.of(CollectionRequested) if e.event.job == order.job]
    told = [(a.dataset, a.population, a.party, a.key_holder, a.kind, a.request, a.exact) for a in asked]
    holder, exact = order.key_holder.party, order.outcome is Outcome.EXACT
    if told != [(s.dataset, s.population, s.party, holder, order.kind, order.spec_digest, exact) for s in order.sites]:
        yield "the log tells another request: other datasets, sites, key holder, kind, digest or outcome"
    yield from _decision_problems(order, history)
    yield from _approval_problems(order, history)


def _decision_problems(order: Order, history: History) -> Iterator[str]:
    if len(order.decisions) != len(order.sites):
        yield "it does not cite one decision for each dataset"
    for leaf, site in zip(order.decisions, order.sites, strict=False):
        cited = cited_entry(history, leaf, DecisionMade)
        told = None
        if cited is not None:
            asked = cited.event.request
            told = (cited.event.verdict, asked.action, asked.job, asked.dataset, asked.request_digest)
        if told != (Verdict.ALLOW, Action.JOB_SUBMIT, order.job, site.dataset, order.spec_digest):
            yield "a decision that it cites is not in the log, or did not allow this request on this dataset"


def _approval_problems(order: Order, history: History) -> Iterator[str]:
    given = {e.leaf: e.event.approval for e in history.of(ApprovalGiven) if e.event.job == order.job}
    if set(order.approvals) != set(given):
        yield "its approvals are not those in the log"
    if any((a.verdict, a.request_digest) != (ApprovalVerdict.APPROVED, order.spec_digest) for a in given.values()):
        yield "an approval that it rests on was a refusal, or for another request"


def party_problems(order: Order, index: int, history: History, known: Mapping[PartyId, Identity]) -> Iterator[str]:
    """Whom an order names that was not enrolled so, or could not take part then."""
    for member in (order.key_holder, *(site.member for site in order.sites)):
        if known.get(member.party) != member.who:
            yield f"the {member.who.kind} `{member.who.name}` in it is not the party that was enrolled"
    gone = {e.event.party for e in history.of(PartyDisabled) if e.index < index}
    if gone & {order.key_holder.party, *order.parties}:
        yield "a party in it had been disabled"
    attested = {(e.event.party, e.event.dataset) for e in history.of(SiteAttested) if e.index < index}
    if not {(site.party, site.dataset) for site in order.sites} <= attested:
        yield "a site in it had attested nothing"
