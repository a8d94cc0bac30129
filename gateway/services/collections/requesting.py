"""Use case: quote a job on data of sites, request it, approve it.

Rules
-----
1. Each dataset decides by itself, and the job waits until all of them allow it; one refusal ends it.
2. An exact result needs, for each dataset, its owner's yes and another person's; a yes binds the digest of the whole
   request, and counts for every dataset for which its giver may give one.
3. For an exact result nothing is held: it has no price. When it comes, each population is marked as not covered
   (RULES 20). A noised one is held in every population when it is admitted, or it is refused (`paying`).
4. What a quote says, and the largest job that would still fit, is worked out after the commit: that takes longer than
   all else, and nobody should wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gateway.collection_records import CollectionRecord, JobSiteRecord
from gateway.records import ApprovalRecord, JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.admitting import admit
from gateway.services.collections.concerning import EXACT, concerned, datasets_of, priced_as
from gateway.services.collections.ending import end_collection
from gateway.services.collections.paying import agree, hold_everywhere, is_noised, lock_in_order, lock_of_job
from gateway.services.collections.planning import PlannedCollection, plan_collection, planned_again
from gateway.services.collections.quoting import CollectionQuote, largest_epsilon_of, quoted, share_of
from gateway.services.deciding import Answer, Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.services.request_job import APPROVAL_DAYS, OverBudget
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import ApprovalId, DatasetId, JobId, Slug
from policies.approvals import Approval
from policies.decisions import Deny
from policies.events import ApprovalGiven
from policies.vocabulary import Action, ApprovalVerdict, JobKind
from privacy.budget.ledger import Exhausted
from privacy.events.collections import CollectionRequested
from privacy.events.jobs import JobEnd
from privacy.homomorphic.requests.spec import CollectionOpening, CollectionSpec


def quote_collection(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> CollectionQuote | Deny:
    """Say what a job would take and who would learn what; nothing is held, nobody is asked."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    with on.database.read() as reading:
        planned = plan_collection(on, reading, caller.tenant, body)
    with on.database.work(caller.tenant) as work:
        answers = [
            on.decider.decide_in(work, caller, Action.JOB_QUOTE, **_facts(planned.spec, dataset))
            for dataset in planned.spec.datasets
        ]
        if (denial := _first_denial(answers)) is not None:
            work.commit("collection-quote-denied")
            return denial
        work.commit("collection-quote")
    with on.database.read() as reading:
        return quoted(reading, planned, caller.principal, [share_of(answer) for answer in answers])


