"""Use case: quote an encrypted question, request it, approve it.

Rules
-----
1. Whoever has no grant for it learns nothing of the model but that it is there.
2. The model is looked at again in the work that admits the job: a recall that committed first wins.
3. An admitted job waits for its question, for `QUESTION_SECONDS` at most. Nothing is held meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from gateway.inference_records import InferenceRecord
from gateway.records import JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Answer, Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.services.inferences.ending import end_inference
from gateway.services.inferences.planning import PlannedInference, plan_inference, require_released
from gateway.services.request_job import record_approval
from gateway.unit_of_work import Work
from kernel.amounts import Epsilon
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import DatasetId, JobId, ReleaseId, Slug
from policies.approvals import Approval
from policies.decisions import Deny
from policies.vocabulary import Action, ApprovalVerdict, JobKind
from privacy.events.inferences import InferenceRequested
from privacy.events.jobs import JobEnd
from privacy.homomorphic.inferences.spec import KIND, InferenceOpening, InferenceSpec
from privacy.release.observers import observers_of_inference

MOST_OPEN: Final = 32
"""How many such jobs of one principal may be open: they cost nobody a budget, and each may leave 48 MiB to be kept."""
QUESTION_SECONDS: Final = 24 * 3600
"""How long an admitted job waits for its question."""
PROCESS_MS: Final = 3000
PRODUCT_MS: Final = 4
"""Of one weight and one ciphertext, generously (benchmarks/results/he.jsonl)."""
WORDS: Final = (
    "Nothing is charged: the model's people were charged when the model was made. Only whoever asks can read the "
    "answer; the encryption gives the answer itself no privacy. Whoever asks often enough has the model's weights."
)


@dataclass(frozen=True, slots=True)
class InferenceQuote:
    """A quote and the final form of the request that it is for."""

    spec: InferenceSpec
    fields: dict[str, Any]


def quote_inference(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> InferenceQuote | Deny:
    """Say what a question would take, and who would learn what; nothing is held."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    planned = _planned(on, caller, body)
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **facts_of(planned.spec))
        work.commit("inference-quote")
    return InferenceQuote(planned.spec, _quoted(planned)) if answer.denial is None else answer.denial


