"""Use case: evaluate a model on a question that is here, from its taking-up to its held release.

Rules
-----
1. Permission is asked once more before the model is opened: a grant, a dataset, the model itself may have been taken
   back while the question was waited for. Such a job ends as cancelled.
2. Evaluating is deterministic: a worker that dies leaves nothing, and another makes the same answer.
3. `finish` is one work: the entry, the certificate that cites it, the held release, the job's end. The sealed answer is
   stored before it. A recall of the model that committed first wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.inference_records import InferenceRecord
from gateway.records import JobRecord, JobState, ReleaseRecord, TaskRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.holding import hold_release, seal_artifact
from gateway.services.inferences.certifying import AnswerFacts, certify_answer
from gateway.services.inferences.ending import end_inference, forget_question
from gateway.services.inferences.planning import AskedModel, asked_model
from gateway.services.inferences.requesting import facts_of
from gateway.services.release_desk import open_artifact
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import JobId, ReleaseId
from policies.vocabulary import Action
from privacy.events.inferences import QuestionAnswered
from privacy.events.jobs import JobEnd
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.inferences.question import Question
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.release.desk import ReleaseState
from privacy.release.settlement import KeyHolderOnly
from privacy.sealing.stores import BlobPath


@dataclass(frozen=True, slots=True)
class Opened:
    """A question that may be answered, and the model."""

    job: JobRecord
    model: AskedModel
    weights: bytes
    keys: bytes
    batches: tuple[bytes, ...]

    @property
    def spec(self) -> InferenceSpec:
        """The request."""
        return InferenceSpec.from_json(self.job.spec)


def open_question(on: Collaborators, task: TaskRecord) -> Opened | None:
    """Take a question up; nothing if the job has ended, was cancelled, or may no longer run: it is then ended.

    Raises:
        StaleError: Another worker took the task over.
        CorruptError: What is stored is not what was received.
    """
    with on.database.work(task.tenant) as work:
        job, found = _locked(work, task)
        if job.state.ended:
            _drop(work, task)
            return None
        if job.cancel_requested or not _may_run(on, work, job, found):
            _cancelled(on, work, task, job)
            return None
        started = job.started_at or work.now
        work.jobs.change({"id": job.id}, state=JobState.RUNNING, started_at=started)
        if job.state is not JobState.RUNNING:
            work.progress.add(job.id, JobState.RUNNING, 0, work.now)
        model = asked_model(work, task.tenant, found.model)
        wrapped = work.deks.get(model.record.artifact_dek)
        work.commit("inference-begins")
    weights = open_artifact(on, model.record, wrapped)
    keys, batches = _bodies(on, InferenceSpec.from_json(job.spec), found)
    return Opened(job, model, weights, keys, batches)


def finish(on: Collaborators, task: TaskRecord, opened: Opened, answer: bytes, halvings: int) -> ReleaseRecord | None:
    """Certify and hold an answer; nothing if model or job were taken back: it is then ended."""
    release = ReleaseId.new(on.entropy)
    path, dek = seal_artifact(on, task.tenant, release, answer)
    with on.database.work(task.tenant) as work:
        account = work.ledger.lock(opened.job.population, job=opened.job.id).account
        job, found = _locked(work, task)
        recalled = work.releases.get(lock=True, id=found.model).state != ReleaseState.RELEASED.value
        if job.cancel_requested or recalled:
            _cancelled(on, work, task, job)
            on.blobs.delete(path)
            return None
        event = QuestionAnswered(
            job=job.id,
            question=_received(found),
            model=opened.model.record.certificate_digest,
            answer=Digest.of(answer),
        )
        leaf = work.record(event, correlation=job.id).leaf_hash
        facts = AnswerFacts(
            job=job, inference=found, model=opened.model, release=release, answered=leaf,
            account=account, halvings=halvings,
        )  # fmt: skip
        signed = certify_answer(on, work, KeyHolderOnly.of(event), facts)
        record = hold_release(work, job, release, path, dek, event.answer, signed)
        blob = end_inference(work, job, JobState.FINISHED, JobEnd.FINISHED, release)
        work.tasks.finish(task)
        work.commit("inference-answered")
    forget_question(on, blob)
    return record


def fail(on: Collaborators, task: TaskRecord) -> None:
    """End a job whose question could not be answered."""
    with on.database.work(task.tenant) as work:
        job, _ = _locked(work, task)
        if job.state.ended:
            _drop(work, task)
            return
        blob = end_inference(work, job, JobState.FAILED, JobEnd.FAILED)
        work.tasks.finish(task)
        work.commit("inference-failed")
    forget_question(on, blob)


def retry(on: Collaborators, task: TaskRecord) -> None:
    """Put a question back: what kept it from being answered was none of its doing."""
    with on.database.work(task.tenant) as work:
        work.tasks.give_back(task)
        work.commit_upkeep("inference-retry")


def _drop(work: Work, task: TaskRecord) -> None:
    """Let go of the task of a job that was cancelled while its question came."""
    work.tasks.finish(task)
    work.commit_upkeep("inference-dropped")


def _cancelled(on: Collaborators, work: Work, task: TaskRecord, job: JobRecord) -> None:
    blob = end_inference(work, job, JobState.CANCELLED, JobEnd.CANCELLED)
    work.tasks.finish(task)
    work.commit("inference-cancelled")
    forget_question(on, blob)


def _may_run(on: Collaborators, work: Work, job: JobRecord, found: InferenceRecord) -> bool:
    if work.releases.get(id=found.model).state != ReleaseState.RELEASED.value:
        return False
    spec, caller = InferenceSpec.from_json(job.spec), Caller(job.tenant, job.principal)
    answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **facts_of(spec), grant=found.under_grant, job=job.id)
    return answer.denial is None


def _bodies(on: Collaborators, spec: InferenceSpec, found: InferenceRecord) -> tuple[bytes, tuple[bytes, ...]]:
    """Keys and ciphertexts as they were received."""
    with on.blobs.open(BlobPath(found.blob or "")) as blob:
        parcel = Parcel.from_bytes(blob.read())
    question = Question.read(parcel.document)
    cut, each = spec.shape.key_bytes, spec.shape.request_bytes
    keys, ciphertexts = parcel.attachment[:cut], parcel.attachment[cut:]
    whole = (Digest.of(keys), Digest.of(ciphertexts)) == (question.keys, question.ciphertexts)
    if not whole or question.digest != found.question:
        raise CorruptError("a stored question is not the one that was received")
    return keys, tuple(ciphertexts[at * each : (at + 1) * each] for at in range(spec.batches))


def _received(found: InferenceRecord) -> Digest:
    if found.question is None:
        raise CorruptError("a question is to be answered, and none was received")
    return found.question


def _locked(work: Work, task: TaskRecord) -> tuple[JobRecord, InferenceRecord]:
    work.tasks.require_fence(task)
    job = work.jobs.get(lock=True, id=JobId(task.subject))
    return job, work.inferences.get(job=job.id)
