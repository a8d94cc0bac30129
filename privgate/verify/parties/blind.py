"""Step over the documents of blind trainings: order, data, each epoch's weights and gradient, the site's last word.

Rules
-----
1. Each is signed by whose it is, is the one that the log names, and follows from the one before.
2. The order is what was asked and decided, and its plan is worked out from its request again. What the certificate
   states of rows, terms and epochs, and so of what the gateway saw, is the plan's.
3. A refusal is its site's. What a ciphertext holds nobody can judge, and nobody needs to: it stays with its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from audit.findings import StepResult
from audit.trust import TrustFile
from kernel.canonical import Digest, digest_of
from kernel.errors import PrivgateError
from kernel.ids import JobId, PartyId
from kernel.signing import PublicKey
from policies.events import DecisionMade
from policies.vocabulary import Action, Verdict
from privacy.events.blind import (
    BlindBegun,
    BlindConcluded,
    BlindOrdered,
    BlindRequested,
    GradientMade,
    WeightsReceived,
)
from privacy.events.collections import PartyDeclined
from privacy.homomorphic.blind.documents import BlindData, BlindFinal, BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import BlindPlan, BlindSpec
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.parties import Identity
from privacy.homomorphic.documents.signed import Document
from privacy.release.blind import BlindPredicate
from privgate.verify.disclosures import cited_entry
from privgate.verify.history import History, HistoryFindings
from privgate.verify.parties.files import PartyFiles

D = TypeVar("D", bound=Document)


@dataclass(slots=True)
class BlindCase:
    """One training.

    Attributes:
        history: The log.
        known: The parties as they were enrolled.
        gateway: Keys of the gateway's certificates; none if the reader pinned none.
        origin: Whose log it is.
        order: What was ordered.
        before: The digest of the document that the next one must name.
        epoch, due: Which epoch's document is due: weights or gradient.
        stated: What the certificate of its end states, if it is here.
    """

    history: History
    known: Mapping[PartyId, Identity]
    gateway: tuple[PublicKey, ...]
    origin: str
    order: BlindOrder | None = None
    before: Digest | None = None
    epoch: int = 0
    due: type[Document] = BlindData
    stated: BlindPredicate | None = None

    def by_gateway(self, kind: type[D], data: bytes) -> D:
        """A document of the gateway's."""
        return kind.opened(data, self.gateway) if self.gateway else kind.read(data)

    def by_site(self, kind: type[D], data: bytes) -> D:
        """A document of the site's."""
        who = None if self.order is None else self.known.get(self.order.site.party)
        return kind.opened(data, [] if who is None else [who.identity])


def blind_jobs(history: History) -> frozenset[JobId]:
    """The jobs that are blind trainings."""
    return frozenset(entered.event.job for entered in history.of(BlindRequested))


def check_blind_documents(
    history: History,
    files: PartyFiles,
    known: Mapping[PartyId, Identity],
    trust: TrustFile | None,
    origin: str,
    certified: Mapping[JobId, BlindPredicate],
) -> StepResult:
    """Judge every document of every training, in the order of the log."""
    findings, jobs, judged = HistoryFindings("Blind trainings", history), blind_jobs(history), 0
    keys = () if trust is None else trust.certificate_keys
    cases: dict[JobId, BlindCase] = {}
    for entered, found in files.cited:
        event: Any = entered.event
        if type(event) not in _JUDGES or event.job not in jobs:
            continue
        data = files.read(entered, found, findings)
        if data is None:
            continue
        judged += 1
        stated = certified.get(event.job)
        case = cases.setdefault(event.job, BlindCase(history, known, keys, origin, stated=stated))
        for problem in _guarded(case, event, data):
            findings.wrong(found.file, problem, entered.index)
        if trust is None and isinstance(event, BlindOrdered):
            findings.unclear(found.file, "no key is pinned", entered.index)
    return findings.result(
        f"{judged} documents of {len(cases)} trainings, each signed by whose it is and following from the one before"
    )


def _guarded(case: BlindCase, event: Any, data: bytes) -> list[str]:
    try:
        return list(_JUDGES[type(event)](case, event, data))
    except PrivgateError as error:
        return [f"it is no such document, or not signed by whose it must be: {error.message}"]


