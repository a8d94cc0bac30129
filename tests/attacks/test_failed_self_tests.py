"""A job whose self-test fails: nothing of it leaves, it is charged in full, and the log says which checks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway.launchers.local import Died, Finished, SelfTestFailed
from gateway.records import JobState, TaskState
from gateway.services.run_job import fail_self_test
from privacy.selftest.report import Check
from tests.attacks.conftest import ask, job_of, task_state, told
from tests.attacks.test_lying_child import STEPS, need, played
from tests.support.api import House


def ends(**figures: Any) -> Any:
    """A child that keeps to its part and tells these figures beside its weights."""

    def says(liar: Any) -> list[Any]:
        faults = {name: figures[name] for name in ("scale", "steps") if name in figures}
        changes = {name: value for name, value in figures.items() if name not in faults}
        told_ = liar.figures(**faults) | changes
        return [need(STEPS), ({"m": "result", "steps": STEPS, "self_test": told_}, liar.weights())]

    return says


def test_an_honest_run_finishes_with_its_figures(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go into the certificate."""
    ask(made)
    end = played(made, monkeypatch, ends())
    assert isinstance(end, Finished)
    assert end.self_test is not None


def test_half_the_noise_ends_the_job_and_opens_an_incident(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one commit: the charge of the whole hold, the incident with the names, the end. No second attempt."""
    job = ask(made)
    end = played(made, monkeypatch, ends(scale=0.5))
    assert isinstance(end, SelfTestFailed)
    assert {Check.NOISE_VARIANCE, Check.WHOLE_VARIANCE} <= set(end.checks)
    with made.gateway.on.database.read() as reading:
        task = reading.tasks.for_subject(job_of(made, job).id)
    assert task is not None
    fail_self_test(made.gateway.on, task, end.checks)
    assert told(made, job)[-3:] == ["budget:charged", "incident:opened", "job:ended"]
    entries = {entry["type"]: entry["fields"] for entry in made.log() if entry.get("correlation") == job}
    assert entries["budget:charged"]["in_full"] is True
    assert "noise-variance" in entries["incident:opened"]["checks"]
    ended = job_of(made, job)
    assert (ended.state, ended.release) == (JobState.FAILED, None)
    assert task_state(made, job) is TaskState.DONE


@pytest.mark.parametrize(
    "figures",
    [
        {"whole_variance": False},
        {"whole_repeats": False},
        {"rehearsed": []},
        {"squares": "1e30"},
        {"drawn": 0},
        {"signal": "100000"},
    ],
    ids=str,
)
def test_the_parent_judges_by_the_figures(
    figures: dict[str, Any], made: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child tells no verdict."""
    ask(made)
    assert isinstance(played(made, monkeypatch, ends(**figures)), SelfTestFailed)


@pytest.mark.parametrize(
    "figures",
    [
        {"steps": 1},
        {"coordinates": 1},
        {"guesses": []},
        {"squares": "NaN"},
        {"drawn": "5"},
        {"verdict": "passed"},
        {"rehearsed": ["everything"]},
    ],
    ids=str,
)
def test_figures_that_leave_something_out_are_no_result(
    figures: dict[str, Any], made: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer steps, coordinates or guesses, wrong kinds, members more: the attempt died."""
    ask(made)
    assert played(made, monkeypatch, ends(**figures)) == Died(touched=True)


def test_it_counts_as_a_failure_of_its_trainer(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit the trainer's share falls to nothing, until the owner sets another."""
    job = ask(made)
    end = played(made, monkeypatch, ends(scale=0.5))
    assert isinstance(end, SelfTestFailed)
    on = made.gateway.on
    with on.database.read() as reading:
        task = reading.tasks.for_subject(job_of(made, job).id)
    assert task is not None
    strict = dataclasses.replace(on, limits=dataclasses.replace(on.limits, faults_per_trainer=1))
    fail_self_test(strict, task, end.checks)
    assert told(made, job)[-1] == "trainer:halted"
