"""An evaluation says something about a model, for a price in rows: never about one that its asker may not have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.services import run_job
from tests.attacks.conftest import ask, claim, job_of, opens, register
from tests.support.api import SCHEMA, House, done, grant_body, job_body, refused, reopened, worker_of


@pytest.fixture(scope="module")
def trained(hospital: tuple[Path, House], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The hospital with three models of `trainer`: one held, one refused, one released."""
    home, like = hospital
    copy = tmp_path_factory.mktemp("models") / "home"
    shutil.copytree(home, copy)
    with reopened(copy, like) as made:
        made.ids = dict(like.ids)
        for name, verdict in (("held", None), ("refused", "refuse"), ("released", "release")):
            job = ask(made, epsilon="0.5")
            assert worker_of(made).step()
            made.ids[name] = done(made["trainer"].get(f"/v1/jobs/{job}"))["release"]
            if verdict is not None:
                done(made["owner"].post(f"/v1/releases/{made.ids[name]}/check", {"verdict": verdict}))
        yield made


def evaluation(made: House, model: str) -> dict[str, Any]:
    """A request to evaluate one of the models."""
    changes = {"v": 1, "kind": "evaluation", "label": None, "release": made.ids[model], "epsilon": "0.5"}
    return job_body(made.ids["dataset"], **changes)


@pytest.mark.parametrize("route", ["/v1/quotes", "/v1/jobs"])
@pytest.mark.parametrize("model", ["held", "refused", "released"])
def test_somebody_elses_model_is_not_evaluated(trained: House, model: str, route: str) -> None:
    """Neither is its form told: the answer is that of the desk, whatever the dataset's columns are."""
    answer = refused(trained["peer"].post(route, evaluation(trained, model)), 403, "denied")
    assert answer["reason"] == "not-requester"
    assert trained.decisions()[answer["decision"]]["request"]["action"] == "release:fetch"


@pytest.mark.parametrize("model", ["held", "refused"])
def test_what_its_door_keeper_keeps_is_not_evaluated(trained: House, model: str) -> None:
    """No figure leaves about a model that was not let go, though its requester pays for it."""
    refused(trained["trainer"].post("/v1/jobs", evaluation(trained, model)), 409, "conflict")


def test_a_model_that_is_recalled_while_its_evaluation_waits_is_not_evaluated(trained: House) -> None:
    """It is looked at once more before the key is handed out."""
    job = done(trained["trainer"].post("/v1/jobs", evaluation(trained, "released")), 202)["job"]
    done(trained["owner"].post(f"/v1/releases/{trained.ids['released']}/recall"))
    task = claim(trained)
    assert not opens(trained, task)
    run_job.cancel(trained.gateway.on, task)
    assert job_of(trained, job).attempts == 0


FEATURES = {
    "v": 1,
    "columns": [{"column": "outcome", "transform": "one-hot"}],
    "label": {"column": "dose", "encoding": "threshold", "above": "0.5"},
}


def let_go(made: House, name: str, **changes: Any) -> None:
    """Train another model and let it go."""
    job = ask(made, epsilon="0.5", **changes)
    assert worker_of(made).step()
    made.ids[name] = done(made["trainer"].get(f"/v1/jobs/{job}"))["release"]
    done(made["owner"].post(f"/v1/releases/{made.ids[name]}/check", {"verdict": "release"}))


def test_a_table_of_another_shape_is_refused_before_anything_is_opened(trained: House) -> None:
    """Found only once the key was out, it would cost the whole price and count as a failure."""
    let_go(trained, "shaped", label=None, features=FEATURES)
    columns = [*SCHEMA["columns"][:2], {"name": "outcome", "kind": "categorical", "categories": ["well", "ill", "so"]}]
    dataset = register(trained, trained.ids["population"], schema={"columns": columns})
    done(trained["owner"].post("/v1/grants", grant_body(trained["trainer"].principal, dataset)), 201)
    body = evaluation(trained, "shaped")
    done(trained["trainer"].post("/v1/quotes", body))
    body["spec"]["dataset"] = dataset
    assert refused(trained["trainer"].post("/v1/quotes", body), 422, "invalid")["field"] == "release"


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"confusion": True}, "confusion"),
        ({"shares": {"outcomes": "0.5", "scores": "0.5"}}, "shares"),
        ({"subgroups": ["dose"]}, "subgroups"),
        ({"subgroups": ["nobody"]}, "subgroups"),
    ],
)
def test_what_a_model_of_a_number_does_not_have_is_refused_before_anything_is_held(
    trained: House, choice: dict[str, Any], field: str
) -> None:
    """As a job it would end as failed, and five of them halt their trainer."""
    if "number" not in trained.ids:
        let_go(trained, "number", label="dose")
    body = evaluation(trained, "number")
    done(trained["trainer"].post("/v1/quotes", body))
    body["spec"] |= choice
    assert refused(trained["trainer"].post("/v1/quotes", body), 422, "invalid")["field"] == field
