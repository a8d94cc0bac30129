"""Children that die at the worst moment: a job that was opened gets its attempts, and no job is tried for ever."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest

import gateway.worker as worker_module
from gateway.launchers import local
from gateway.launchers.local import Died
from gateway.records import JobState, TaskRecord
from gateway.services.certify import SecondOpinion
from gateway.services.collaborators import Collaborators
from gateway.services.run_job import open_envelope
from gateway.worker import MOST_IN_VAIN, Worker
from kernel.amounts import Delta
from kernel.errors import ConflictError
from privacy.accounting.mechanisms import MechanismUse
from privacy.sandbox.spawn import Child
from tests.attacks.conftest import ask, job_of, told
from tests.support.api import House, worker_of


@pytest.fixture
def worker(made: House, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker that does not wait for ticks."""
    monkeypatch.setattr(Worker, "_wait_for_tick", lambda *_: None)
    return dataclasses.replace(worker_of(made), name="unlucky")


def test_a_death_before_the_envelope_does_not_end_a_job_that_was_opened(
    made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hold is touched: ending it now would charge it in full for nothing."""
    job, calls = ask(made), []

    def dies(on: Collaborators, task: TaskRecord, *_: object) -> Died:
        calls.append(task.attempt)
        return Died(touched=len(calls) == 1 and open_envelope(on, task) is not None)

    monkeypatch.setattr(worker_module, "run_in_child", dies)
    for _ in range(3):
        assert worker.step() is True
        assert job_of(made, job).state is JobState.RUNNING
    assert "job:ended" not in told(made, job)


def test_it_ends_after_a_few_attempts_in_vain(made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is charged in full, as after any death past the envelope."""
    job, calls = ask(made), []

    def dies(on: Collaborators, task: TaskRecord, *_: object) -> Died:
        calls.append(task.attempt)
        return Died(touched=len(calls) == 1 and open_envelope(on, task) is not None)

    monkeypatch.setattr(worker_module, "run_in_child", dies)
    while worker.step():
        assert len(calls) <= MOST_IN_VAIN + 1
    assert job_of(made, job).state is JobState.FAILED
    assert told(made, job)[-2:] == ["budget:charged", "job:ended"]


def test_a_job_whose_children_are_killed_before_the_envelope_is_tried_again(
    made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was none of its doing; but not for ever, and in the end it is void."""
    job, calls = ask(made), []

    def killed(_: Collaborators, task: TaskRecord, *__: object) -> Died:
        calls.append(task.attempt)
        return Died(touched=False, outside=True)

    monkeypatch.setattr(worker_module, "run_in_child", killed)
    while worker.step():
        assert len(calls) <= MOST_IN_VAIN
    assert len(calls) == MOST_IN_VAIN
    assert job_of(made, job).state is JobState.FAILED
    assert "budget:voided" in told(made, job)


def test_a_child_that_is_killed_while_it_prepares_costs_one_attempt_more(
    made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real child gets a real SIGKILL before it has a key; the next one finishes the job, which is charged once."""
    job, killed, spawn = ask(made), [], local.spawn

    def struck(*arguments: object, **options: object) -> Child:
        child = spawn(*arguments, **options)  # type: ignore[arg-type]
        if not killed:
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)
        return child

    monkeypatch.setattr(local, "spawn", struck)
    while worker.step():
        pass
    assert len(killed) == 1
    assert job_of(made, job).state is JobState.FINISHED
    assert told(made, job).count("budget:charged") == 1


def test_a_job_that_was_never_opened_ends_at_once(made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed on declared facts alone, and would again: void."""
    job = ask(made)
    monkeypatch.setattr(worker_module, "run_in_child", lambda *_: Died(touched=False))
    assert worker.step() is True
    assert job_of(made, job).state is JobState.FAILED
    assert "budget:voided" in told(made, job)


def _disagrees(*_: object) -> SecondOpinion:
    raise ConflictError("the second accountant does not agree")


def test_a_price_that_the_second_accountant_denies_ends_the_job_at_once(made: House, worker: Worker) -> None:
    """RULES 25: it would say so again, so nothing is opened, nothing is tried again, and the hold returns."""
    job = ask(made)
    assert dataclasses.replace(worker, opinion=_disagrees).step() is True
    assert (job_of(made, job).state, job_of(made, job).attempts) == (JobState.FAILED, 0)
    assert "budget:voided" in told(made, job)
    assert worker.step() is False


def test_a_price_that_is_denied_after_the_run_lets_nothing_out_and_runs_nothing_again(
    made: House, worker: Worker
) -> None:
    """Not even the attempts that the hold covers: each would be charged, and none could be certified."""
    job, asked = ask(made), []

    def agrees_once(uses: tuple[MechanismUse, ...], order: int, delta: Delta) -> SecondOpinion:
        asked.append(uses)
        return worker.opinion(uses, order, delta) if len(asked) == 1 else _disagrees()

    assert dataclasses.replace(worker, opinion=agrees_once).step() is True
    assert len(asked) == 2
    assert (job_of(made, job).state, job_of(made, job).attempts) == (JobState.FAILED, 1)
    assert told(made, job)[-2:] == ["budget:charged", "job:ended"]
    assert worker.step() is False
