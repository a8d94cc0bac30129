"""Children that die at the worst moment: a job that was opened gets its attempts, and no job is tried for ever."""

from __future__ import annotations

import dataclasses

import pytest

import gateway.worker as worker_module
from gateway.launchers.local import Died
from gateway.records import JobState, TaskRecord
from gateway.services.collaborators import Collaborators
from gateway.services.run_job import open_envelope
from gateway.worker import MOST_IN_VAIN, Worker
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


def test_a_job_that_was_never_opened_ends_at_once(made: House, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed on declared facts alone, and would again: void."""
    job = ask(made)
    monkeypatch.setattr(worker_module, "run_in_child", lambda *_: Died(touched=False))
    assert worker.step() is True
    assert job_of(made, job).state is JobState.FAILED
    assert "budget:voided" in told(made, job)
