"""The whole cycle through HTTP, as its people would walk it; the worker steps in the same process.

What is checked is what each person sees at each step, and that the log tells the same story afterwards.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from kernel.canonical import Digest
from tests.support.api import (
    House,
    dataset_body,
    done,
    grant_body,
    house,
    job_body,
    population_body,
    refused,
    rows_csv,
    worker_of,
)

RECIPE = {"steps": 20, "expected_batch": 64}
EXACT = 4373
"""How many rows are uploaded: a number that no answer to a trainer may hold."""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which the owner has registered, uploaded, sealed and granted."""
    with house(tmp_path_factory.mktemp("cycle") / "home") as made:
        admin, owner, trainer = made["admin"], made["owner"], made["trainer"]
        for purpose, within in (("research", []), ("research/oncology", ["research"]), ("marketing", [])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        population = done(owner.post("/v1/populations", population_body()), 201)["population"]
        made.ids = {"population": population}
        made.ids["dataset"] = done(owner.post("/v1/datasets", dataset_body(population)), 201)["dataset"]
        made.ids["grant"] = done(owner.post("/v1/grants", grant_body(trainer.principal, made.ids["dataset"])), 201)[
            "grant"
        ]
        yield made


def upload(made: House) -> Any:
    """Send the rows and let the worker seal them; return what the owner sees then."""
    owner, dataset = made["owner"], made.ids["dataset"]
    sent = owner.put(f"/v1/datasets/{dataset}/content", content=rows_csv(EXACT))
    version = done(sent, 202)
    assert version["state"] == "staged"
    assert done(owner.get(f"/v1/datasets/{dataset}"))["state"] == "sealing"
    assert worker_of(made).step()
    return done(owner.get(sent.headers["location"]))


def released(made: House, **changes: Any) -> dict[str, Any]:
    """Run a job from request to published release; return what the trainer has fetched."""
    trainer, owner = made["trainer"], made["owner"]
    job = done(trainer.post("/v1/jobs", job_body(made.ids["dataset"], **changes)), 202)
    assert job["state"] == "queued"
    assert worker_of(made).step()
    ended = done(trainer.get(f"/v1/jobs/{job['job']}"))
    assert (ended["state"], ended["percent"]) == ("finished", 100)
    release = f"/v1/releases/{ended['release']}"
    refused(trainer.get(f"{release}/files/artifact"), 409, "conflict")
    refused(trainer.post(f"{release}/check", {"verdict": "release"}), 403, "denied")
    assert done(owner.post(f"{release}/check", {"verdict": "release"}))["state"] == "released"
    made.settle()
    names = ("artifact", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")
    return {"release": ended["release"], "job": job["job"]} | {
        name: fetched(trainer.get(f"{release}/files/{name}")) for name in names
    }


def fetched(response: Any) -> bytes:
    """The content of a file that has to be there."""
    assert response.status_code == 200, response.text
    return bytes(response.content)


@pytest.fixture(scope="module")
def cycle(walked: House) -> dict[str, Any]:
    """The walk itself: sealed rows, a quote, a model and its evaluation, both released."""
    trainer = walked["trainer"]
    refused(trainer.post("/v1/jobs", job_body(walked.ids["dataset"])), 403, "denied")
    sealed = upload(walked)
    quote = done(trainer.post("/v1/quotes", job_body(walked.ids["dataset"], recipe=RECIPE)))
    model = released(walked, recipe=RECIPE)
    evaluation = released(walked, v=1, kind="evaluation", label=None, release=model["release"])
    return {"sealed": sealed, "quote": quote, "model": model, "evaluation": evaluation}


def test_the_owner_alone_learns_the_exact_counts(walked: House, cycle: dict[str, Any]) -> None:
    """The owner reads how many rows were sealed; nothing that anybody else can fetch holds that number."""
    rows = cycle["sealed"]["rows"]
    assert sum(rows.values()) == EXACT
    secret = {str(number) for number in (EXACT, *rows.values())}
    dataset, job = walked.ids["dataset"], cycle["model"]["job"]
    paths = ("/v1/datasets", f"/v1/datasets/{dataset}", "/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/events")
    paths += ("/v1/releases", "/v1/grants", "/metrics", "/readyz")
    answers = [walked["trainer"].get(path).text for path in paths]
    answers += [walked["auditor"].get("/v1/entries", params={"limit": 1000}).text, json.dumps(cycle["quote"])]
    answers += [cycle["model"]["MODEL_CARD.md"].decode(), predicate(cycle["model"]), predicate(cycle["evaluation"])]
    for answer in answers:
        assert secret & set(re.findall(r"(?<![\w.-])\d+(?![\w.-])", answer)) == set()


def test_a_published_release_is_complete(cycle: dict[str, Any]) -> None:
    """Model, certificate, receipt and card are there, and the certificate names the artefact."""
    model = cycle["model"]
    assert Digest.of(model["artifact"]).hex in predicate(model)
    assert model["receipt.tlog-proof"].startswith(b"c2sp.org/tlog-proof@v1\n")
    assert cycle["model"]["release"] in model["MODEL_CARD.md"].decode()
    assert json.loads(cycle["evaluation"]["artifact"])["accuracy"]


def test_training_and_evaluation_are_charged_in_parallel(walked: House, cycle: dict[str, Any]) -> None:
    """Each charges its own side of the split, and nothing stays held."""
    budget = done(walked["owner"].get(f"/v1/populations/{walked.ids['population']}"))
    assert {block["block"] for block in budget["blocks"] if block["charged"] != "0"} == {"train", "holdout"}
    assert {block["held"] for block in budget["blocks"]} <= {"0", "0.000000000"}


def test_progress_is_coarse_and_resumes(walked: House, cycle: dict[str, Any]) -> None:
    """Lines come in tenths and are numbered; whoever gives the last number gets the rest and nothing twice."""
    path = f"/v1/jobs/{cycle['model']['job']}/events"
    whole = events(walked["trainer"].get(path).text)
    assert [number for number, _ in whole] == list(range(1, len(whole) + 1))
    assert all(set(data) == {"percent", "state"} and data["percent"] % 10 == 0 for _, data in whole)
    assert whole[-1][1] == {"percent": 100, "state": "finished"}
    resumed = walked["trainer"].get(path, headers={"Last-Event-ID": "2"})
    assert events(resumed.text) == whole[2:]
    assert refused(walked["peer"].get(path), 403, "denied")["reason"] == "not-requester"


def test_the_log_tells_the_same_story(walked: House, cycle: dict[str, Any]) -> None:
    """What happened stands in the log in the order in which it happened, under the job's correlation."""
    job = cycle["model"]["job"]
    told = [entry["type"] for entry in walked.log() if entry.get("correlation") == job]
    expected = ["job:requested", "budget:reserved", "job:queued", "budget:touched", "job:started"]
    expected += ["budget:charged", "release:held", "release:checked", "release:published", "release:fetched"]
    assert [step for step in told if step in expected[:-1]] == expected[:-1]
    assert told.count("release:fetched") == 4


def test_the_archive_holds_what_the_log_cites(walked: House, cycle: dict[str, Any]) -> None:
    """The auditor exports the whole history with its certificates; that it was exported is in the log, too."""
    archive = walked["auditor"].get("/v1/archive")
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        certificates = {name for name in tar.getnames() if name.startswith("certificates/")}
    assert certificates == {f"certificates/{cycle[made]['release']}.json" for made in ("model", "evaluation")}
    assert walked.log()[-1]["type"] == "log:exported"


def test_a_recalled_release_cannot_be_fetched(walked: House, cycle: dict[str, Any]) -> None:
    """Recall closes the download for everybody, its requester included; a second recall is a conflict."""
    release = f"/v1/releases/{cycle['evaluation']['release']}"
    assert done(walked["checker"].post(f"{release}/recall"))["state"] == "recalled"
    refused(walked["trainer"].get(f"{release}/files/artifact"), 409, "conflict")
    refused(walked["checker"].post(f"{release}/recall"), 409, "conflict")


def test_a_job_over_what_remains_is_told_what_fits(walked: House, cycle: dict[str, Any]) -> None:
    """The refusal names the largest such job; that one is accepted, and the same file again frees nothing."""
    trainer, owner = walked["trainer"], walked["owner"]
    again = done(owner.post("/v1/datasets", dataset_body(walked.ids["population"])), 201)["dataset"]
    done(owner.post("/v1/grants", grant_body(trainer.principal, again)), 201)
    done(owner.put(f"/v1/datasets/{again}/content", content=rows_csv(EXACT)), 202)
    assert worker_of(walked).step()
    problem = refused(trainer.post("/v1/jobs", job_body(again, epsilon="50")), 409, "budget-exhausted")
    assert problem["largest_epsilon"] is not None
    refusals = [entry for entry in walked.log() if entry["type"] == "budget:refused"]
    assert len(refusals) == 1
    fits = job_body(again, epsilon=problem["largest_epsilon"])
    assert done(trainer.post("/v1/jobs", fits), 202)["state"] == "queued"
    refused(trainer.post("/v1/jobs", job_body(walked.ids["dataset"])), 409, "budget-exhausted")


def predicate(made: dict[str, Any]) -> str:
    """The signed statement of a certificate, as text."""
    return base64.b64decode(json.loads(made["certificate.json"])["payload"]).decode()


def events(stream: str) -> list[tuple[int, dict[str, Any]]]:
    """The numbered lines of an event stream."""
    found = re.findall(r"data: (.*)\nid: (\d+)\n", stream)
    return [(int(number), json.loads(data)) for data, number in found]
