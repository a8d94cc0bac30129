"""Evaluations in depth through HTTP and real children: of two classes with subgroups, and of a number.

The table is one in which sex tells the outcome's rate, so that a gap is there to be found.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from privacy.evaluation.check import evaluation_problems
from privacy.evaluation.report import read_evaluation
from privacy.release.certificate import PrivacyCertificate
from tests.support.api import House, done, house, job_body, refused
from tests.support.walks import certificate_of, fetched, granted, released, sealed

ROWS = 4000
SCHEMA = {
    "columns": [
        {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
        {"name": "sex", "kind": "categorical", "categories": ["female", "male"]},
        {"name": "town", "kind": "categorical", "categories": ["north", "south", "nowhere"]},
        {"name": "ill", "kind": "boolean"},
        {"name": "pressure", "kind": "numeric", "low": "80", "high": "200"},
    ]
}
FEATURES = {
    "v": 1,
    "columns": [{"column": "age", "transform": "scale"}, {"column": "sex", "transform": "one-hot"}],
}
FILE = "evaluation.json"
RECIPE = {"steps": 60, "expected_batch": 400, "learning_rate": "2"}


def _rows() -> bytes:
    draw, lines = random.Random(11), ["age,sex,town,ill,pressure"]
    for _ in range(ROWS):
        age, male = draw.uniform(0, 100), draw.random() < 0.5
        ill = draw.random() < 1 / (1 + math.exp(-((age - 60) / 10 + 1.5 * male)))
        pressure = min(200.0, max(80.0, 90 + 0.6 * age + draw.gauss(0, 8)))
        sex, town = "male" if male else "female", draw.choice(["north", "south"])
        lines.append(f"{age:.4f},{sex},{town},{str(ill).lower()},{pressure:.4f}")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with one sealed table and two released models on it: whether somebody is ill, and the pressure."""
    with house(tmp_path_factory.mktemp("evaluations") / "home") as made:
        declared = {"public_size": ROWS, "epsilon": "40", "holdout_share": "0.5", "delta": "0.000001"}
        sealed(made, _rows(), schema=SCHEMA, **declared)
        granted(made, "training", "evaluation")
        made.ids["ill"] = _trained(made, {"column": "ill", "encoding": "positive", "category": "true"})
        made.ids["pressure"] = _trained(made, {"column": "pressure", "encoding": "scaled"}, learning_rate="0.5")
        yield made


def _trained(made: House, label: dict[str, Any], **recipe: str) -> str:
    features = FEATURES | {"label": label}
    body = job_body(made.ids["dataset"], label=None, epsilon="8", features=features, recipe=RECIPE | recipe)
    return released(made, body)["release"]


def _request(model: str, made: House, **choices: Any) -> dict[str, Any]:
    body = {"v": 1, "kind": "evaluation", "label": None, "release": made.ids[model], "epsilon": "2"} | choices
    return job_body(made.ids["dataset"], **body)


def _evaluated(made: House, model: str, **choices: Any) -> tuple[dict[str, Any], PrivacyCertificate]:
    """What the trainer fetches of an evaluation, computed again beside its certificate."""
    files = fetched(made, FILE, released(made, _request(model, made, **choices))["release"])
    data, certificate = files[FILE], certificate_of(files)
    assert list(evaluation_problems(certificate.predicate, data)) == []
    _, body = read_evaluation(data)
    return body, certificate


def _within(estimate: dict[str, str], low: float, high: float) -> bool:
    return float(estimate["low"]) <= high and float(estimate["high"]) >= low


def test_two_classes_with_subgroups_and_a_confusion_matrix(walked: House) -> None:
    """Everything in one job of one price; the gap that the table has is found, and the empty town is not shown."""
    body, certificate = _evaluated(walked, "ill", confusion=True, subgroups=["sex", "town"], epsilon="4")
    assert len(certificate.predicate.mechanisms) == 4
    assert float(certificate.predicate.this_job_alone.epsilon.value) <= 4
    assert body["classes"] == ["false", "true"]
    assert _within(body["accuracy"], 0.75, 0.95)
    assert _within(body["auc"], 0.8, 0.98)
    ill = body["by_class"][1]
    assert (ill["class"], set(ill)) == ("true", {"class", "precision", "recall", "specificity", "f1"})
    assert _within(ill["recall"], 0.6, 0.95)
    assert len(body["calibration"]["cells"]) == 8
    sex, town = body["subgroups"]
    assert [group["suppressed"] for group in sex["groups"]] == [False, False]
    assert float(sex["gaps"]["demographic_parity_difference"]["low"]) > 0
    nowhere = next(group for group in town["groups"] if group["group"] == "nowhere")
    assert nowhere["suppressed"] == (float(nowhere["rows"]["value"]) < 5)
    assert ("accuracy" in nowhere) != nowhere["suppressed"]


def test_a_number_has_errors_in_its_own_unit(walked: House) -> None:
    """MAE and RMSE near what the table was made with; R squared says that age tells something."""
    body, certificate = _evaluated(walked, "pressure", subgroups=["sex"], error_bound="0.3", epsilon="4")
    assert len(certificate.predicate.mechanisms) == 2
    errors = body["errors"]
    assert _within(errors["mean_absolute_error"], 5, 12)
    assert _within(errors["root_mean_squared_error"], 7, 15)
    assert float(errors["root_mean_squared_error"]["high"]) < 36
    assert _within(errors["r_squared"], 0.3, 0.9)
    (sex,) = body["subgroups"]
    assert set(sex["gaps"]) == {"mean_absolute_error_difference"}
    assert not {"accuracy", "auc", "calibration"} & set(body)


def test_what_is_measured_does_not_change_the_price(walked: House) -> None:
    """The quote of a plain evaluation and of one with everything: the same charge, to a millionth."""
    plain = done(walked["trainer"].post("/v1/quotes", _request("ill", walked)))
    full = done(walked["trainer"].post("/v1/quotes", _request("ill", walked, confusion=True, subgroups=["sex"])))
    charges = [float(quoted["quote"]["charge"]) for quoted in (plain, full)]
    assert charges[0] == pytest.approx(charges[1], rel=1e-5)
    assert full["spec"]["shares"] == {"confusion": "0.375", "scores": "0.125", "subgroups": "0.5"}


def test_a_wrong_choice_is_refused_when_it_is_quoted(walked: House) -> None:
    """By field, and before anything is held."""
    for model, choice, field in (
        ("ill", {"subgroups": ["age"]}, "subgroups"),
        ("pressure", {"confusion": True}, "confusion"),
        ("ill", {"shares": {"outcomes": "1", "scores": "1"}}, "shares"),
    ):
        answer = refused(walked["trainer"].post("/v1/quotes", _request(model, walked, **choice)), 422, "invalid")
        assert answer["field"] == field
