"""Saying the same thing twice, or to somebody else: approvals, idempotency keys, cancellations."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.services import run_job
from kernel.ids import JobId
from tests.attacks.conftest import RECIPE, ask, claim, held, opens, told
from tests.support.api import House, done, grant_body, job_body, refused


@pytest.fixture
def asking(made: House) -> House:
    """The hospital where `trainer` needs a yes for each job."""
    done(made["owner"].delete(f"/v1/grants/{made.ids['grant of trainer']}"))
    obligations = {"approval_required": True}
    body = grant_body(made["trainer"].principal, made.ids["dataset"], obligations=obligations)
    done(made["owner"].post("/v1/grants", body), 201)
    return made


def digest_of(made: House, job: str) -> str:
    """The digest of a job's request."""
    return str(done(made["trainer"].get(f"/v1/jobs/{job}"))["request_digest"])


def answer(made: House, job: str, digest: str, verdict: str = "approved") -> Any:
    """The owner answers."""
    return made["owner"].post(f"/v1/jobs/{job}/approval", {"verdict": verdict, "request_digest": digest})


def test_a_yes_is_used_once(asking: House) -> None:
    """Said again it neither reserves nor enqueues again."""
    job = ask(asking)
    digest = digest_of(asking, job)
    assert done(answer(asking, job, digest))["state"] == "queued"
    before = held(asking)
    refused(answer(asking, job, digest), 409, "conflict")
    refused(answer(asking, job, digest, "refused"), 409, "conflict")
    assert (held(asking), told(asking, job).count("budget:reserved")) == (before, 1)


def test_a_yes_does_not_carry_over_to_another_job(asking: House) -> None:
    """Not even to one with the same request: each job has its own, and each its price."""
    first, second, other = ask(asking), ask(asking), ask(asking, epsilon="2")
    done(answer(asking, first, digest_of(asking, first)))
    refused(answer(asking, other, digest_of(asking, first)), 422, "invalid")
    assert done(asking["trainer"].get(f"/v1/jobs/{second}"))["state"] == "awaiting-approval"
    assert claim(asking).subject == first
    with pytest.raises(AssertionError):
        claim(asking)


@pytest.mark.parametrize("who", ["trainer", "peer", "other-owner", "checker", "admin", "auditor"])
def test_nobody_but_the_owner_says_yes(asking: House, who: str) -> None:
    """Least of all whoever asked."""
    job = ask(asking)
    body = {"verdict": "approved", "request_digest": digest_of(asking, job)}
    refused(asking[who].post(f"/v1/jobs/{job}/approval", body), 403, "denied")
    assert held(asking) == 0


def test_a_yes_that_comes_after_the_cancellation_starts_nothing(asking: House) -> None:
    """The job has ended."""
    job = ask(asking)
    digest = digest_of(asking, job)
    done(asking["trainer"].post(f"/v1/jobs/{job}/cancel"))
    refused(answer(asking, job, digest), 409, "conflict")
    assert held(asking) == 0


def test_what_was_lowered_between_request_and_yes_holds(asking: House) -> None:
    """The yes reserves against the budget of its own moment, and the job is refused as a whole."""
    job = ask(asking, epsilon="18")
    population = f"/v1/populations/{asking.ids['population']}/budget"
    done(asking["owner"].put(population, {"epsilon": "14"}, headers={"If-Match": "*"}))
    refused(answer(asking, job, digest_of(asking, job)), 409, "budget-exhausted")
    assert held(asking) == 0
    assert done(asking["trainer"].get(f"/v1/jobs/{job}"))["state"] == "refused"


def test_a_budget_is_not_lowered_below_what_waits(made: House) -> None:
    """What is held is as good as spent."""
    ask(made, epsilon="12")
    population = f"/v1/populations/{made.ids['population']}/budget"
    refused(made["owner"].put(population, {"epsilon": "8"}, headers={"If-Match": "*"}), 409, "conflict")


def test_a_key_is_one_persons_and_one_routes(made: House) -> None:
    """The same key in another hand starts another job; for another request it is refused."""
    key = {"Idempotency-Key": "the-same-key"}
    body = job_body(made.ids["dataset"], recipe=RECIPE)
    first = done(made["trainer"].post("/v1/jobs", body, headers=key), 202)["job"]
    assert done(made["trainer"].post("/v1/jobs", body, headers=key), 202)["job"] == first
    assert done(made["peer"].post("/v1/jobs", body, headers=key), 202)["job"] != first
    refused(made["trainer"].post("/v1/jobs", job_body(made.ids["dataset"]), headers=key), 409, "conflict")


def test_cancelling_after_the_first_steps_pays_for_them(made: House) -> None:
    """Whoever cancels to look and asks again pays each time; a second cancellation returns nothing."""
    job = ask(made)
    task = claim(made)
    assert opens(made, task)
    assert run_job.start_steps(made.gateway.on, task, JobId(job), 2, 0) is run_job.Steps.GO
    for _ in range(2):
        done(made["trainer"].post(f"/v1/jobs/{job}/cancel"))
    assert run_job.start_steps(made.gateway.on, task, JobId(job), 1, 0) is run_job.Steps.CANCELLED
    run_job.cancel(made.gateway.on, task)
    charge = next(entry["fields"] for entry in made.log() if entry["type"] == "budget:charged")
    assert [part["times"] for part in charge["charges"]] == [2]
    refused(made["trainer"].post(f"/v1/jobs/{job}/cancel"), 409, "conflict")
