"""Federated averaging over HTTP: real agents train a model round by round, and what leaves is a marked disclosure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from privacy.graph.templates import ModelChoice
from privacy.graph.weights import unpack_weights
from tests.support.api import done, house, refused
from tests.support.hospitals import Hospitals, events, fetched

ASKED = {
    "kind": "he.aggregate",
    "family": None,
    "outcome": None,
    "predictors": None,
    "features": {
        "columns": [{"column": "age", "transform": "scale"}],
        "label": {"column": "ill", "encoding": "positive", "category": "true"},
        "v": 1,
    },
    "clip": "5",
    "rate": "0.5",
    "rounds": 2,
    "local_steps": 3,
}


def test_three_hospitals_average_a_model(tmp_path: Path) -> None:
    """The released weights are those of plain averaging, and every population is marked."""
    with house(tmp_path / "home") as made:
        hospitals = Hospitals(made, tmp_path)
        refused(made["trainer"].post("/v1/jobs", hospitals.body(**(ASKED | {"loss": "squared"}))), 422)
        quote = done(made["trainer"].post("/v1/quotes", hospitals.body(**ASKED)))["quote"]
        assert (quote["rounds_at_most"], quote["numbers"]) == (2, 2)
        job = hospitals.admitted(**ASKED)
        ended = hospitals.play(job["job"])
        assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
        done(made["owner-2"].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
        made.settle()
        found = unpack_weights(
            ModelChoice.from_json({"template": "logistic"}).graph(1, 1), fetched(made, ended["release"], "artifact")
        )
        assert len(events(made, "population:uncovered")) == 3
    flat = np.concatenate([array.ravel() for array in found.values()])
    assert flat == pytest.approx(averaged(hospitals), abs=1e-3)


def averaged(hospitals: Hospitals) -> list[float]:
    """Bias and weight of plain federated averaging in float64, sorted as their names are."""
    sites = [np.array([(age, ill) for age, _, ill in rows], dtype=float) for rows in hospitals.rows]
    weights = np.zeros(2)
    for _ in range(2):
        reached = []
        for site in sites:
            design, own = np.column_stack([np.ones(len(site)), 2 * (site[:, 0] - 20) / 70 - 1]), weights.copy()
            for _ in range(3):
                chance = 1 / (1 + np.exp(-design @ own))
                own -= 0.5 * design.T @ (chance - site[:, 1]) / len(site)
            reached.append(own)
        weights = np.mean(reached, axis=0)
    return [float(value) for value in weights]
