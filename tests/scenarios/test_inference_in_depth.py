"""Encrypted questions in depth: a network with squares, several batches, a worker that dies, a hostile client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from gateway.launchers import inference as launcher
from gateway.services.sweep_blobs import sweep_blobs
from kernel.ids import JobId
from privacy.homomorphic.inferences.question import ask_of
from privacy.homomorphic.inferences.spec import InferenceSpec
from tests.scenarios.test_collections_struck import struck_at
from tests.support.api import House, done, grant_body, house, refused, worker_of
from tests.support.inference import (
    ANSWER,
    PEOPLE,
    Client,
    admitted,
    answered,
    certificate_in,
    fetched_answer,
    furnish,
    in_the_clear,
    request_of,
    require_scores,
    send,
    square_network,
)

pytestmark = pytest.mark.slow
COURSE = (
    "inference:requested", "question:received", "question:answered", "dek:created", "release:held", "job:ended",
    "release:checked", "release:published",
)  # fmt: skip


def expire_leases(of: House) -> None:
    """As if the workers that hold them had been silent for long."""
    with of.gateway.on.database.writing() as connection:
        connection.execute(text("UPDATE task SET lease_until = '2020-01-01T00:00:00Z' WHERE state = 'leased'"))


def swept(of: House) -> list[str]:
    """What lies in the store once a worker has begun."""
    sweep_blobs(of.gateway.on)
    return [str(path) for path in of.gateway.on.blobs.list()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a released network whose activation is the square."""
    with house(tmp_path_factory.mktemp("inference") / "home") as of:
        furnish(of, square={"model": {"graph": square_network()}})
        yield of


def test_a_network_with_squares_is_asked_in_several_batches(made: House) -> None:
    """Two batches of one question; its owner says yes first, to whoever's grant needs that."""
    trainer, owner = made["trainer"], made["owner"]
    grant = grant_body(
        made["peer"].principal, made.ids["dataset"], job_kinds=["he.infer"], obligations={"approval_required": True}
    )
    strict = done(owner.post("/v1/grants", grant), 201)["grant"]
    parked = done(made["peer"].post("/v1/jobs", request_of(made, "square", batches=2)), 202)
    assert parked["state"] == "awaiting-approval"
    refused(send(made, parked["job"], b"anything"), 422)
    yes = {"verdict": "approved", "request_digest": parked["request_digest"]}
    refused(trainer.post(f"/v1/jobs/{parked['job']}/approval", yes), 403)
    assert done(owner.post(f"/v1/jobs/{parked['job']}/approval", yes))["state"] == "collecting"
    client = Client.of(made, parked["job"], [{"age": 50, "sex": "male"}] * 5, PEOPLE)
    done(send(made, parked["job"], client.asked.parcel), 202)
    files = answered(made, parked["job"])
    certificate = certificate_in(files)
    assert len(certificate.predicate.approvals) == 1
    found = client.read(files[ANSWER], certificate)
    slots = client.spec.profile.slots
    error = 10 * 2.0**certificate.predicate.precision.halvings * 1e-4
    assert [row[0] for row in found[slots : slots + 3]] == pytest.approx(in_the_clear(made, "square"), abs=error)
    alike = [row[0] for row in found[:5]]
    assert max(alike) - min(alike) < error
    done(owner.delete(f"/v1/grants/{strict}"))


def test_a_worker_that_dies_is_followed_by_one_that_makes_the_same_answer(
    made: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it computes; its lease runs out; the answer is the same, byte for byte."""
    job = admitted(made, "square")
    client = Client.of(made, job, PEOPLE)
    done(send(made, job, client.asked.parcel), 202)
    made_before: list[bytes] = []

    class Killed(BaseException):
        pass

    class Dying(launcher.Confined):
        def infer_released(self, *given: Any) -> Any:
            made_before.append(super().infer_released(*given)[0])
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(launcher, "Confined", Dying)
        with pytest.raises(Killed):
            worker_of(made).step()
    assert done(made["peer"].get(f"/v1/jobs/{job}"))["state"] == "running"
    assert not worker_of(made).step()  # its lease still runs
    expire_leases(made)
    files = answered(made, job)
    assert files[ANSWER] == made_before[0]
    require_scores(made, "square", client, files)


@pytest.mark.parametrize("side", ["before-commit", "committed"])
@pytest.mark.parametrize("commit", ["question", "inference-begins", "inference-answered"])
def test_a_question_is_answered_once_whatever_commit_was_struck(made: House, commit: str, side: str) -> None:
    """Sent again, taken up again: one entry of each kind, one release, the right scores."""
    job = admitted(made, "square")
    client = Client.of(made, job, PEOPLE)
    with struck_at(made, f"{commit}:{side}") as seen:
        struck = send(made, job, client.asked.parcel).status_code
        again = send(made, job, client.asked.parcel).status_code
        assert (struck, again) == ((500, 202) if commit == "question" else (202, 202))
        if commit != "question":
            worker_of(made).step()
            expire_leases(made)
    assert f"{commit}:{side}" in seen
    over = (commit, side) == ("inference-answered", "committed")
    files = fetched_answer(made, job) if over else answered(made, job)
    require_scores(made, "square", client, files)
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == job]
    assert {kind: told.count(kind) for kind in told if kind != "release:fetched"} == dict.fromkeys(COURSE, 1)
    assert not any(path.startswith("questions/") for path in swept(made))


def test_a_question_that_the_library_refuses_is_a_failed_job(made: House) -> None:
    """Well formed by every byte that can be judged without it; nothing is said of why, and nobody is halted."""
    job = admitted(made, "square")
    spec = InferenceSpec.from_json(done(made["peer"].get(f"/v1/jobs/{job}"))["request"])
    _, keys, ciphertexts = launcher.Confined().question(spec.shape, [[[0.0, 0.0, 0.0]]])
    hostile = keys[:1000] + b"\xff" * 64 + keys[1064:]
    done(send(made, job, ask_of(JobId(job), spec, hostile, ciphertexts, os.urandom).parcel), 202)
    assert worker_of(made).step()
    assert done(made["peer"].get(f"/v1/jobs/{job}"))["state"] == "failed"
    assert not any(job in path for path in made.gateway.on.blobs.list())
