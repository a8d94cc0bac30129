"""The worker: takes leased tasks one at a time, runs them in confined children, and ends them.

Rules
-----
1. A task is worked on under its lease and fence; a heartbeat keeps the lease alive, and whatever comes after it was
   lost is refused by the database.
2. A job's end becomes visible at a tick after its request (RULES 14), whatever the time it took.
3. A worker that dies leaves nothing to clean up: its lease runs out and another takes the task.
4. No task is tried for ever: after `MOST_IN_VAIN` leases that brought it no further it is ended, whatever the reason.
   An upload is refused; a job fails, void if it never touched data and else charged in full; a question's job fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.launchers.inference import answer_in_child, give_up_question
from gateway.launchers.ingest import give_up, seal_in_child
from gateway.launchers.local import Cancelled, Confinement, Died, End, Finished, SelfTestFailed, run_in_child
from gateway.launchers.turns import take_turn
from gateway.records import TaskKind, TaskRecord
from gateway.services import run_job
from gateway.services.collaborators import Collaborators
from gateway.services.collections.ending import fail_overdue
from gateway.services.collections.turns import fail_turn, ring_all
from gateway.services.expire_holds import expire_holds
from gateway.services.inferences.ending import fail_unasked
from gateway.services.opinions import Opinion
from gateway.services.release_desk import release_automatically
from kernel.errors import PrivgateError, StaleError, UnavailableError
from kernel.ids import JobId

IDLE_SECONDS = 0.2
UPKEEP_SECONDS = 30.0
RETRY_SECONDS = 1.0
BEATS_PER_LEASE = 3
MOST_IN_VAIN = 5
UPKEEP: tuple[Callable[[Collaborators], int], ...] = (expire_holds, fail_overdue, ring_all, fail_unasked)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker process.

    Attributes:
        name: Who holds the lease; for operators.
        opinion: The second accountant.
        stopping: Set to stop after the present task.
    """

    on: Collaborators
    confinement: Confinement
    opinion: Opinion
    name: str
    stopping: threading.Event

    def run(self) -> None:
        """Work until told to stop."""
        next_upkeep = 0.0
        while not self.stopping.is_set():
            try:
                if time.monotonic() >= next_upkeep:
                    next_upkeep = time.monotonic() + (UPKEEP_SECONDS if self._kept_up() else RETRY_SECONDS)
                if not self.step():
                    self.stopping.wait(IDLE_SECONDS)
            except Exception as error:  # noqa: BLE001 - a lost connection is tried again; no task was taken meanwhile
                _log.warning("worker", kind=type(error).__name__)
                self.stopping.wait(RETRY_SECONDS)

    def _kept_up(self) -> bool:
        """Do what time alone makes due, each whatever became of the others; return whether all of it was done."""
        done = True
        for upkeep in UPKEEP:
            try:
                upkeep(self.on)
            except Exception as error:  # noqa: BLE001 - tried again in a moment; tasks are worked on meanwhile
                _log.warning("upkeep", what=upkeep.__name__, kind=type(error).__name__)
                done = False
        return done

    def step(self) -> bool:
        """Claim one task and work on it; return whether there was one."""
        task = self._claim()
        if task is None:
            return False
        try:
            with _Heartbeat(self.on, task):
                self._work(task)
        except StaleError:
            _log.warning("lease-lost", task=task.id)
        except Exception as error:  # noqa: BLE001 - the lease runs out and the task is tried again, a few times
            _log.error("task-interrupted", task=task.id, kind=type(error).__name__)
        return True

    def _claim(self) -> TaskRecord | None:
        with self.on.database.upkeep("claim") as work:
            return work.tasks.claim(self.name, self.on.clock.now(), self.on.limits.lease_seconds)

    def _work(self, task: TaskRecord) -> None:
        in_vain = task.attempt > MOST_IN_VAIN
        match task.kind:
            case TaskKind.SEAL if in_vain:
                give_up(self.on, task)
            case TaskKind.SEAL:
                seal_in_child(self.on, task, self.confinement)
            case TaskKind.TURN if in_vain:
                fail_turn(self.on, task)
            case TaskKind.TURN:
                take_turn(self.on, task, self.confinement)
            case TaskKind.HE_INFER if in_vain:
                give_up_question(self.on, task)
            case TaskKind.HE_INFER:
                answer_in_child(self.on, task, self.confinement)
            case _:
                self._run(task)

    def _run(self, task: TaskRecord) -> None:
        end: End = Died(touched=False)
        # An attempt that opens the envelope counts on the job, and is bounded by its hold.
        before = _attempts(self.on, task)
        may_start = task.attempt <= before + MOST_IN_VAIN
        if may_start:
            end = run_in_child(self.on, task, self.confinement, self.opinion)
        self._wait_for_tick(task)
        match end:
            case Finished():
                self._finish(task, end)
            case SelfTestFailed():
                _log.error("self-test-failed", task=task.id, checks=[check.value for check in end.checks])
                run_job.fail_self_test(self.on, task, end.checks)
            case Cancelled():
                run_job.cancel(self.on, task)
            case Died():
                if end.rehearsal is not None:
                    _log.error("rehearsal-failed", task=task.id, check=end.rehearsal.value)
                if end.cause is not None:
                    _log.error("not-prepared", task=task.id, kind=end.cause.value)
                run_job.fail(self.on, task, again=end.touched or (may_start and (end.outside or before > 0)))

    def _finish(self, task: TaskRecord, end: Finished) -> None:
        try:
            uses, plan = run_job.charged_uses(self.on, task), end.opened.plan
            opinion = self.opinion(uses, plan.order, plan.delta)
        except StaleError:
            raise
        except PrivgateError as error:
            # A second accountant that does not agree would not on another run either.
            _log.error("no-second-opinion", task=task.id, kind=type(error).__name__)
            run_job.fail(self.on, task, again=isinstance(error, UnavailableError))
            return
        release = run_job.finish(self.on, task, end.opened, end.artifact, opinion, end.self_test, end.candidate)
        release_automatically(self.on, release)

    def _wait_for_tick(self, task: TaskRecord) -> None:
        with self.on.database.read() as reading:
            job = reading.jobs.get(id=JobId(task.subject))
        now = self.on.clock.now()
        # Clocks tell whole seconds. The part of a second that has passed is taken off, or every end would lie as far
        # behind its tick as the work behind a second.
        left = (run_job.next_tick(self.on, job.created_at, now) - now).total_seconds() - time.time() % 1
        # Whether rows were opened or not: a job that is cancelled while its parts are copied ends when they are.
        # Not on `stopping`: an end that shows before its tick would tell how long the work took.
        # A tick at most, for a clock that was put back.
        time.sleep(min(max(left, 0.0), self.on.limits.tick_seconds))


def _attempts(on: Collaborators, task: TaskRecord) -> int:
    """How many attempts of a job have opened its envelope."""
    with on.database.read() as reading:
        return reading.jobs.get(id=JobId(task.subject)).attempts


class _Heartbeat:
    """Extends a lease from a thread of its own while the block runs."""

    def __init__(self, on: Collaborators, task: TaskRecord) -> None:
        self._on, self._task = on, task
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        every = self._on.limits.lease_seconds / BEATS_PER_LEASE
        while not self._done.wait(every):
            try:
                with self._on.database.upkeep("heartbeat") as work:
                    work.tasks.extend(self._task, self._on.clock.now(), self._on.limits.lease_seconds)
            except Exception as error:  # noqa: BLE001 - a lost lease is found by the next write under its fence
                _log.warning("heartbeat", kind=type(error).__name__)
