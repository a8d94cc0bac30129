"""Models with random weights on a table of every kind of column, for tests of what is done with a released model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from privacy.graph.weights import pack_weights
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privgate.models import Model

MIXED = TableSchema.from_json(
    {
        "columns": [
            {"name": "age", "kind": "numeric", "low": "0", "high": "100", "clamp": True, "missing": ["n/a"],
             "fill": "40"},
            {"name": "gain", "kind": "numeric", "low": "0", "high": "5000"},
            {"name": "sex", "kind": "categorical", "categories": ["F", "M", " odd ", "gone"], "missing": ["?", "gone"],
             "fill": "M"},
            {"name": "grade", "kind": "ordinal", "categories": ["low", "mid", "high"]},
            {"name": "smoker", "kind": "boolean", "missing": ["-"], "fill": "false"},
            {"name": "trace", "kind": "tensor", "shape": [2, 2], "low": "-1", "high": "3", "fill": "0.5"},
            {"name": "probability", "kind": "numeric", "low": "0", "high": "1"},
            {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]},
            {"name": "kind", "kind": "categorical", "categories": ["a", "b", "c"]},
            {"name": "days", "kind": "numeric", "low": "0", "high": "30"},
        ]
    }
)  # fmt: skip
COLUMNS: list[dict[str, Any]] = [
    {"column": "age", "transform": "scale"},
    {"column": "age", "transform": "log", "low": "-50", "high": "200"},
    {"column": "age", "transform": "bins", "edges": ["18", "40", "65"]},
    {"column": "gain", "transform": "log"},
    {"column": "gain", "transform": "scale", "low": "10", "high": "200.5"},
    {"column": "sex", "transform": "one-hot"},
    {"column": "grade", "transform": "ordinal"},
    {"column": "grade", "transform": "one-hot"},
    {"column": "smoker", "transform": "boolean"},
    {"column": "trace", "transform": "scale"},
    {"column": "probability", "transform": "scale"},
]
CELLS: Mapping[str, list[Any]] = {
    "age": [0, 18, "64.9", 40.0, 65, 100, "n/a", "", None, float("nan"), -3, 250, "x", float("inf"), 1e300],
    "gain": [0, 10, 200.5, 5000, "12.25", 9000, -4, 77, 4321, 15, 150, 60, None, "12,5"],
    "sex": ["F", "M", " F", "?", "", None, "gone", " odd ", "odd", "f", "W", "M", "F", "F"],
    "grade": ["low", "mid", "high", "mid", "low", "high", "mid", "high ", "", "Low"],
    "smoker": ["true", "False", "1", "0", "yes", "NO", "-", "", None, True, False, 1, 0, "maybe"],
    "trace": [[0, 1, 2, 3], [0.5, None, -9, 9], "1 2 3 0", [1, 2, 3], [1, 2, float("inf"), 0], [[0, 1], [2, 3]], None,
              np.array([[0, 1], [2, 2.5]]), [1e300, 0, 0, 0]],
    "probability": [0, 0.25, 1, "0.5"],
}  # fmt: skip
RECIPE = {
    "sampling_rate": "0.5", "steps": 4, "clip": "1", "learning_rate": "1", "schedule": "constant", "momentum": "0",
    "weight_decay": "0", "averaging": "none", "clipping": "flat", "engine": "auto",
}  # fmt: skip
ILL = {"column": "ill", "encoding": "positive", "category": "yes"}
KIND = {"column": "kind", "encoding": "classes"}
DAYS = {"column": "days", "encoding": "scaled", "low": "5", "high": "25"}


def rows(count: int, seed: int = 3) -> list[dict[str, Any]]:
    """Rows of every kind of cell, and some that lack a column."""
    draw = np.random.default_rng(seed)
    made = [{name: cells[draw.integers(len(cells))] for name, cells in CELLS.items()} for _ in range(count)]
    for row in made[::97]:
        row.pop(str(draw.choice(list(CELLS))))
    return made


def model_on(
    schema: TableSchema, model: Mapping[str, Any], columns: list[dict[str, Any]], label: Mapping[str, Any], **more: Any
) -> Model:
    """A model with random weights."""
    loss = {"positive": "logistic", "classes": "softmax", "scaled": "squared"}[label["encoding"]]
    request = {
        "v": 1, "kind": "training", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1",
        "model": dict(model), "features": {"v": 1, "columns": columns, "label": dict(label), **more}, "loss": loss,
        "recipe": RECIPE,
    }  # fmt: skip
    graph = TrainingSpec.from_json(request).model_graph(schema).graph
    draw = np.random.default_rng(11)
    weights = {weight.name: 0.7 * draw.normal(size=weight.shape) for weight in graph.weights}
    return Model.open(pack_weights(graph, weights), request, schema)
