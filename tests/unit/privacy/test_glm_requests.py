"""Requests for a model: what may be asked, what is filled in, and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.errors import InvalidError, PrivgateError
from privacy.glm.families import Family, read_family
from privacy.jobs.glm_spec import GlmSpec, complete_glm
from privacy.schema import TableSchema

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "patient", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "20", "high": "80"},
            {"name": "income", "kind": "numeric", "low": "100", "high": "100000"},
            {"name": "sex", "kind": "categorical", "categories": ["female", "male", "other"]},
            {"name": "stage", "kind": "ordinal", "categories": ["I", "II", "III"]},
            {"name": "smoker", "kind": "boolean"},
            {"name": "died", "kind": "boolean"},
            {"name": "dead", "kind": "numeric", "low": "0", "high": "1"},
            {"name": "visits", "kind": "numeric", "low": "0", "high": "30"},
            {"name": "scan", "kind": "tensor", "shape": [4], "low": "0", "high": "1"},
        ]
    }
)


def request(**members: Any) -> dict[str, Any]:
    """What a trainer writes."""
    body = {
        "kind": "glm",
        "dataset": "dst_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "purpose": "research",
        "epsilon": "1",
        "family": "logistic",
        "outcome": "died",
        "predictors": ["age", "sex", "smoker"],
    }
    return {name: value for name, value in (body | members).items() if value is not None}


def test_the_short_form_becomes_the_final_one() -> None:
    """Names are enough; the final form reads back to the same request."""
    spec = complete_glm(request(), SCHEMA)
    assert spec.design(SCHEMA).names == ("(intercept)", "age", "sex=male", "sex=other", "smoker=true")
    assert GlmSpec.from_json(spec.to_json()) == spec
    assert spec.to_json()["counted"] == "unit"


def test_coefficients_read_in_the_columns_own_units() -> None:
    """What is fitted on [-1, 1] is told per year; what is a category, against the first."""
    design = complete_glm(request(predictors=["age", "smoker"]), SCHEMA).design(SCHEMA)
    outer, added = design.own_units()
    assert outer[1][1] == pytest.approx(1 / 30)
    assert outer[2][2] == pytest.approx(1)
    assert outer[0] == pytest.approx([0.5, -50 / 30, -0.5])
    assert added == [0, 0, 0]


def test_an_outcome_may_be_written_in_full_and_a_zero_one_number_is_read() -> None:
    """A threshold on a number, and the usual 0/1 column."""
    above = {"column": "age", "encoding": "threshold", "above": "65"}
    assert complete_glm(request(outcome=above, predictors=["sex"]), SCHEMA).features.label.above == "65"
    assert complete_glm(request(outcome="dead"), SCHEMA).features.label.encoding == "threshold"


def test_other_terms() -> None:
    """Logarithms, steps of an ordinal column and bins have coefficients too."""
    predictors = [
        {"column": "income", "transform": "log"},
        {"column": "stage", "transform": "ordinal"},
        {"column": "age", "transform": "bins", "edges": ["40", "60"]},
    ]
    design = complete_glm(request(predictors=predictors), SCHEMA).design(SCHEMA)
    assert design.names[1:] == ("log(1+income-100)", "stage (per step)", "age from 40", "age from 60")
    assert [term.place for term in design.terms] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"outcome": "sex", "predictors": ["age"]}, "outcome"),
        ({"family": "linear"}, "outcome"),
        ({"family": "poisson", "outcome": "income"}, "outcome"),
        ({"family": "poisson", "outcome": "died"}, "outcome"),
        ({"predictors": ["age", "died"]}, "died"),
        ({"predictors": ["patient"]}, "predictors"),
        ({"predictors": ["scan"]}, "predictors"),
        ({"predictors": []}, "predictors"),
        ({"predictors": "age"}, "predictors"),
        ({"predictors": ["nobody"]}, "predictors"),
        ({"predictors": None}, "predictors"),
        ({"counted": "both"}, "counted"),
        ({"epsilon": "0"}, "epsilon"),
        ({"seed": 1}, "request"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(members: dict[str, Any], field: str) -> None:
    """The field is named; no value is repeated."""
    with pytest.raises(PrivgateError) as caught:
        complete_glm(request(**members), SCHEMA)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "name",
    [
        "cox",
        "CoxPH",
        "k-NN",
        "knn",
        "Gaussian process",
        "svm",
        "XGBoost",
        "kaplan_meier",
        "negative binomial",
        "probit",
    ],
)
def test_what_cannot_be_done_soundly_gets_its_reason(name: str) -> None:
    """One sentence says why, and mostly what to do instead."""
    with pytest.raises(InvalidError, match=r"is not offered: .{30,}") as caught:
        read_family(name)
    assert caught.value.field == "family"


def test_usual_names_are_understood() -> None:
    """Other programs say gaussian and binomial."""
    assert (read_family("Gaussian"), read_family("binomial")) == (Family.LINEAR, Family.LOGISTIC)
    assert read_family("Discrete-time hazard") is Family.LOGISTIC
    with pytest.raises(InvalidError, match="linear, logistic, poisson, hazard"):
        read_family(3)
