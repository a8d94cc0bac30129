"""Rights that end while a job waits: what was allowed at the request must still be allowed when rows are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from gateway.records import JobState
from gateway.services import run_job
from kernel.amounts import Share
from kernel.clock import format_time
from kernel.ids import PopulationId, PrincipalId
from privacy.budget import ledger
from tests.attacks.conftest import ask, claim, held, job_of, opens, register, told, upload
from tests.support.api import House, done, grant_body

Act = Callable[[House], object]


def revoke(made: House) -> None:
    """The owner takes the grant back."""
    done(made["owner"].delete(f"/v1/grants/{made.ids['grant of trainer']}"))


def disable(made: House) -> None:
    """The administrator shuts the trainer out."""
    done(made["admin"].delete(f"/v1/principals/{made['trainer'].principal}"))


def demote(made: House) -> None:
    """The trainer is none any more."""
    done(made["admin"].delete(f"/v1/principals/{made['trainer'].principal}/roles/trainer"))


def retire(made: House) -> None:
    """The owner ends the use of the dataset."""
    done(made["owner"].delete(f"/v1/datasets/{made.ids['dataset']}"))


@pytest.mark.parametrize("ends", [revoke, disable, demote, retire])
def test_a_right_that_ended_while_the_job_waited_opens_nothing(made: House, ends: Act) -> None:
    """No key is handed out, the hold returns, and the refusal stands in the log before the end."""
    job = ask(made)
    ends(made)
    task = claim(made)
    assert not opens(made, task)
    run_job.cancel(made.gateway.on, task)
    assert job_of(made, job).state is JobState.CANCELLED
    assert held(made) == 0
    assert told(made, job)[-2:] == ["budget:voided", "job:ended"]
    refusals = [one for one in made.decisions().values() if one["request"].get("job") == job]
    assert refusals[-1]["verdict"] == "deny"


def test_a_right_that_ended_between_attempts_opens_nothing_again(made: House) -> None:
    """A job whose worker died is not taken up again for somebody who may no longer; what was started is charged."""
    job = ask(made)
    first = claim(made)
    assert opens(made, first)
    assert run_job.start_steps(made.gateway.on, first, job_of(made, job).id, 2, 0) is run_job.Steps.GO
    assert run_job.fail(made.gateway.on, first, again=True) is JobState.QUEUED
    revoke(made)
    again = claim(made)
    assert not opens(made, again)
    run_job.cancel(made.gateway.on, again)
    assert told(made, job)[-2:] == ["budget:charged", "job:ended"]
    assert job_of(made, job).state is JobState.CANCELLED


def test_a_new_upload_does_not_stop_a_job_that_waits(made: House) -> None:
    """The job reads the version that its reservation pinned, whatever is staged meanwhile."""
    ask(made)
    task = claim(made)
    done(made["owner"].put(f"/v1/datasets/{made.ids['dataset']}/content", content=b"age,dose,outcome\n"), 202)
    assert opens(made, task)


@pytest.mark.parametrize("fact", ["retention_until", "basis_until"])
def test_use_ends_with_the_retention_and_the_basis(made: House, monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    """A job that was asked for in time and comes up afterwards reads nothing."""
    clock = made.gateway.on.clock
    today, tomorrow = clock.now(), clock.now() + timedelta(days=1)
    made.ids["dataset"] = register(made, made.ids["population"], **{fact: format_time(tomorrow)})
    done(made["owner"].post("/v1/grants", grant_body(made["trainer"].principal, made.ids["dataset"])), 201)
    upload(made, made.ids["dataset"])
    ask(made)
    task = claim(made)
    monkeypatch.setattr(type(clock), "now", lambda _: today + timedelta(days=2))
    assert not opens(made, task)


def test_a_hold_that_lapsed_is_nobody_s_fault(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that comes up too late is cancelled; as a failure it would count against its trainer."""
    clock = made.gateway.on.clock
    # A minute more: the hold begins when the job is asked for, which may be in the next second.
    late = clock.now() + timedelta(seconds=made.gateway.settings.hold_seconds + 60)
    job = ask(made)
    task = claim(made)
    monkeypatch.setattr(type(clock), "now", lambda _: late)
    assert not opens(made, task)
    run_job.cancel(made.gateway.on, task)
    assert (job_of(made, job).state, held(made)) == (JobState.CANCELLED, 0)


def test_a_halted_trainer_learns_no_further_outcome(made: House) -> None:
    """What he had queued before he was halted gives its hold back, or a bit would leave for each."""
    job = ask(made)
    population, trainer = PopulationId(made.ids["population"]), PrincipalId(made["trainer"].principal)
    with made.gateway.on.database.work(made.tenant) as work:
        change = ledger.cap_trainer(work.ledger.lock(population, principal=trainer), Share.zero())
        assert change is not None
        work.ledger.append(change)
        work.record(change.event)
        work.commit("halt")
    task = claim(made)
    assert not opens(made, task)
    run_job.cancel(made.gateway.on, task)
    assert job_of(made, job).state is JobState.CANCELLED
    assert held(made) == 0
