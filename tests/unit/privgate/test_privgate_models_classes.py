"""Models of several classes, convolutions and extractors on the trainer's machine: the gateway's figures, by name."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel.errors import InvalidError
from privacy.graph.forward import forward
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privgate.models import Model
from privgate.sdk.errors import ExtraMissingError
from tests.support import graphs, jobs

CLASSES = ("top", "middle", "bottom")
SQUARE = TableSchema.from_json(
    {
        "columns": [
            {"name": "picture", "kind": "tensor", "low": "0", "high": "255", "shape": [8, 8]},
            {"name": "kind", "kind": "categorical", "categories": list(CLASSES)},
        ]
    }
)
EXTRACTED = {
    "v": 1,
    "columns": [{"column": "picture", "transform": "scale"}],
    "label": {"column": "kind", "encoding": "classes"},
    "extractor": {"kind": "scattering", "image": [8, 8], "scales": 1, "angles": 4, "order": 1, "norm": "none"},
    "row_norm": "2",
}
WANTED: dict[str, tuple[TableSchema, dict[str, Any]]] = {
    "plain": (graphs.PICTURES, {"label": "kind"}),
    "network": (graphs.PICTURES, {"label": "kind", "model": {"graph": graphs.small_network()}}),
    "row by row": (graphs.PICTURES, {"label": "kind", "model": {"graph": graphs.rolled()}}),
    "extracted": (SQUARE, {"label": None, "features": EXTRACTED}),
}


def _opened(name: str) -> tuple[Model, TrainingSpec, bytes, TableSchema]:
    schema, choices = WANTED[name]
    spec = jobs.spec(None, schema, **choices)
    graph = spec.model_graph(schema).graph
    draw = np.random.default_rng(3)
    artifact = pack_weights(graph, {weight.name: draw.normal(size=weight.shape) for weight in graph.weights})
    return Model.open(artifact, spec.to_json(), schema), spec, artifact, schema


def test_a_tensor_may_be_an_array_a_flat_list_or_text() -> None:
    """The same picture in each form gives the same scores; one of another length gives none."""
    model, _, _, schema = _opened("extracted")
    (row,) = _raw(schema, 1)
    pixels = row["picture"]
    forms = [pixels, np.array(pixels), np.array(pixels).reshape(8, 8), " ".join(map(str, pixels))]
    first, *others = model.outputs([{"picture": form} for form in forms])
    assert first is not None
    assert others == [first, first, first]
    assert model.outputs([{"picture": np.zeros(63)}]) == [None]


def _raw(schema: TableSchema, count: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng(4)
    elements = schema.column("picture").elements
    pixels = draw.integers(0, 256, size=(count, elements)).tolist()
    return [{"picture": p, "kind": CLASSES[int(k)]} for p, k in zip(pixels, draw.integers(0, 3, count), strict=True)]


@pytest.mark.parametrize("name", WANTED)
def test_outputs_are_those_of_the_gateways_own_evaluation(name: str) -> None:
    """Encoder, extractor, bound and graph: the same numbers, and the name of the likeliest class."""
    model, spec, artifact, schema = _opened(name)
    raw = _raw(schema, 40)
    pixels = pa.array([[float(x) for x in row["picture"]] for row in raw], pa.list_(pa.float64()))
    table = pa.table({"picture": pixels, "kind": [row["kind"] for row in raw]})
    rows = RowEncoder(spec.features, schema).encode(table)
    assert rows.alive.all()
    features = rows.features.reshape(40, *model.graph.graph.inputs[0].shape)
    theirs = forward(model.graph, unpack_weights(model.graph.graph, artifact), features)
    np.testing.assert_allclose(np.array(model.outputs(raw), float), theirs, rtol=1e-4, atol=1e-4)
    assert model.predict(raw) == [CLASSES[place] for place in theirs.argmax(axis=1)]
    assert model.targets(raw) == rows.targets.tolist()
    right = (theirs.argmax(axis=1) == rows.targets).mean()
    assert model.evaluate(raw)["accuracy"] == pytest.approx(right)
    if name == "extracted":
        assert np.linalg.norm(rows.features, axis=1).max() <= 2.0001


@pytest.mark.parametrize("name", WANTED)
def test_a_row_that_cannot_be_scored_gives_nothing_and_disturbs_none(name: str) -> None:
    """`None` in its place; the others as they are alone."""
    model, _, _, schema = _opened(name)
    raw = _raw(schema, 3)
    alone = [model.probabilities([row])[0] for row in raw]
    raw[1] = {"picture": raw[1]["picture"][:-1]}
    together = model.probabilities(raw)
    assert together == [alone[0], None, alone[2]]
    assert set(alone[0]) == set(CLASSES)
    assert sum(alone[0].values()) == pytest.approx(1)
    assert model.predict(raw)[1] is None


def test_a_model_of_several_classes_has_no_single_score() -> None:
    """The error names the verb to use."""
    with pytest.raises(InvalidError, match="outputs"):
        _opened("plain")[0].scores([])


PLAIN, NETWORK = _opened("plain")[0], _opened("network")[0]


def test_without_numpy_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain model needs nothing; a network says what to install."""
    monkeypatch.delitem(sys.modules, "privgate.scoring", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    raw = [{"picture": [7] * 36}]
    assert PLAIN.outputs(raw)[0] is not None
    with pytest.raises(ExtraMissingError, match="train"):
        NETWORK.outputs(raw)
