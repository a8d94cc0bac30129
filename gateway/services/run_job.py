"""Use case: run a job, from the point of no return to its charge.

Rules
-----
1. `open_envelope` is one transaction: fencing token, permission asked once more, hold -> touched, the wrapped key read.
   After it only a charge ends the hold.
2. `start_steps` makes the high-water mark durable before the child runs a step; every step of every attempt counts.
3. `finish` is one transaction: charge, certificate, held release, entries. The sealed artefact is stored before it.
4. A death is retried while the hold covers it; then the job fails, is charged in full, and counts against its trainer.
5. Ends become visible at ticks (RULES 14): the worker waits for `next_tick` before `finish`, `fail` or `cancel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from gateway.records import JobRecord, JobState, ReleaseRecord, TaskRecord, VersionRecord
from gateway.services.certify import CertificateFacts, certify
from gateway.services.collaborators import Collaborators
from gateway.services.holding import hold_release, seal_artifact
from gateway.services.opinions import SecondOpinion
from gateway.services.use_rights import may_still_run
from gateway.unit_of_work import Work
from kernel.amounts import Share
from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.ids import DekId, JobId, ReleaseId
from privacy.accounting.mechanisms import MechanismUse
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.budget.ledger import Change
from privacy.budget.reservations import Reservation, ReservationState
from privacy.events.incidents import IncidentOpened
from privacy.events.jobs import JobEnd, JobEnded, JobStarted, TrainerHalted
from privacy.homomorphic.inferences.spec import is_inference
from privacy.jobs.outcome import Outcome
from privacy.jobs.plan import Plan, read_plan
from privacy.release.settlement import Charge
from privacy.sealing.lifecycle import open_dek
from privacy.sealing.secret import SecretBytes
from privacy.sealing.stores import BlobPath
from privacy.selftest.report import Check, SelfTest

END_STATES = {
    JobEnd.FINISHED: JobState.FINISHED,
    JobEnd.CANCELLED: JobState.CANCELLED,
    JobEnd.FAILED: JobState.FAILED,
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A job whose envelope is open: what its child needs.

    Attributes:
        manifest: The digest that the version's manifest must have; pinned by the reservation.
        key: The data key of the version.
        attempt: This attempt's number, from 1.
    """

    job: JobRecord
    plan: Plan
    version: VersionRecord
    manifest: Digest
    key: SecretBytes
    attempt: int


