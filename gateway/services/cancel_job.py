"""Use case: cancel a job.

Rules
-----
1. A job that has not touched data gives its hold back at once. A running one is asked to stop before its next steps,
   and is charged for every step that was started.
"""

from __future__ import annotations

from gateway.records import JobRecord, JobState, TaskRecord, TaskState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import concerned, datasets_of, of_sites
from gateway.services.collections.ending import end_collection
from gateway.services.collections.paying import lock_of_job
from gateway.services.deciding import Answer, Caller
from gateway.services.inferences.ending import end_inference, forget_question
from gateway.unit_of_work import Work
from kernel.errors import ConflictError
from kernel.ids import JobId
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.events.jobs import JobEnd, JobEnded
from privacy.homomorphic.inferences.spec import is_inference
from privacy.sealing.stores import BlobPath


def cancel_job(on: Collaborators, caller: Caller, job: JobId) -> JobRecord | Deny:
    """Cancel; raise `ConflictError` if the job has ended."""
    with on.database.work(caller.tenant) as work:
        found = work.jobs.get(id=job, tenant=caller.tenant)
        if of_sites(found.kind):
            lock_of_job(work, job)
        standing = work.ledger.lock(found.population, principal=found.principal, job=job)
        task = work.tasks.hold(job)
        record = work.jobs.get(lock=True, id=job)
        snapshot = on.decider.at_head(work, work.policy.hold(caller.tenant))
        dataset = concerned(snapshot, datasets_of(work, record), caller.principal)
        answer = on.decider.decide_in(
            work, caller, Action.JOB_CANCEL, dataset=dataset, requester=record.principal, job=job
        )
        if isinstance(answer.decision, Deny):
            work.commit("cancel-denied")
            return answer.decision
        if record.state.ended:
            raise ConflictError("this job has ended", field="job")
        if of_sites(record.kind):
            end_collection(on, work, record, JobState.CANCELLED, JobEnd.CANCELLED)
            after = work.jobs.get(id=job)
            work.commit("cancel-collection")
            return after
        if is_inference({"kind": record.kind}):
            after, blob = _unasked(work, record, task)
            work.commit("cancel-inference")
            forget_question(on, blob)
            return after
        leased = task is not None and task.state is TaskState.LEASED
        if leased or record.attempts:
            # Its worker, or the one that takes it up for another attempt, charges what was started and ends it.
            work.jobs.change({"id": job}, cancel_requested=True)
        else:
            _give_back(work, record, standing, answer)
        record = work.jobs.get(id=job)
        work.commit("cancel-request")
    return record


def _unasked(work: Work, record: JobRecord, task: TaskRecord | None) -> tuple[JobRecord, BlobPath | None]:
    """End a job on encrypted rows, which holds nothing; one that a worker has taken up ends with that."""
    if task is not None and task.state is TaskState.LEASED:
        work.jobs.change({"id": record.id}, cancel_requested=True)
        return work.jobs.get(id=record.id), None
    if task is not None:
        work.tasks.cancel(record.id)
    blob = end_inference(work, record, JobState.CANCELLED, JobEnd.CANCELLED)
    return work.jobs.get(id=record.id), blob


def _give_back(work: Work, record: JobRecord, standing: Standing, answer: Answer) -> None:
    if standing.reservation is not None:
        change = ledger.void(standing)
        if change is not None:
            work.ledger.append(change)
            work.record(change.event, actor=answer.actor, correlation=record.id)
        work.tasks.cancel(record.id)
    work.jobs.change({"id": record.id}, state=JobState.CANCELLED, ended_at=work.now)
    work.progress.add(record.id, JobState.CANCELLED, 0, work.now)
    ended = JobEnded(job=record.id, end=JobEnd.CANCELLED, attempts=0, steps_started=0)
    work.record(ended, actor=answer.actor, correlation=record.id)
