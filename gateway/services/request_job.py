"""Use case: quote a job, request it, approve it.

Rules
-----
1. decide, plan, then one work: lock the population, decide again on the epoch that the work holds, reserve, enqueue,
   log.
2. A job that needs its owner's yes waits without a hold; the yes binds the digest of the exact request, which is
   decided anew with the yes among its facts.
3. A refusal for lack of budget is logged and tells the largest job of this shape that would still fit. That is worked
   out after the commit: the search takes longer than all else, and nobody else should wait for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gateway.records import ApprovalRecord, JobRecord, JobState, TaskKind, TaskRecord, TaskState
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Answer, Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.services.job_facts import PlannedJob, plan_job, sealed_version
from gateway.services.use_rights import fetch_facts, refused_model
from gateway.unit_of_work import Work
from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest
from kernel.checks import text
from kernel.errors import ConflictError, InvalidError
from kernel.ids import ApprovalId, JobId, ReleaseId, Slug, TaskId
from policies.approvals import Approval
from policies.decisions import Allow, Deny
from policies.events import ApprovalGiven
from policies.vocabulary import Action, ApprovalVerdict, JobKind
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.budget.ledger import Exhausted
from privacy.events.jobs import JobEnd, JobEnded, JobQueued, JobRequested
from privacy.jobs.head import sees_home_alone
from privacy.jobs.kinds import KINDS, kind_named
from privacy.jobs.opening import Opening
from privacy.jobs.plan import Plan, graph_of, read_plan
from privacy.jobs.quote import Quote, largest_epsilon_of, quote

APPROVAL_DAYS = 30


@dataclass(frozen=True, slots=True)
class OverBudget:
    """The job does not fit; nothing was held."""

    exhausted: Exhausted
    largest_epsilon: Epsilon | None


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote and the final form of the request that it is for."""

    planned: PlannedJob
    quote: Quote


