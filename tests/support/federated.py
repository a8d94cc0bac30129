"""Federated models in one process: rows, sites, the course of rounds, and the pooled fit that they should reach."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernel.events import Parameter
from privacy.glm.families import Family
from privacy.glm.sums import Cases
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.steps import Fit, State, Unfit, advance, ask_json, asked_point
from privacy.homomorphic.glm.sums import cases_of, site_sums
from privacy.homomorphic.registry import profile_of
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, encode_columns

WIDE = profile_of("bfv-2048-wide-public")
Floats = NDArray[np.float64]
OUTCOMES: dict[str, Any] = {
    "linear": {"name": "y", "kind": "numeric", "low": "-4", "high": "4", "clamp": True},
    "logistic": {"name": "y", "kind": "boolean"},
    "poisson": {"name": "y", "kind": "numeric", "low": "0", "high": "40", "clamp": True},
}


def plan_for(family: str, columns: Sequence[str] = ("a", "b"), ridge: str = "0", high: str = "40") -> ExactGlm:
    """Predictors in [-1, 1], so that unit ranges are the columns' own."""
    outcome = dict(OUTCOMES[family])
    if family == "poisson":
        outcome["high"] = high
    numeric = [{"name": name, "kind": "numeric", "low": "-1", "high": "1", "clamp": True} for name in columns]
    schema = TableSchema.from_json({"columns": [*numeric, outcome]})
    spec = complete_glm(
        {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1", "family": family,
         "outcome": "y", "predictors": list(columns)},
        schema,
    )  # fmt: skip
    return ExactGlm(family=Family(family), features=spec.features, schema=schema, ridge=Parameter(ridge))


def cases_from(plan: ExactGlm, rows: Floats, outcomes: Floats) -> Cases:
    """Rows through the encoder that a site uses."""
    names = [column.name for column in plan.schema.columns]
    truths = outcomes > 0.5 if plan.family is Family.LOGISTIC else outcomes
    columns = {name: rows[:, place] for place, name in enumerate(names[:-1])} | {"y": truths}
    encoder = RowEncoder(plan.features, plan.schema)
    return cases_of(plan, encode_columns(encoder, {name: pa.array(values) for name, values in columns.items()}))


def run(plan: ExactGlm, sites: Sequence[Cases]) -> Fit | Unfit:
    """The course as the parties go it, every message and state written and read on the way."""
    layout = plan.layout(WIDE, len(sites))
    state: State | Fit | Unfit = State.first()
    while isinstance(state, State):
        point = asked_point(plan, json.loads(json.dumps(ask_json(state))))
        uploads = [site_sums(plan, point, site) for site in sites]
        assert all(abs(number) <= layout.bound for upload in uploads for number in upload)
        state = State.from_json(json.loads(json.dumps(state.to_json())))
        state = advance(plan, state, [sum(numbers) for numbers in zip(*uploads, strict=True)], len(sites))
    return state


def drawn(family: str, people: int = 900, seed: int = 3) -> tuple[Floats, Floats]:
    """People whose outcome follows the model."""
    source = np.random.default_rng(seed)
    rows = source.uniform(-1, 1, (people, 2)).astype(np.float32).astype(np.float64)
    predictor = 0.4 + rows @ np.array([1.2, -0.7])
    match family:
        case "linear":
            return rows, np.clip(predictor + source.normal(0, 0.5, people), -4, 4)
        case "logistic":
            return rows, (source.random(people) < 1 / (1 + np.exp(-predictor))).astype(np.float64)
        case _:
            return rows, np.clip(source.poisson(np.exp(predictor)), 0, 40).astype(np.float64)


def parts(plan: ExactGlm, rows: Floats, outcomes: Floats, count: int = 4) -> list[Cases]:
    """The same people at several sites."""
    cuts = np.array_split(np.arange(len(rows)), count)
    return [cases_from(plan, rows[cut], outcomes[cut]) for cut in cuts]


def pooled(rows: Floats, outcomes: Floats, family: str) -> tuple[Floats, Floats]:
    """Iteratively reweighted least squares in float64 on all rows: coefficients and standard errors."""
    design = np.column_stack([np.ones(len(rows)), rows])
    if family == "linear":
        solved, *_ = np.linalg.lstsq(design, outcomes, rcond=None)
        left = outcomes - design @ solved
        inverse = np.linalg.inv(design.T @ design) * (left @ left) / (len(rows) - design.shape[1])
        return np.asarray(solved, float), np.sqrt(np.diag(inverse))
    found = np.zeros(design.shape[1])
    for _ in range(50):
        predictor = design @ found
        mean = np.exp(predictor) if family == "poisson" else 1 / (1 + np.exp(-predictor))
        weight = mean if family == "poisson" else mean * (1 - mean)
        information = design.T @ (design * weight[:, None])
        found = found + np.linalg.solve(information, design.T @ (outcomes - mean))
    return found, np.sqrt(np.diag(np.linalg.inv(information)))