def _order(case: BlindCase, event: BlindOrdered, data: bytes) -> Iterator[str]:
    order = case.by_gateway(BlindOrder, data)
    if case.order is not None:
        yield "a job has a second order"
    case.order, case.before = order, order.digest
    if (order.digest, order.job, order.site.party, order.profile) != (
        event.order,
        event.job,
        event.party,
        event.profile,
    ):
        yield "it is not the order that the log issued"
    if order.gateway != case.origin:
        yield "it cites another log"
    if case.known.get(order.site.party) != order.site.who:
        yield "the site in it is not the party that was enrolled"
    if (order.profile, order.profile_digest) != (PROFILE.name, PROFILE.digest):
        yield "its profile is not the one of that name"
    spec = BlindSpec.from_json(order.spec)
    named = (digest_of("job-request/v1", order.spec), spec.dataset, spec.round_seconds)
    if named != (order.spec_digest, order.dataset, order.round_seconds):
        yield "it is not what its request asks for"
    plan, course = BlindPlan.from_json(order.plan), None if case.stated is None else case.stated.course
    if spec.plan(plan.schema).to_json() != order.plan:
        yield "its plan does not follow from its request"
    yield from _asked(case, order)
    told = (plan.shape.rows, plan.shape.features, plan.shape.epochs)
    if course is not None and (course.rows, course.terms, course.epochs) != told:
        yield "the certificate states other rows, terms or epochs than were ordered"


def _asked(case: BlindCase, order: BlindOrder) -> Iterator[str]:
    asked = [
        (e.event.request, e.event.dataset, e.event.population, e.event.party)
        for e in case.history.of(BlindRequested)
        if e.event.job == order.job
    ]
    if asked != [(order.spec_digest, order.dataset, order.population, order.site.party)]:
        yield "the log tells another request: another dataset, site or digest"
    cited, told = cited_entry(case.history, order.decision, DecisionMade), None
    if cited is not None:
        request = cited.event.request
        told = (cited.event.verdict, request.action, request.job, request.dataset, request.request_digest)
    if told != (Verdict.ALLOW, Action.JOB_SUBMIT, order.job, order.dataset, order.spec_digest):
        yield "the decision that it cites is not in the log, or did not allow this request on this dataset"
    if order.approvals:
        yield "it cites approvals, and its owner asks himself"


def _data(case: BlindCase, event: BlindBegun, data: bytes) -> Iterator[str]:
    made = case.by_site(BlindData, data)
    if made.digest != event.data:
        yield "it is not the data that the log tells"
    yield from _placed(case, made, made.order, made.job)
    if case.order is not None and made.profile != case.order.profile_digest:
        yield "it is under another profile"
    case.before, case.epoch, case.due = made.digest, 1, BlindWeights


def _weights(case: BlindCase, event: WeightsReceived, data: bytes) -> Iterator[str]:
    made = case.by_site(BlindWeights, data)
    if (made.digest, made.number) != (event.weights, event.number):
        yield "they are not the weights that the log tells"
    yield from _placed(case, made, made.order, made.job)
    if (made.number, made.previous) != (case.epoch, case.before):
        yield "they do not follow from the document before"
    case.before, case.due = made.digest, BlindGradient


def _gradient(case: BlindCase, event: GradientMade, data: bytes) -> Iterator[str]:
    made = case.by_gateway(BlindGradient, data)
    if (made.digest, made.number) != (event.gradient, event.number):
        yield "it is not the gradient that the log tells"
    yield from _placed(case, made, made.order, made.job)
    if (made.number, made.weights) != (case.epoch, case.before):
        yield "it is not of the weights before"
    case.before, case.epoch, case.due = made.digest, case.epoch + 1, BlindWeights


def _final(case: BlindCase, event: BlindConcluded, data: bytes) -> Iterator[str]:
    made = case.by_site(BlindFinal, data)
    if (made.digest, made.model, made.epochs) != (event.final, event.model, event.epochs):
        yield "it is not the last word that the log tells"
    if case.order is None or (made.job, made.order) != (case.order.job, case.order.digest):
        yield "it is of another job or order"
        return
    if (made.epochs, made.previous) != (case.order.plan.get("epochs"), case.before) or case.epoch != made.epochs + 1:
        yield "it does not follow from the last gradient, or epochs are missing"


def _refusal(case: BlindCase, event: PartyDeclined, data: bytes) -> Iterator[str]:
    made = case.by_site(Refusal, data)
    if (made.job, made.party) != (event.job, event.party):  # an order that was not believed is not named
        yield "it is a refusal of another job or party"


def _placed(case: BlindCase, made: Document, order: Digest, job: JobId) -> Iterator[str]:
    if case.order is None or (job, order) != (case.order.job, case.order.digest):
        yield "it is of another job or order"
    if not isinstance(made, case.due):
        yield "it came out of turn"


_Judge: TypeAlias = Callable[[BlindCase, Any, bytes], Iterator[str]]
_JUDGES: Final[Mapping[type, _Judge]] = {
    BlindOrdered: _order,
    BlindBegun: _data,
    WeightsReceived: _weights,
    GradientMade: _gradient,
    BlindConcluded: _final,
    PartyDeclined: _refusal,
}
