"""A job ends, however often its workers are interrupted: void if it never touched data, else charged in full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway import worker as worker_module
from gateway.records import JobState, TaskRecord, TaskState
from gateway.services import run_job
from gateway.services.collaborators import Collaborators
from gateway.wiring import build
from gateway.worker import MOST_IN_VAIN
from kernel.ids import JobId
from privacy.budget.reservations import Reservation, ReservationState
from privacy.jobs.plan import TrainingPlan, read_plan
from tests.support import crashes
from tests.support.crashes import Place, Stage

STEPS = 7


@pytest.fixture(scope="module")
def requested(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A training job that waits for a worker."""
    place = Place(tmp_path_factory.mktemp("run") / "place")
    return crashes.prepared(place, "enrol", "register", "upload", "seal", "request")


@pytest.fixture
def stage(requested: Place, tmp_path: Path) -> Iterator[Stage]:
    """A gateway on a copy of it."""
    place = requested.copy(tmp_path / "place")
    with closing(build(place.settings)) as gateway:
        yield Stage(place, gateway)


def standing_of(stage: Stage) -> tuple[JobState, TaskState, Reservation]:
    """The job, its task and its hold."""
    with stage.on.database.read() as reading:
        job = reading.jobs.get(id=JobId(stage.known["job"]))
        task = reading.tasks.for_subject(job.id)
        reservation = reading.ledger.read(job.population, job=job.id).reservation
    assert task is not None
    assert reservation is not None
    return job.state, task.state, reservation


def run_out(stage: Stage) -> None:
    """Let every lease have ended."""
    with stage.on.database.writing() as connection:
        connection.exec_driver_sql("UPDATE task SET lease_until = '2020-01-01T00:00:00Z' WHERE state = 'leased'")


def until_done(stage: Stage) -> int:
    """Let workers take the task up until nobody finds it any more; return how many took it."""
    taken = 0
    while stage.worker.step():
        taken += 1
        assert taken < 50, "the task is tried for ever"
        run_out(stage)
    return taken


def interrupting(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Collaborators, TaskRecord], None] = lambda *_: None
) -> None:
    """Each attempt does something, and then its worker breaks."""

    def broken(on: Collaborators, task: TaskRecord, *_: object) -> None:
        act(on, task)
        raise RuntimeError("a bug of the worker's")

    monkeypatch.setattr(worker_module, "run_in_child", broken)


def test_a_job_that_breaks_every_worker_before_data_is_touched_is_void(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails after a bounded number of leases, and the whole hold returns."""
    interrupting(monkeypatch)
    assert until_done(stage) == MOST_IN_VAIN + 1
    job, task, reservation = standing_of(stage)
    assert (job, task, reservation.state) == (JobState.FAILED, TaskState.DONE, ReservationState.VOIDED)


def test_a_job_whose_workers_were_killed_before_data_is_touched_is_void(stage: Stage) -> None:
    """A worker that dies says nothing; its leases are counted all the same."""
    for _ in range(MOST_IN_VAIN):
        with stage.on.database.upkeep("claim") as work:
            assert work.tasks.claim("killed", stage.on.clock.now(), 0) is not None
        run_out(stage)
    assert until_done(stage) == 1
    assert standing_of(stage)[2].state is ReservationState.VOIDED


def test_a_job_that_touched_data_once_is_charged_in_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt opens the envelope; those after it never come that far."""
    opened = []

    def open_once(on: Collaborators, task: TaskRecord) -> None:
        if not opened:
            opened.append(run_job.open_envelope(on, task))
            run_job.start_steps(on, task, JobId(task.subject), STEPS, 0)

    interrupting(monkeypatch, open_once)
    assert until_done(stage) == 1 + MOST_IN_VAIN + 1
    assert_failed_and_charged_in_full(stage)


def test_a_job_that_breaks_every_worker_after_the_envelope_opens_has_the_attempts_of_its_hold(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt opens the envelope and starts steps; then the hold covers no other, and is charged whole."""
    opened: list[int] = []

    def open_again(on: Collaborators, task: TaskRecord) -> None:
        made = run_job.open_envelope(on, task)
        assert made is not None
        opened.append(made.attempt)
        run_job.start_steps(on, task, JobId(task.subject), STEPS, 0)

    interrupting(monkeypatch, open_again)
    until_done(stage)
    with stage.on.database.read() as reading:
        job = reading.jobs.get(id=JobId(stage.known["job"]))
    plan = read_plan(job.kind, job.plan)
    assert isinstance(plan, TrainingPlan)
    assert opened == list(range(1, plan.resumes + 2))
    assert job.steps_started == STEPS * len(opened)
    assert_failed_and_charged_in_full(stage)


def assert_failed_and_charged_in_full(stage: Stage) -> None:
    """Every step that was held, replays included: never less than what was started."""
    job, task, reservation = standing_of(stage)
    assert (job, task, reservation.state) == (JobState.FAILED, TaskState.DONE, ReservationState.CHARGED)
    assert [charge.times for charge in reservation.charges] == [hold.mechanism.times for hold in reservation.holds]