def request_inference(
    on: Collaborators, caller: Caller, body: Mapping[str, Any], *, alongside: Alongside[JobRecord] = nothing_else
) -> JobRecord | Deny:
    """Request a job: it waits for its owner's yes, or for the question; or it is refused."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    planned = _planned(on, caller, body)
    spec, job = planned.spec, JobId.new(on.entropy)
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(
            work, caller, Action.JOB_SUBMIT, **facts_of(spec), request_digest=spec.digest, job=job
        )
        if answer.denial is not None:
            work.commit("inference-denied")
            return answer.denial
        require_released(work.releases.get(id=spec.release))
        _require_few(work, caller)
        record = _record(work, caller, job, planned)
        work.record(_requested(record, spec, answer), actor=answer.actor, correlation=job)
        work.jobs.insert(record)
        work.inferences.insert(InferenceRecord(job=job, tenant=caller.tenant, model=spec.release))
        if not answer.permission.awaits_approval:
            _admit(work, record, answer)
        after = work.jobs.get(id=job)
        alongside(work, after)
        work.commit("inference")
    return after


def answer_inference(
    on: Collaborators, caller: Caller, job: JobId, verdict: ApprovalVerdict, request: Digest
) -> JobRecord | Deny:
    """Say yes or no to a parked job; a yes decides it anew.

    Args:
        on: Collaborators.
        caller: The owner of the dataset that the model was trained on.
        job: The parked job.
        verdict: The answer.
        request: The digest of the request that was looked at.
    """
    with on.database.work(caller.tenant) as work:
        record = work.jobs.get(lock=True, id=job, tenant=caller.tenant)
        answer = on.decider.decide_in(
            work, caller, Action.JOB_APPROVE, dataset=record.dataset, requester=record.principal,
            request_digest=request, job=job,
        )  # fmt: skip
        if answer.denial is not None:
            work.commit("inference-approval-denied")
            return answer.denial
        if record.state is not JobState.AWAITING_APPROVAL:
            raise ConflictError("this job does not wait for an approval", field="job")
        if request != record.request_digest:
            raise InvalidError("`request_digest` is not that of this job's request", field="request_digest")
        approval = record_approval(on, work, caller, record, verdict, answer)
        denial = _after_approval(on, work, record, approval)
        after = work.jobs.get(id=job)
        work.commit("inference-approval")
    return after if denial is None else denial


def facts_of(spec: InferenceSpec) -> dict[str, Any]:
    """What a decision is told: a question costs nothing."""
    return _facts(spec.dataset, spec.purpose)


def _facts(dataset: DatasetId, purpose: Slug) -> dict[str, Any]:
    return {"dataset": dataset, "purpose": purpose, "job_kind": JobKind.HE_INFER, "epsilon": Epsilon.zero()}


def _require_few(work: Work, caller: Caller) -> None:
    mine = work.jobs.all(tenant=caller.tenant, principal=caller.principal, kind=str(KIND))
    if sum(not job.state.ended for job in mine) >= MOST_OPEN:
        raise ConflictError(f"{MOST_OPEN} such jobs of yours are open: send their questions, or cancel them")


def _after_approval(on: Collaborators, work: Work, record: JobRecord, approval: Approval) -> Deny | None:
    if approval.verdict is ApprovalVerdict.REFUSED:
        end_inference(work, record, JobState.REFUSED, JobEnd.CANCELLED)
        return None
    spec, trainer = InferenceSpec.from_json(record.spec), Caller(record.tenant, record.principal)
    again = on.decider.decide_in(
        work, trainer, Action.JOB_SUBMIT, **facts_of(spec), request_digest=spec.digest, job=record.id,
        approvals=(approval,),
    )  # fmt: skip
    if again.denial is not None:
        end_inference(work, record, JobState.REFUSED, JobEnd.CANCELLED)
        return again.denial
    require_released(work.releases.get(id=spec.release))
    _admit(work, record, again)
    return None


def _admit(work: Work, record: JobRecord, answer: Answer) -> None:
    """From here on the question is waited for."""
    work.jobs.change(
        {"id": record.id},
        state=JobState.COLLECTING,
        decision_leaf=answer.entry.leaf_hash,
        policy_epoch=answer.decision.epoch,
        started_at=work.now,
    )
    deadline = work.now + timedelta(seconds=QUESTION_SECONDS)
    work.inferences.change(
        {"job": record.id},
        decision=answer.decision.decision,
        under_grant=answer.permission.grant,
        deadline=deadline,
    )
    work.progress.add(record.id, JobState.COLLECTING, 0, work.now)


def _refused_early(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> Deny | None:
    """Refuse whoever has no grant before the request is looked at any closer."""
    opening = InferenceOpening.of(body)
    facts = _facts(_dataset_of(on, caller, opening.release), opening.purpose)
    if not isinstance(on.decider.ask(caller, Action.JOB_QUOTE, **facts), Deny):
        return None
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **facts)
        work.commit("inference-denied-early")
    return answer.denial


def _dataset_of(on: Collaborators, caller: Caller, release: ReleaseId) -> DatasetId:
    with on.database.read() as reading:
        return reading.releases.get(id=release, tenant=caller.tenant).dataset


def _planned(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> PlannedInference:
    with on.database.read() as reading:
        return plan_inference(reading, caller.tenant, body, InferenceOpening.of(body).release)


def _quoted(planned: PlannedInference) -> dict[str, Any]:
    spec, shape = planned.spec, planned.spec.shape
    products = spec.batches * shape.features * shape.outputs * (1 if shape.layers == 1 else 8)
    return {
        "kind": str(KIND),
        "charge": "0",
        "rounds": 1,
        "profile": str(spec.profile.name),
        "features": shape.features,
        "outputs": shape.outputs,
        "layers": shape.layers,
        "batches": spec.batches,
        "rows_at_most": spec.most_rows,
        "bytes_of_the_question": spec.question_bytes,
        "bytes_of_the_answer": spec.answer_bytes,
        "expected_error": spec.profile.expected_error,
        "computing_seconds": -(-(PROCESS_MS + PRODUCT_MS * products) // 1000),
        "longest_seconds": QUESTION_SECONDS,
        "observers": [one.to_fields() for one in observers_of_inference(shape)],
        "says": WORDS,
        "terms": {"features": planned.model.features.to_json(), "table": planned.model.schema.to_json()},
    }


def _requested(record: JobRecord, spec: InferenceSpec, answer: Answer) -> InferenceRequested:
    return InferenceRequested(
        job=record.id,
        model=spec.release,
        certificate=spec.certificate,
        dataset=record.dataset,
        population=record.population,
        purpose=record.purpose,
        request=record.request_digest,
        decision=answer.permission.decision,
        awaits_approval=answer.permission.awaits_approval,
    )


def _record(work: Work, caller: Caller, job: JobId, planned: PlannedInference) -> JobRecord:
    spec, model = planned.spec, planned.model
    return JobRecord(
        id=job,
        tenant=caller.tenant,
        principal=caller.principal,
        dataset=spec.dataset,
        population=model.certificate.predicate.population.id,
        kind=str(KIND),
        state=JobState.AWAITING_APPROVAL,
        purpose=spec.purpose,
        spec=spec.to_json(),
        plan=spec.shape.to_json(),
        request_digest=spec.digest,
        epsilon=str(Epsilon.zero()),
        created_at=work.now,
    )
