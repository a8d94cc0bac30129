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
from gateway.services.collaborators import Collaborators
from gateway.services.run_job import open_envelope
from gateway.worker import MOST_IN_VAIN, Worker
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