def next_tick(on: Collaborators, asked: datetime, now: datetime) -> datetime:
    """The first tick after a job's request that is past `now`: when anything about it may become visible.

    Ticks count from the request, whose time its trainer knows. When its rows were opened is no such time: before that
    lies the copying of its parts, which takes as long as they are large.
    """
    tick = on.limits.tick_seconds
    elapsed = max(int((now - asked).total_seconds()), 0)
    return asked + timedelta(seconds=tick * (elapsed // tick + 1))


def open_envelope(on: Collaborators, task: TaskRecord) -> Opened | None:
    """Pass the point of no return; nothing if the job was cancelled before, has ended, or may no longer run.

    Raises:
        StaleError: Another worker took the task over.
        ConflictError: The hold expired.
    """
    with on.database.work(task.tenant) as work:
        job, standing = _locked(work, task)
        if job.cancel_requested or job.state.ended:
            return None  # the caller ends it with `cancel`
        if job.attempts > _retries(job):
            raise ConflictError("this job has had all its attempts", field="job")
        if not may_still_run(on, work, job, standing):
            work.commit_upkeep(
                "use-denied"
            )  # what was decided is logged; a halt or a lapsed hold is in the log already
            return None
        attempt, started = job.attempts + 1, job.started_at or work.now
        change = ledger.touch(standing, attempt=attempt, now=work.now)
        reservation = _reservation(standing)
        version = work.versions.get(dataset=job.dataset, manifest_digest=reservation.manifest)
        wrapped = work.deks.get(version.dek or DekId(""))
        if change is not None:
            work.ledger.append(change)
            work.record(change.event, correlation=job.id)
        work.record(JobStarted(job=job.id, attempt=attempt), correlation=job.id)
        work.jobs.change({"id": job.id}, state=JobState.RUNNING, attempts=attempt, started_at=started)
        work.progress.add(job.id, JobState.RUNNING, 0, next_tick(on, job.created_at, work.now))
        opened = work.jobs.get(id=job.id)
        work.commit("touch")
    key = open_dek(wrapped, on.keyring)
    return Opened(opened, read_plan(job.kind, job.plan), version, reservation.manifest, key, attempt)


class Steps(Enum):
    """Whether further steps may start, or why not."""

    GO = auto()
    CANCELLED = auto()
    UNCOVERED = auto()


def start_steps(on: Collaborators, task: TaskRecord, job: JobId, more: int, percent: int) -> Steps:
    """Record that `more` steps start, before they run.

    Returns:
        Whether they may run; not if a cancellation was asked for or the hold does not cover them.

    Raises:
        StaleError: Another worker took the task over.
    """
    with on.database.work(task.tenant) as work:
        record, standing = _locked(work, task)
        covered = min(hold.mechanism.times for hold in _reservation(standing).holds)
        total = record.steps_started + more
        if record.cancel_requested:
            return Steps.CANCELLED
        if total > covered:
            return Steps.UNCOVERED
        work.jobs.change({"id": job}, steps_started=total)
        work.progress.add(job, JobState.RUNNING, percent, next_tick(on, record.created_at, work.now))
        work.tasks.extend(task, work.now, on.limits.lease_seconds)
        work.commit_upkeep("steps")
    return Steps.GO


def keep_savepoint(on: Collaborators, task: TaskRecord, job: JobId, step: int, sealed: bytes, attempt: int) -> None:
    """Store a savepoint that the child encrypted; the next attempt goes on from it."""
    path = BlobPath.of("savepoints", job, f"{attempt}-{step}")
    on.blobs.put_new(path, sealed)
    with on.database.work(task.tenant) as work:
        work.tasks.require_fence(task)
        work.jobs.change({"id": job}, savepoint_blob=str(path), savepoint_step=step)
        work.commit_upkeep("savepoint")


def charged_uses(on: Collaborators, task: TaskRecord) -> tuple[MechanismUse, ...]:
    """The mechanisms as often as they were started over all attempts: what `finish` will charge and certify."""
    with on.database.read() as reading:
        job = reading.jobs.get(id=JobId(task.subject))
        reservation = _reservation(reading.ledger.read(job.population, job=job.id))
    times = zip(reservation.holds, _started(job, reservation), strict=True)
    return tuple(hold.mechanism.repeated(count) for hold, count in times if count)


def finish(
    on: Collaborators,
    task: TaskRecord,
    opened: Opened,
    artifact: bytes,
    opinion: SecondOpinion,
    self_test: SelfTest | None = None,
    candidate: tuple[int, ...] | None = None,
) -> ReleaseRecord:
    """Charge what was started, certify, and hold the release for its door-keeper."""
    release = ReleaseId.new(on.entropy)
    path, dek = seal_artifact(on, task.tenant, release, artifact)
    with on.database.work(task.tenant) as work:
        job, standing = _locked(work, task)
        started = _started(job, _reservation(standing))
        change = ledger.charge(standing, started)
        if change is None:
            raise ConflictError("this job was charged before", field="job")
        charge_leaf = _append(work, change, job)
        outcome = Outcome(job=job.id, artifact=Digest.of(artifact), started=started)
        reservation = _reservation(change.after)
        settlement = Charge.of(outcome, reservation)
        facts = CertificateFacts(
            job=job, plan=opened.plan, version=opened.version, release=release, account=change.after.account,
            reservation=reservation, charge_leaf=charge_leaf, policy_epoch=job.policy_epoch,
            opinion=opinion, self_test=self_test, candidate=candidate,
        )  # fmt: skip
        _, signed = certify(on, work, settlement, facts)
        record = hold_release(work, job, release, path, dek, outcome.artifact, signed)
        _end(work, task, job, JobEnd.FINISHED, release)
        work.commit("finish")
    return record


def cancel(on: Collaborators, task: TaskRecord) -> None:
    """End a job that was cancelled: every step that was started is charged; nothing leaves."""
    with on.database.work(task.tenant) as work:
        job, standing = _locked(work, task)
        reservation = _reservation(standing)
        if reservation.state is ReservationState.HELD:
            change = ledger.void(standing)
        else:
            change = ledger.charge(standing, _started(job, reservation))
        if change is not None:
            _append(work, change, job)
        _end(work, task, job, JobEnd.CANCELLED)
        work.commit("cancel")


def fail(on: Collaborators, task: TaskRecord, *, again: bool) -> JobState:
    """After a death: put the job back if the hold covers another attempt, else end it as failed.

    Args:
        on: Collaborators.
        task: The leased task.
        again: Whether another attempt may fare better: this or an earlier one opened the envelope, or was killed from
            outside. Else the job failed on declared facts alone and would do so again: it ends.

    Returns:
        `queued` or `failed`.
    """
    with on.database.work(task.tenant) as work:
        job, standing = _locked(work, task)
        reservation = _reservation(standing)
        if again and not job.cancel_requested and job.attempts <= _retries(job):
            work.tasks.give_back(task)
            work.commit_upkeep("retry")
            return JobState.QUEUED
        if reservation.state is ReservationState.HELD:
            change = ledger.void(standing)
        elif reservation.state is ReservationState.TOUCHED:
            change = ledger.charge_in_full(standing)
        else:
            change = None
        if change is not None:
            _append(work, change, job)
            standing = change.after
        _end(work, task, job, JobEnd.FAILED)
        _count_failure(on, work, job, standing)
        work.commit("fail")
    return JobState.FAILED


def fail_self_test(on: Collaborators, task: TaskRecord, checks: tuple[Check, ...]) -> None:
    """End a job whose self-test failed: charged in full, nothing of it leaves, and an incident is opened.

    It counts as a failure of its trainer on this population: a request that makes the machinery fail is not to be tried
    again and again, whoever is to blame.
    """
    with on.database.work(task.tenant) as work:
        job, standing = _locked(work, task)
        change = ledger.charge_in_full(standing)
        if change is not None:
            _append(work, change, job)
            standing = change.after
        opened = IncidentOpened(job=job.id, dataset=job.dataset, population=job.population, checks=checks)
        work.record(opened, correlation=job.id)
        _end(work, task, job, JobEnd.FAILED)
        _count_failure(on, work, job, standing)
        work.commit("self-test")


def _retries(job: JobRecord) -> int:
    return read_plan(job.kind, job.plan).retries


def _count_failure(on: Collaborators, work: Work, job: JobRecord, standing: Standing) -> None:
    """After too many failures of one trainer on one population its cap falls to 0, until the owner sets another."""
    ended = work.jobs.all(population=job.population, principal=job.principal, state=JobState.FAILED)
    failed = [one for one in ended if not is_inference({"kind": one.kind})]  # those read no row
    if len(failed) % on.limits.faults_per_trainer:
        return
    change = ledger.cap_trainer(standing, Share.zero())
    if change is not None:
        _append(work, change, job)
        halted = TrainerHalted(principal=job.principal, population=job.population, failures=len(failed))
        work.record(halted, correlation=job.id)


def _locked(work: Work, task: TaskRecord) -> tuple[JobRecord, Standing]:
    """Lock population, task and job, in this order, and check the fence."""
    found = work.jobs.get(id=JobId(task.subject))
    standing = work.ledger.lock(found.population, job=found.id)
    work.tasks.require_fence(task)
    return work.jobs.get(lock=True, id=found.id), standing


def _reservation(standing: Standing) -> Reservation:
    if standing.reservation is None:
        raise ConflictError("this job has no reservation", field="job")
    return standing.reservation


def _started(job: JobRecord, reservation: Reservation) -> tuple[int, ...]:
    """How often each held mechanism was started: the steps of a training run, or the attempts of an evaluation."""
    return tuple(max(job.steps_started, 0) for _ in reservation.holds)


def _append(work: Work, change: Change, job: JobRecord) -> Digest:
    work.ledger.append(change)
    return work.record(change.event, correlation=job.id).leaf_hash


def _end(work: Work, task: TaskRecord, job: JobRecord, end: JobEnd, release: ReleaseId | None = None) -> None:
    state = END_STATES[end]
    work.jobs.change({"id": job.id}, state=state, ended_at=work.now, release=release)
    work.progress.add(job.id, state, 100 if end is JobEnd.FINISHED else 0, work.now)
    ended = JobEnded(job=job.id, end=end, attempts=job.attempts, steps_started=job.steps_started)
    work.record(ended, correlation=job.id)
    work.tasks.finish(task)
