"""Inference certificates against the log: decision, question, answer, and the model with a certificate of its own.

Rules
-----
1. The model's facts are those of its certificate, which lies beside this one and has the digest that is cited.
2. The model had been released when it was evaluated, and had not been recalled.
3. The question was received before it was answered, by the principal that the decision allowed, and once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kernel.canonical import Digest
from kernel.ids import PopulationId, ReleaseId
from policies.events import DecisionMade
from policies.vocabulary import Action, JobKind, Verdict
from privacy.budget.fold import LedgerState
from privacy.events.budget import PopulationUncovered
from privacy.events.inferences import InferenceRequested, QuestionAnswered, QuestionReceived
from privacy.events.releases import ReleasePublished, ReleaseRecalled
from privacy.release.certificate import PrivacyCertificate
from privacy.release.inference import AskedModelFacts, InferencePredicate
from privacy.release.statements import Certificate
from privgate.verify.disclosures import approval_problems, cited_entry
from privgate.verify.history import Entered, History


def inference_problems(
    predicate: InferencePredicate,
    artifact: Digest,
    history: History,
    ledgers: Mapping[PopulationId, LedgerState],
    others: Mapping[ReleaseId, tuple[bytes, Certificate | None]],
) -> Iterator[str]:
    """Everything that an inference certificate and the log tell differently.

    Args:
        predicate: What it states.
        artifact: The digest of the answer.
        history: The log's entries.
        ledgers: Its folded ledgers.
        others: The certificates beside this one: their bytes, and what they state.
    """
    yield from _decision(predicate, history)
    yield from _question(predicate, artifact, history)
    yield from _model(predicate, others)
    yield from _released(predicate, history)
    yield from _uncovered(predicate.model, history, ledgers)
    yield from approval_problems(predicate, history)


def _decision(predicate: InferencePredicate, history: History) -> Iterator[str]:
    cited = cited_entry(history, predicate.decision_leaf, DecisionMade)
    if cited is None or cited.event.decision != predicate.decision:
        yield "the decision that it cites is not in the log"
        return
    made, request = cited.event, cited.event.request
    if (made.verdict, request.action, request.job_kind) != (Verdict.ALLOW, Action.JOB_SUBMIT, JobKind.HE_INFER):
        yield "the decision that it cites did not allow such a job"
    told = (request.job, request.request_digest, request.dataset, request.tenant, made.epoch)
    if told != (
        predicate.job,
        predicate.request,
        predicate.model.dataset,
        predicate.tenant,
        predicate.policy_epoch,
    ):
        yield "the decision that it cites is about another job, request, dataset or epoch"


def _question(predicate: InferencePredicate, artifact: Digest, history: History) -> Iterator[str]:
    asked = [e.event for e in history.of(InferenceRequested) if e.event.job == predicate.job]
    told = [(e.model, e.certificate, e.dataset, e.population, e.request) for e in asked]
    model = predicate.model
    if told != [(model.release, model.certificate, model.dataset, model.population, predicate.request)]:
        yield "the job was asked for with another model, dataset or request"
    received = [e for e in history.of(QuestionReceived) if e.event.job == predicate.job]
    client = Digest.of(predicate.document.signer.raw)
    stated = (predicate.question.digest, client, predicate.encryption.profile, predicate.question.batches)
    if [(e.event.question, e.event.client, e.event.profile, e.event.batches) for e in received] != [stated]:
        yield "the question that it cites is not the one that was received"
    if any(e.actor.principal != _requester(predicate, history) for e in received):
        yield "the question came from somebody else than was allowed to ask"
    yield from _answer(predicate, artifact, history, received)


def _answer(
    predicate: InferencePredicate, artifact: Digest, history: History, received: list[Entered[QuestionReceived]]
) -> Iterator[str]:
    cited = cited_entry(history, predicate.answered, QuestionAnswered)
    if cited is None:
        yield "the entry of the answer that it cites is not in the log"
        return
    event = cited.event
    told = (event.job, event.question, event.model, event.answer)
    if told != (predicate.job, predicate.question.digest, predicate.model.certificate, artifact):
        yield "the log tells another question, model or answer"
    if cited.at != predicate.issued_at:
        yield "its time is not that of its answer"
    if not received or received[0].index > cited.index:
        yield "the question was answered before it was received"


def _requester(predicate: InferencePredicate, history: History) -> object:
    made = history.decision(predicate.decision)
    return None if made is None else made.request.principal


def _model(
    predicate: InferencePredicate, others: Mapping[ReleaseId, tuple[bytes, Certificate | None]]
) -> Iterator[str]:
    stated = predicate.model
    data, certificate = others.get(stated.release, (b"", None))
    if not isinstance(certificate, PrivacyCertificate) or Digest.of(data) != stated.certificate:
        yield "the certificate of the model that it cites is not here"
        return
    own = certificate.predicate
    told = (own.job, certificate.artifact, own.dataset.id, own.population.id, own.population.unit, own.guarantee)
    if told != (stated.job, stated.artifact, stated.dataset, stated.population, stated.unit, stated.guarantee):
        yield "the model's certificate tells another job, model, population or guarantee"
    if (own.model.graph, own.model.features) != (stated.graph, stated.features):
        yield "the model's certificate tells another graph or other features"
    if (own.this_job_alone.epsilon, own.this_job_alone.delta) != (stated.epsilon, stated.delta):
        yield "the model's certificate tells another epsilon of the model alone"


def _released(predicate: InferencePredicate, history: History) -> Iterator[str]:
    cited = history.by_leaf.get(predicate.answered)
    if cited is None:
        return
    model = predicate.model.release
    published = [e.index for e in history.of(ReleasePublished) if e.event.release == model]
    recalled = [e.index for e in history.of(ReleaseRecalled) if e.event.release == model]
    if not any(index < cited.index for index in published) or any(index < cited.index for index in recalled):
        yield "the model was evaluated while it was not released, or had been recalled"


def _uncovered(model: AskedModelFacts, history: History, ledgers: Mapping[PopulationId, LedgerState]) -> Iterator[str]:
    state = ledgers.get(model.population)
    if state is None or state.account.ledger_seq < model.ledger_seq:
        yield "the ledger of the model's population has no such number"
    marks = [e.event.ledger_seq for e in history.of(PopulationUncovered) if e.event.population == model.population]
    if min((number for number in marks if number <= model.ledger_seq), default=None) != model.uncovered_since:
        yield "it does not say from when the model's population is not covered"
