"""Build the certificate of an encrypted answer from what is stored; nothing in it is typed by hand."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inference_records import InferenceRecord
from gateway.records import JobRecord
from gateway.services.collaborators import Collaborators
from gateway.services.inferences.planning import AskedModel
from gateway.unit_of_work import Work
from kernel.amounts import Rdp
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.events import Parameter
from kernel.ids import ApprovalId, ReleaseId, Slug
from privacy.budget.balances import Account
from privacy.homomorphic.inferences.question import Question
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.release import inference as i
from privacy.release.disclosure import EncryptionFacts
from privacy.release.observers import observers_of_inference
from privacy.release.settlement import KeyHolderOnly


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts:
    """What the certificate of one answer rests on.

    Attributes:
        answered: The leaf hash of the entry that says what was evaluated.
        account: Of the model's population, as it stands now.
    """

    job: JobRecord
    inference: InferenceRecord
    model: AskedModel
    release: ReleaseId
    answered: Digest
    account: Account
    halvings: int


def certify_answer(on: Collaborators, work: Work, settlement: KeyHolderOnly, facts: AnswerFacts) -> bytes:
    """Return the certificate's signed envelope."""
    job, spec = facts.job, InferenceSpec.from_json(facts.job.spec)
    profile = spec.profile
    decision = facts.inference.decision
    if job.decision_leaf is None or decision is None:
        raise CorruptError("a job that was answered was never admitted")
    predicate = i.InferencePredicate(
        tenant=job.tenant,
        release=facts.release,
        job=job.id,
        kind=Slug(job.kind),
        request=job.request_digest,
        decision=decision,
        decision_leaf=job.decision_leaf,
        answered=facts.answered,
        model=_model(facts),
        question=_question(spec, Question.read(facts.inference.document or b"")),
        encryption=EncryptionFacts(profile=profile.name, digest=profile.digest),
        precision=i.PrecisionFacts(expected_error=Parameter(profile.expected_error), halvings=facts.halvings),
        observers=observers_of_inference(spec.shape),
        charge=Rdp.zero(),
        approvals=tuple(sorted(ApprovalId(given.id) for given in work.approvals.all(job=job.id))),
        policy_epoch=job.policy_epoch,
        origin=Slug(on.origin),
        software=on.software,
        not_covered=tuple(i.NotCovered),
        issued_at=work.now,
    )
    return i.InferenceCertificate.of(settlement, i.ARTIFACT, predicate).sign(on.certificate_signer).to_bytes()


def _model(facts: AnswerFacts) -> i.AskedModelFacts:
    record, stated = facts.model.record, facts.model.certificate.predicate
    if stated.model.graph is None or stated.model.features is None:
        raise CorruptError("the certificate of a model names neither its graph nor its features")
    return i.AskedModelFacts(
        release=record.id,
        job=record.job,
        certificate=record.certificate_digest,
        artifact=record.artifact_digest,
        dataset=stated.dataset.id,
        population=stated.population.id,
        unit=stated.population.unit,
        graph=stated.model.graph,
        features=stated.model.features,
        guarantee=stated.guarantee,
        epsilon=stated.this_job_alone.epsilon,
        delta=stated.this_job_alone.delta,
        uncovered_since=facts.account.uncovered_since,
        ledger_seq=facts.account.ledger_seq,
    )


def _question(spec: InferenceSpec, question: Question) -> i.QuestionFacts:
    shape = spec.shape
    return i.QuestionFacts(
        digest=question.digest,
        client=question.client,
        batches=spec.batches,
        features=shape.features,
        outputs=shape.outputs,
        layers=shape.layers,
        keys=question.keys,
        ciphertexts=question.ciphertexts,
        bytes=spec.question_bytes,
        answer_bytes=spec.answer_bytes,
    )