def request_collection(
    on: Collaborators, caller: Caller, body: Mapping[str, Any], *, alongside: Alongside[JobRecord] = nothing_else
) -> JobRecord | Deny | OverBudget:
    """Request a job: it waits for approvals, is admitted, or is refused."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    with on.database.read() as reading:
        planned = plan_collection(on, reading, caller.tenant, body)
    agree(on, planned)
    answer = _request(on, caller, planned, alongside)
    return OverBudget(answer, largest_epsilon_of(planned, answer)) if isinstance(answer, Exhausted) else answer


def _request(
    on: Collaborators, caller: Caller, planned: PlannedCollection, alongside: Alongside[JobRecord]
) -> JobRecord | Deny | Exhausted:
    job = JobId.new(on.entropy)
    with on.database.work(caller.tenant) as work:
        lock_in_order(work, planned.priced, job)
        answers = _submitted(on, work, caller, job, planned.spec, ())
        if (denial := _first_denial(answers)) is not None:
            work.commit("collection-denied")
            return denial
        record = _record(work, caller, job, planned)
        for site, answer in zip(planned.sites, answers, strict=True):
            event = _requested(record, planned, site.dataset.id, site.dataset.population, site.party.id, answer)
            work.record(event, actor=answer.actor, correlation=job)
        waits = any(answer.permission.awaits_approval for answer in answers)
        held = [] if waits or not planned.priced else hold_everywhere(on, work, record, planned, answers)
        if isinstance(held, Exhausted):
            work.commit("collection-over-budget")
            return held
        _store(work, record, planned)
        if not waits:
            admit(on, work, record, answers, held)
        after = work.jobs.get(id=job)
        alongside(work, after)
        work.commit("collection")
    return after


def answer_collection(
    on: Collaborators, caller: Caller, job: JobId, verdict: ApprovalVerdict, request: Digest
) -> JobRecord | Deny | OverBudget:
    """Say yes or no to a parked job; the last yes that was missing admits it.

    Args:
        on: Collaborators.
        caller: The owner of one of its datasets, or a checker.
        job: The parked job.
        verdict: The answer.
        request: The digest of the request that was looked at.
    """
    with on.database.work(caller.tenant) as work:
        parked = work.jobs.get(id=job, tenant=caller.tenant)
        if is_noised(parked):
            lock_of_job(work, job)
        record = work.jobs.get(lock=True, id=job)
        snapshot = on.decider.at_head(work, work.policy.hold(caller.tenant))
        dataset = concerned(snapshot, datasets_of(work, record), caller.principal)
        answer = on.decider.decide_in(
            work, caller, Action.JOB_APPROVE, dataset=dataset, requester=record.principal, request_digest=request,
            job=job, exact=record.epsilon == EXACT,
        )  # fmt: skip
        if isinstance(answer.decision, Deny):
            work.commit("collection-approval-denied")
            return answer.decision
        _check_answer(work, caller, record, request)
        _approve(on, work, caller, record, dataset, verdict, answer)
        refused = _after_answer(on, work, record, verdict)
        after = work.jobs.get(id=job)
        work.commit("collection-approval")
    if isinstance(refused, _Unheld):
        return OverBudget(refused.exhausted, largest_epsilon_of(refused.planned, refused.exhausted))
    return after if refused is None else refused


@dataclass(frozen=True, slots=True)
class _Unheld:
    """A job that its last yes would have admitted, and the first population that cannot hold it."""

    planned: PlannedCollection
    exhausted: Exhausted


def _check_answer(work: Work, caller: Caller, record: JobRecord, request: Digest) -> None:
    if record.state is not JobState.AWAITING_APPROVAL:
        raise ConflictError("this job does not wait for an approval", field="job")
    if request != record.request_digest:
        raise InvalidError("`request_digest` is not that of this job's request", field="request_digest")
    if work.approvals.all(job=record.id, approver=caller.principal):
        raise ConflictError("you have answered this job already: the others' answers are awaited", field="job")


def _after_answer(on: Collaborators, work: Work, record: JobRecord, verdict: ApprovalVerdict) -> Deny | _Unheld | None:
    if verdict is ApprovalVerdict.REFUSED:
        end_collection(on, work, record, JobState.REFUSED, JobEnd.CANCELLED)
        return None
    given = tuple(
        Approval(
            approval=ApprovalId(found.id), approver=found.approver, verdict=ApprovalVerdict(found.verdict),
            request_digest=found.request_digest, until=found.until,
        )
        for found in sorted(work.approvals.all(job=record.id), key=lambda found: found.id)
    )  # fmt: skip
    trainer, spec = Caller(record.tenant, record.principal), CollectionSpec.from_json(record.spec)
    answers = _submitted(on, work, trainer, record.id, spec, given)
    denial = _first_denial(answers)
    if denial is not None:
        end_collection(on, work, record, JobState.REFUSED, JobEnd.CANCELLED)
        return denial
    if any(answer.permission.awaits_approval for answer in answers):
        return None
    planned = planned_again(on, work, record.tenant, record.spec)
    held = hold_everywhere(on, work, record, planned, answers) if planned.priced else []
    if isinstance(held, Exhausted):
        end_collection(on, work, record, JobState.REFUSED, JobEnd.CANCELLED)
        return _Unheld(planned, held)
    admit(on, work, record, answers, held)
    return None


def _approve(
    on: Collaborators,
    work: Work,
    caller: Caller,
    record: JobRecord,
    dataset: DatasetId,
    verdict: ApprovalVerdict,
    answer: Answer,
) -> None:
    approval = Approval(
        approval=ApprovalId.new(on.entropy),
        approver=caller.principal,
        verdict=verdict,
        request_digest=record.request_digest,
        until=work.now + timedelta(days=APPROVAL_DAYS),
    )
    given = ApprovalGiven(approval=approval, dataset=dataset, job=record.id)
    entry = work.record(given, actor=answer.actor, correlation=record.id)
    work.approvals.insert(
        ApprovalRecord(
            id=approval.approval,
            tenant=record.tenant,
            job=record.id,
            request_digest=record.request_digest,
            approver=caller.principal,
            verdict=verdict.value,
            until=approval.until,
            leaf=entry.leaf_hash,
        )
    )


def _refused_early(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> Deny | None:
    """Refuse whoever lacks a grant for one of the datasets before the request is looked at any closer."""
    opening = CollectionOpening.of(body)
    for dataset in opening.datasets:
        facts: dict[str, Any] = {
            "dataset": dataset,
            "purpose": opening.purpose,
            "job_kind": JobKind(opening.kind.value),
        }
        if not isinstance(on.decider.ask(caller, Action.JOB_QUOTE, **facts), Deny):
            continue
        with on.database.work(caller.tenant) as work:
            answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **facts)
            work.commit("collection-denied-early")
        if answer.denial is not None:
            return answer.denial
    return None


def _submitted(
    on: Collaborators, work: Work, trainer: Caller, job: JobId, spec: CollectionSpec, approvals: tuple[Approval, ...]
) -> list[Answer]:
    return [
        on.decider.decide_in(
            work, trainer, Action.JOB_SUBMIT, **_facts(spec, dataset), request_digest=spec.digest, job=job,
            approvals=approvals,
        )
        for dataset in spec.datasets
    ]  # fmt: skip


def _first_denial(answers: Sequence[Answer]) -> Deny | None:
    return next((answer.denial for answer in answers if answer.denial is not None), None)


def _facts(spec: CollectionSpec, dataset: DatasetId) -> dict[str, Any]:
    return {"dataset": dataset, "purpose": spec.purpose, "job_kind": JobKind(spec.kind.value)} | priced_as(spec)


def _requested(
    record: JobRecord, planned: PlannedCollection, dataset: DatasetId, population: Any, party: Any, answer: Answer
) -> CollectionRequested:
    return CollectionRequested(
        job=record.id,
        kind=Slug(record.kind),
        dataset=dataset,
        population=population,
        party=party,
        key_holder=planned.key_holder.id,
        purpose=record.purpose,
        request=record.request_digest,
        exact=planned.spec.privacy is None,
        decision=answer.permission.decision,
        awaits_approval=answer.permission.awaits_approval,
    )


def _record(work: Work, caller: Caller, job: JobId, planned: PlannedCollection) -> JobRecord:
    spec, first = planned.spec, planned.sites[0].dataset
    return JobRecord(
        id=job,
        tenant=caller.tenant,
        principal=caller.principal,
        dataset=first.id,
        population=first.population,
        kind=spec.kind.value,
        state=JobState.AWAITING_APPROVAL,
        purpose=spec.purpose,
        spec=spec.to_json(),
        plan=planned.plan.to_json(),
        request_digest=spec.digest,
        epsilon=EXACT if spec.privacy is None else str(spec.privacy.epsilon),
        created_at=work.now,
    )


def _store(work: Work, record: JobRecord, planned: PlannedCollection) -> None:
    job = record.id
    work.jobs.insert(record)
    work.collections.insert(CollectionRecord(job=job, tenant=record.tenant, key_holder=planned.key_holder.id))
    for number, site in enumerate(planned.sites):
        work.job_sites.insert(
            JobSiteRecord(
                job=job,
                number=number,
                party=site.party.id,
                dataset=site.dataset.id,
                population=site.dataset.population,
            )
        )
