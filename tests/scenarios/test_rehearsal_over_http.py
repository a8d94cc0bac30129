"""A request is rehearsed from the dataset's card alone, then made: the gateway says, plans and runs the same.

The gateway is real, with sealed rows and a worker; the rehearsal sees of it what a trainer sees: the card.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kernel.errors import PrivgateError
from kernel.ids import JobId
from privacy.jobs.plan import Plan, read_plan
from privacy.jobs.spec import JobKind
from privacy.release.certificate import PrivacyCertificate
from privgate.models import Model
from privgate.sdk.datasets import Dataset
from privgate.sdk.rehearsals import Rehearsal
from privgate.sdk.trying import planned, rehearse
from tests.support import graphs
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
from tests.support.cards import NOBODY

MLP = {"template": "mlp", "hidden": [8]}
WANTED: dict[str, Any] = {"model": MLP, "recipe": {"steps": 12, "expected_batch": 64, "clipping": "adaptive"}}


@pytest.fixture(scope="module")
def granted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which rows are sealed and the trainer has a grant."""
    with house(tmp_path_factory.mktemp("rehearsal") / "home") as made:
        admin, owner, trainer = made["admin"], made["owner"], made["trainer"]
        for purpose, within in (("research", []), ("research/oncology", ["research"])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        population = done(owner.post("/v1/populations", population_body(holdout_share="0.2")), 201)["population"]
        dataset = done(owner.post("/v1/datasets", dataset_body(population)), 201)["dataset"]
        kinds = [kind.value for kind in JobKind]
        done(owner.post("/v1/grants", grant_body(trainer.principal, dataset, job_kinds=kinds)), 201)
        done(owner.put(f"/v1/datasets/{dataset}/content", content=rows_csv()), 202)
        assert worker_of(made).step()
        made.ids = {"population": population, "dataset": dataset}
        yield made


def card_of(made: House) -> Dataset:
    """What the trainer sees of the dataset."""
    return Dataset.read(done(made["trainer"].get(f"/v1/datasets/{made.ids['dataset']}")), gateway=NOBODY)


def spec_of(made: House, **changes: Any) -> dict[str, Any]:
    """A request; a member of None is left out."""
    spec: dict[str, Any] = job_body(made.ids["dataset"], **changes)["spec"]
    return spec


def plan_of(made: House, job: str) -> Plan:
    """The plan that the gateway stored for a job."""
    with made.gateway.on.database.read() as reading:
        found = reading.jobs.get(id=JobId(job))
    return read_plan(found.kind, found.plan)


@pytest.fixture(scope="module")
def rehearsed(granted: House) -> Rehearsal:
    """What was tried out before anything was asked for."""
    return rehearse(card_of(granted), spec_of(granted, **WANTED))


def test_what_was_rehearsed_has_the_same_plan_when_it_is_made(granted: House, rehearsed: Rehearsal) -> None:
    """Request, quote and job have the rehearsal's digests; the released model is of the rehearsal's graph."""
    trainer, owner = granted["trainer"], granted["owner"]
    before = done(owner.get(f"/v1/populations/{granted.ids['population']}"))["ledger_seq"]
    quote = done(trainer.post("/v1/quotes", {"spec": spec_of(granted, **WANTED)}))
    assert quote["request_digest"] == rehearsed.request_digest
    assert quote["spec"] == rehearsed.request
    assert quote["quote"]["model"] == rehearsed.model
    assert quote["quote"]["noise_multiplier"] == rehearsed.noise_multiplier
    assert done(owner.get(f"/v1/populations/{granted.ids['population']}"))["ledger_seq"] == before
    job = done(trainer.post("/v1/jobs", {"spec": dict(rehearsed.request)}), 202)
    assert job["request_digest"] == rehearsed.request_digest
    assert plan_of(granted, job["job"]).digest == rehearsed.plan_digest
    assert worker_of(granted).step()
    ended = done(trainer.get(f"/v1/jobs/{job['job']}"))
    assert ended["state"] == "finished"
    done(owner.post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
    granted.settle()
    files = f"/v1/releases/{ended['release']}/files/"
    predicate = PrivacyCertificate.parse(_payload(trainer.get(files + "certificate.json").content)).predicate
    assert str(predicate.model.graph) == rehearsed.model["graph"]
    rows = card_of(granted).dummy(20)
    model = Model.open(trainer.get(files + "artifact").content, rehearsed.request, card_of(granted).schema)
    assert len(model.predict(rows)) == len(rehearsed.release.predict(rows)) == 20


def _payload(envelope: bytes) -> bytes:
    from kernel.signing import Envelope

    return Envelope.from_bytes(envelope).payload


OTHER: dict[str, dict[str, Any]] = {
    "statistics": {"kind": "statistics", "queries": [{"kind": "profile"}, {"kind": "mean", "column": "dose"}]},
    "glm": {
        "kind": "glm", "family": "logistic", "outcome": "outcome", "predictors": ["age", "dose"], "epsilon": "0.5",
    },
    "synthesis": {"kind": "synthesis", "around": "outcome", "bins": 4},
    "tuning": {
        "kind": "tuning", "label": "outcome", "search": {"learning_rate": ["0.1", "1"]}, "tries": {"most": 3},
        "recipe": {"steps": 5}, "epsilon": "0.5",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER)
def test_jobs_of_the_other_kinds_have_the_rehearsals_plan_too(granted: House, kind: str) -> None:
    """Request and plan by their digests, for whatever kind; nothing is run here."""
    spec = spec_of(granted, **({"label": None, "epsilon": "0.2"} | OTHER[kind]))
    found = planned(card_of(granted), spec)
    job = done(granted["trainer"].post("/v1/jobs", {"spec": spec}), 202)
    assert job["kind"] == kind
    assert job["request_digest"] == found.spec.digest
    assert plan_of(granted, job["job"]).digest == found.plan.digest
    done(granted["trainer"].post(f"/v1/jobs/{job['job']}/cancel"))


SCALE = [{"column": "age", "transform": "scale"}]
ILL = {"column": "outcome", "encoding": "positive", "category": "ill"}
BROKEN: dict[str, dict[str, Any]] = {
    "no label": {"label": None},
    "label and features": {"features": {"v": 1, "columns": SCALE, "label": ILL}},
    "label that is no column": {"label": "secret"},
    "label that is a list": {"label": ["outcome"]},
    "unknown member": {"seed": 7},
    "unknown kind": {"kind": "guessing"},
    "another version": {"v": 2},
    "no purpose": {"purpose": None},
    "purpose that is none": {"purpose": "Not A Slug"},
    "purpose of the wrong type": {"purpose": 3},
    "no epsilon": {"epsilon": None},
    "epsilon of zero": {"epsilon": "0"},
    "epsilon that is no number": {"epsilon": "much"},
    "epsilon that is a number": {"epsilon": 3},
    "epsilon beyond the limit": {"epsilon": "101"},
    "epsilon that no noise reaches": {"epsilon": "0.000000001"},
    "loss of another target": {"loss": "squared"},
    "loss that is none": {"loss": "hinge"},
    "features without a version": {"features": {"columns": SCALE, "label": ILL}, "label": None},
    "feature that is the label": {
        "features": {"v": 1, "columns": [{"column": "outcome", "transform": "one-hot"}], "label": ILL}, "label": None,
    },
    "feature of another kind": {
        "features": {"v": 1, "columns": [{"column": "age", "transform": "one-hot"}], "label": ILL}, "label": None,
    },
    "edges that fall": {
        "features": {"v": 1, "columns": [{"column": "age", "transform": "bins", "edges": ["9", "3"]}], "label": ILL},
        "label": None,
    },
    "category that is not declared": {
        "features": {"v": 1, "columns": SCALE, "label": ILL | {"category": "secret"}}, "label": None,
    },
    "template that is none": {"model": {"template": "forest"}},
    "template for another target": {"model": {"template": "linear"}},
    "template with a wrong choice": {"model": {"template": "mlp", "hidden": [0]}},
    "template with an unknown choice": {"model": {"template": "mlp", "depth": 3}},
    "graph of another width": {"model": {"graph": graphs.small_network()}},
    "graph that is none": {"model": {"graph": {"nodes": []}}},
    "model that is too large": {"model": {"template": "mlp", "hidden": [100_000, 100_000]}},
    "recipe that is a list": {"recipe": []},
    "recipe with an unknown member": {"recipe": {"seed": "7"}},
    "no steps": {"recipe": {"steps": 0}},
    "too many steps": {"recipe": {"steps": 10**6}},
    "steps as text": {"recipe": {"steps": "40"}},
    "rate above one": {"recipe": {"sampling_rate": "1.5"}},
    "rate and batch": {"recipe": {"sampling_rate": "0.5", "expected_batch": 10}},
    "batch of more than there are": {"recipe": {"expected_batch": 10_000}},
    "batch that is true": {"recipe": {"expected_batch": True}},
    "clip of zero": {"recipe": {"clip": "0"}},
    "momentum of one": {"recipe": {"momentum": "1"}},
    "schedule that is none": {"recipe": {"schedule": "plateau"}},
    "engine that is none": {"recipe": {"engine": "fast"}},
    "statistics of nothing": {"kind": "statistics", "label": None, "queries": []},
    "statistics of what is no column": {
        "kind": "statistics", "label": None, "queries": [{"kind": "mean", "column": "secret"}],
    },
    "statistics with an unknown member": {"kind": "statistics", "label": None, "queries": [{"kind": "count", "x": 1}]},
    "synthesis by no known method": {"kind": "synthesis", "label": None, "method": "aim"},
    "synthesis around what is no column": {"kind": "synthesis", "label": None, "around": "secret"},
    "glm of an unknown family": {
        "kind": "glm", "label": None, "family": "cox", "outcome": "outcome", "predictors": ["age"],
    },
    "glm without predictors": {
        "kind": "glm", "label": None, "family": "logistic", "outcome": "outcome", "predictors": [],
    },
    "tuning without a search": {"kind": "tuning", "search": {}},
    "tuning of nothing": {"kind": "tuning", "search": {"secret": ["1"]}},
    "too much work": {"model": {"template": "mlp", "hidden": [600, 600]}, "recipe": {"steps": 100_000}},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_refused_in_the_gateways_words(granted: House, name: str) -> None:
    """Sentence, field and kind are those of the gateway's answer, and no value of the request stands in them."""
    spec = spec_of(granted, **BROKEN[name])
    answer = granted["trainer"].post("/v1/quotes", {"spec": spec})
    problem = refused(answer, answer.status_code)
    assert answer.status_code in (413, 422), problem
    with pytest.raises(PrivgateError) as told:
        planned(card_of(granted), spec)
    assert (told.value.message, told.value.field) == (problem["detail"], problem.get("field"))
    assert told.value.kind.value == problem["code"]
    assert "secret" not in told.value.message
