"""Use case: what a question must be, and taking it.

Rules
-----
1. The question is its requester's alone to send. It is judged as it arrives (`JudgedQuestion`): what is stored is a
   question of this job, whole.
2. A question comes once. The same one again changes nothing; another is refused.
3. Bytes first, then one work: permission asked once more, the entry, and the task of whoever evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from gateway.inference_records import InferenceRecord
from gateway.records import JobRecord, JobState, TaskKind, TaskRecord, TaskState
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Answer, Caller
from gateway.services.inferences.planning import asked_model
from gateway.services.inferences.requesting import facts_of
from gateway.unit_of_work import Reading, Work
from kernel.canonical import Digest
from kernel.clock import format_time
from kernel.errors import ConflictError, NotFoundError, PrivgateError
from kernel.ids import EntryId, JobId, TaskId
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.events.inferences import QuestionReceived
from privacy.homomorphic.inferences.judging import JudgedQuestion
from privacy.homomorphic.inferences.question import DOCUMENT_BYTES, Question
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.sealing.stores import BlobPath

FRAMING = 64
"""Bytes of a body beside document, keys and ciphertexts, at most."""


@dataclass(frozen=True, slots=True)
class Received:
    """A question that is here."""

    job: JobRecord
    question: Digest


def terms_of(on: Collaborators, job: JobRecord) -> dict[str, Any]:
    """What a client has to know to ask: the request, the model's features and the columns that they are of.

    Raises:
        NotFoundError: It is no job of this kind.
    """
    with on.database.read() as reading:
        found = reading.inferences.get(job=job.id)
        model = asked_model(reading, job.tenant, found.model)
    return {
        "job": str(job.id),
        "request": dict(job.spec),
        "request_digest": str(job.request_digest),
        "features": model.features.to_json(),
        "table": model.schema.to_json(),
        "deadline": None if found.deadline is None else format_time(found.deadline),
        "question": None if found.question is None else str(found.question),
    }


def longest_question(on: Collaborators, caller: Caller, job: JobId) -> int:
    """How many bytes a question of this job may have; raise `NotFoundError` if it is not the caller's."""
    with on.database.read() as reading:
        record, _ = _own(reading, caller, job)
    return InferenceSpec.from_json(record.spec).question_bytes + DOCUMENT_BYTES + FRAMING


def put_question(on: Collaborators, caller: Caller, job: JobId, source: BinaryIO) -> Received | Deny:
    """Take a question.

    Raises:
        NotFoundError: The caller has no such job.
        ConflictError: Another question is here, or the job does not wait for one.
        InvalidError: It is no question of this job.
    """
    with on.database.read() as reading:
        record, _ = _own(reading, caller, job)
    judged = JudgedQuestion(source, job, InferenceSpec.from_json(record.spec))
    path = BlobPath.of("questions", job, EntryId.new(on.entropy))
    on.blobs.put_new(path, cast(BinaryIO, judged))
    try:
        result, kept = _stored(on, caller, job, judged, path)
    except PrivgateError:  # nothing was committed
        on.blobs.delete(path)
        raise
    if not kept:
        on.blobs.delete(path)
    return result


def _stored(
    on: Collaborators, caller: Caller, job: JobId, judged: JudgedQuestion, path: BlobPath
) -> tuple[Received | Deny, bool]:
    """Store a question that was judged; return whether its blob is needed: not if it is refused, or was here before."""
    question = judged.question
    assert question is not None  # all of it was read
    with on.database.work(caller.tenant) as work:
        work.tasks.hold(job)
        record = work.jobs.get(lock=True, id=job)
        found = work.inferences.get(job=job)
        if found.question == question.digest:
            return Received(record, question.digest), False
        _require_awaited(work, record, found)
        spec = InferenceSpec.from_json(record.spec)
        answer = on.decider.decide_in(
            work, caller, Action.JOB_QUOTE, **facts_of(spec), grant=found.under_grant, job=job
        )
        if answer.denial is not None:
            work.commit("question-denied")
            return answer.denial, False
        _keep(on, work, record, question, judged.document, path, answer)
        work.commit("question")
    return Received(record, question.digest), True


def _keep(
    on: Collaborators,
    work: Work,
    record: JobRecord,
    question: Question,
    document: bytes,
    path: BlobPath,
    answer: Answer,
) -> None:
    received = QuestionReceived(
        job=record.id,
        question=question.digest,
        client=Digest.of(question.signer.raw),
        profile=question.profile,
        batches=question.batches,
    )
    work.record(received, actor=answer.actor, correlation=record.id)
    work.inferences.change(
        {"job": record.id}, question=question.digest, document=document, blob=str(path), deadline=None
    )
    work.jobs.change({"id": record.id}, state=JobState.QUEUED)
    work.progress.add(record.id, JobState.QUEUED, 0, work.now)
    work.tasks.enqueue(
        TaskRecord(
            id=TaskId.new(on.entropy),
            tenant=record.tenant,
            kind=TaskKind.HE_INFER,
            subject=str(record.id),
            state=TaskState.QUEUED,
            created_at=work.now,
        )
    )


def _own(reading: Reading, caller: Caller, job: JobId) -> tuple[JobRecord, InferenceRecord]:
    record = reading.jobs.get(id=job, tenant=caller.tenant)
    if record.principal != caller.principal:
        raise NotFoundError("no such job of yours")
    return record, reading.inferences.get(job=job)


def _require_awaited(work: Work, record: JobRecord, found: InferenceRecord) -> None:
    if found.question is not None:
        raise ConflictError("another question is here already", field="content")
    if record.state is not JobState.COLLECTING or found.deadline is None or found.deadline < work.now:
        raise ConflictError("this job does not wait for a question", field="job")