def quote_job(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> Quoted | Deny:
    """Say what a job would cost; nothing is held."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    with on.database.read() as reading:
        planned = plan_job(reading, caller.tenant, body)
    facts = _facts(planned)
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **facts)
        standing = work.ledger.read(planned.declared.dataset.population, principal=caller.principal)
        work.commit("quote")
    if isinstance(answer.decision, Deny):
        return answer.decision
    obligations = answer.decision.obligations
    share = Share.parse("1") if obligations is None else obligations.trainer_share
    home, alone = planned.declared.home, sees_home_alone(planned.spec.to_json())
    return Quoted(planned, quote(planned.plan, standing, share, home, alone=alone))


def request_job(
    on: Collaborators, caller: Caller, body: Mapping[str, Any], *, alongside: Alongside[JobRecord] = nothing_else
) -> JobRecord | Deny | OverBudget:
    """Request a job: it is queued with its reservation, parked for approval, or refused."""
    if (denial := _refused_early(on, caller, body)) is not None:
        return denial
    with on.database.read() as reading:
        planned = plan_job(reading, caller.tenant, body)
    answer = _request(on, caller, planned, alongside)
    return _over_budget(planned.plan, answer) if isinstance(answer, Exhausted) else answer


def _request(
    on: Collaborators, caller: Caller, planned: PlannedJob, alongside: Alongside[JobRecord]
) -> JobRecord | Deny | Exhausted:
    job = JobId.new(on.entropy)
    with on.database.work(caller.tenant) as work:
        population = planned.declared.dataset.population
        standing = work.ledger.lock(population, principal=caller.principal, job=job)
        if (denial := refused_model(on, work, caller, planned.spec)) is not None:
            work.commit("job-model-denied")
            return denial
        answer = on.decider.decide_in(
            work, caller, Action.JOB_SUBMIT, **_facts(planned), request_digest=planned.spec.digest, job=job
        )
        if isinstance(answer.decision, Deny):
            work.commit("job-denied")
            return answer.decision
        record = _record(job, caller, planned, work)
        work.record(_requested(record, answer.decision), actor=answer.actor, correlation=job)
        if answer.decision.awaits_approval:
            work.jobs.insert(record)
        else:
            queued = _reserve(on, work, record, planned.plan, standing, answer)
            if isinstance(queued, Exhausted):
                work.commit("job-over-budget")
                return queued
            work.jobs.insert(queued)
            record = queued
        alongside(work, record)
        work.commit("job")
    return record


def answer_approval(
    on: Collaborators,
    caller: Caller,
    job: JobId,
    verdict: ApprovalVerdict,
    request: Digest,
    graph: Digest | None = None,
) -> JobRecord | Deny | OverBudget:
    """Say yes or no to a parked job; a yes decides and reserves it anew.

    Args:
        on: Collaborators.
        caller: Its owner.
        job: The parked job.
        verdict: The answer.
        request: The digest of the request that was looked at.
        graph: That of the model graph, if its digest was looked at by itself; the request's binds it anyway.
    """
    with on.database.work(caller.tenant) as work:
        found = work.jobs.get(id=job, tenant=caller.tenant)
        standing = work.ledger.lock(found.population, principal=found.principal, job=job)
        record = work.jobs.get(lock=True, id=job)
        answer = on.decider.decide_in(
            work, caller, Action.JOB_APPROVE, dataset=record.dataset, requester=record.principal,
            request_digest=request, job=job,
        )  # fmt: skip
        if isinstance(answer.decision, Deny):
            work.commit("approval-denied")
            return answer.decision
        if record.state is not JobState.AWAITING_APPROVAL:
            raise ConflictError("this job does not wait for an approval", field="job")
        if request != record.request_digest:
            raise InvalidError("`request_digest` is not that of this job's request", field="request_digest")
        if graph is not None and graph != graph_of(read_plan(record.kind, record.plan)):
            raise InvalidError("`graph` is not the digest of this job's model graph", field="graph")
        approval = record_approval(on, work, caller, record, verdict, answer)
        result = _after_approval(on, work, record, standing, approval, answer)
        work.commit("approval")
    return _over_budget(read_plan(record.kind, record.plan), result) if isinstance(result, Exhausted) else result


def _refused_early(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> Deny | None:
    """Refuse whoever has no grant before the request is looked at any closer; nothing of the plan is told to him.

    Nor is anything told of a model that he may not fetch.
    """
    opening = Opening.of(body)
    facts: dict[str, Any] = {
        "dataset": opening.dataset,
        "purpose": opening.purpose,
        "job_kind": JobKind(opening.kind.value),
    }
    denial = _denied(on, caller, Action.JOB_QUOTE, facts)
    if denial is not None or not KINDS[opening.kind].uses_release:
        return denial
    release = ReleaseId(text(64, release=body.get("release", "")))
    with on.database.read() as reading:
        model = fetch_facts(reading, caller.tenant, release)
    return _denied(on, caller, Action.RELEASE_FETCH, model)


def _denied(on: Collaborators, caller: Caller, action: Action, facts: Mapping[str, Any]) -> Deny | None:
    """Ask the cached policy; only a refusal is decided again at its head, and logged."""
    if not isinstance(on.decider.ask(caller, action, **facts), Deny):
        return None
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, action, **facts)
        work.commit("job-denied-early")
    return answer.denial


def _after_approval(
    on: Collaborators, work: Work, record: JobRecord, standing: Standing, approval: Approval, answer: Answer
) -> JobRecord | Deny | Exhausted:
    if approval.verdict is ApprovalVerdict.REFUSED:
        return _ended(work, record, JobState.REFUSED, answer)
    trainer = Caller(record.tenant, record.principal)
    plan = read_plan(record.kind, record.plan)
    again = on.decider.decide_in(
        work, trainer, Action.JOB_SUBMIT, dataset=record.dataset, purpose=record.purpose,
        job_kind=JobKind(record.kind), epsilon=Epsilon.parse(record.epsilon), request_digest=record.request_digest,
        job=record.id, approvals=(approval,),
    )  # fmt: skip
    if isinstance(again.decision, Deny):
        _ended(work, record, JobState.REFUSED, answer)
        return again.decision
    queued = _reserve(on, work, record, plan, standing, again)
    if isinstance(queued, Exhausted):
        _ended(work, record, JobState.REFUSED, answer)
        return queued
    names = ("state", "decision_leaf", "reserve_leaf", "policy_epoch")
    changes = {name: getattr(queued, name) for name in names}
    work.jobs.change({"id": record.id, "row_version": record.row_version}, **changes)
    return queued


def _reserve(
    on: Collaborators, work: Work, record: JobRecord, plan: Plan, standing: Standing, answer: Answer
) -> JobRecord | Exhausted:
    """Hold the budget, enqueue the task and log both; the caller stores the job's row."""
    version, manifest = sealed_version(work, work.datasets.get(id=record.dataset))
    permit = answer.permission.permit(answer.entry.leaf_hash, record.id, record.request_digest)
    expires = work.now + timedelta(seconds=on.limits.hold_seconds)
    # Whoever is at home in an earlier block may be in these rows: it is charged, or the job does not see him.
    uses = [use.placed(version.home, alone=sees_home_alone(record.spec)) for use in plan.holds()]
    held = ledger.reserve(standing, permit, uses=uses, manifest=manifest, expires_at=expires)
    if isinstance(held, Exhausted):
        work.record(held.refusal, actor=answer.actor, correlation=record.id)
        return held
    assert held.change is not None  # the job's id is fresh, or it was parked without a hold
    work.ledger.append(held.change)
    entry = work.record(held.change.event, actor=answer.actor, correlation=record.id)
    work.record(JobQueued(job=record.id, version=version.id, manifest=manifest), correlation=record.id)
    work.tasks.enqueue(_task(on, record, work))
    return dataclasses.replace(
        record,
        state=JobState.QUEUED,
        decision_leaf=answer.entry.leaf_hash,
        reserve_leaf=entry.leaf_hash,
        policy_epoch=answer.decision.epoch,
    )


def _over_budget(plan: Plan, held: Exhausted) -> OverBudget:
    limits = held.refusal.limits
    if held.refusal.retired or not limits:
        return OverBudget(held, None)
    return OverBudget(held, largest_epsilon_of(plan, min(limit.available for limit in limits), plan.order))


def record_approval(
    on: Collaborators, work: Work, caller: Caller, record: JobRecord, verdict: ApprovalVerdict, answer: Answer
) -> Approval:
    """Store and log an owner's answer to a parked job."""
    approval = Approval(
        approval=ApprovalId.new(on.entropy),
        approver=caller.principal,
        verdict=verdict,
        request_digest=record.request_digest,
        until=work.now + timedelta(days=APPROVAL_DAYS),
    )
    work.approvals.insert(
        ApprovalRecord(
            id=approval.approval,
            tenant=record.tenant,
            job=record.id,
            request_digest=record.request_digest,
            approver=caller.principal,
            verdict=verdict.value,
            until=approval.until,
        )
    )
    given = ApprovalGiven(approval=approval, dataset=record.dataset, job=record.id)
    work.record(given, actor=answer.actor, correlation=record.id)
    return approval


def _ended(work: Work, record: JobRecord, state: JobState, answer: Answer) -> JobRecord:
    work.jobs.change({"id": record.id, "row_version": record.row_version}, state=state, ended_at=work.now)
    ended = JobEnded(job=record.id, end=JobEnd.CANCELLED, attempts=0, steps_started=0)
    work.record(ended, actor=answer.actor, correlation=record.id)
    return work.jobs.get(id=record.id)


def _facts(planned: PlannedJob) -> dict[str, Any]:
    spec = planned.spec
    return {
        "dataset": spec.dataset,
        "purpose": Slug(spec.purpose),
        "job_kind": JobKind(spec.kind.value),
        "epsilon": spec.epsilon,
    }


def _requested(record: JobRecord, allow: Allow) -> JobRequested:
    return JobRequested(
        job=record.id,
        kind=Slug(record.kind),
        dataset=record.dataset,
        population=record.population,
        purpose=record.purpose,
        request=record.request_digest,
        epsilon=Epsilon.parse(record.epsilon),
        decision=allow.decision,
        awaits_approval=allow.awaits_approval,
    )


def _record(job: JobId, caller: Caller, planned: PlannedJob, work: Work) -> JobRecord:
    spec = planned.spec
    return JobRecord(
        id=job,
        tenant=caller.tenant,
        principal=caller.principal,
        dataset=spec.dataset,
        population=planned.declared.dataset.population,
        kind=spec.kind.value,
        state=JobState.AWAITING_APPROVAL,
        purpose=Slug(spec.purpose),
        spec=spec.to_json(),
        plan=planned.plan.to_fields(),
        request_digest=spec.digest,
        epsilon=str(spec.epsilon),
        created_at=work.now,
    )


def _task(on: Collaborators, record: JobRecord, work: Work) -> TaskRecord:
    return TaskRecord(
        id=TaskId.new(on.entropy),
        tenant=record.tenant,
        kind=TaskKind(kind_named(record.kind).role.value),
        subject=str(record.id),
        state=TaskState.QUEUED,
        created_at=work.now,
    )
