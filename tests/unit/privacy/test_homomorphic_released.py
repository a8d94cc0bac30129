"""Released models on ciphertexts: read from their graphs, with the scores that they have in the clear."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.spec import Initial, InitialRule, Input, ModelGraph, Node, Weight
from privacy.graph.templates import ModelChoice
from privacy.homomorphic.released import scored_of
from privacy.homomorphic.tenseal_backend.inference import answers, ask, asking, infer

ZEROS = Initial(rule=InitialRule.ZEROS)


def graph_of(op: str, inputs: tuple[str, ...]) -> ModelGraph:
    """linear, an operation, linear."""
    return ModelGraph(
        inputs=(Input(name="x", shape=(4,)),),
        weights=(
            Weight(name="w1", shape=(3, 4), init=ZEROS),
            Weight(name="b1", shape=(3,), init=ZEROS),
            Weight(name="w2", shape=(2, 3), init=ZEROS),
        ),
        nodes=(
            Node(name="h", op="linear", inputs=("x",), weights=("w1", "b1")),
            Node(name="s", op=op, inputs=inputs),
            Node(name="y", op="linear", inputs=("s",), weights=("w2",)),
        ),
        outputs=("y",),
    )


def drawn(graph: ModelGraph) -> dict[str, NDArray[np.float32]]:
    """Weights in float32."""
    source = np.random.default_rng(2)
    return {weight.name: source.normal(0, 0.3, weight.shape).astype(np.float32) for weight in graph.weights}


@pytest.mark.parametrize(
    "graph",
    [ModelChoice.from_json({"template": "logistic"}).graph(4, 1), graph_of("multiply", ("h", "h"))],
    ids=["template", "square"],
)
def test_a_released_model_scores_encrypted_rows_as_it_does_in_the_clear(graph: ModelGraph) -> None:
    """The scores are those of the graph in float64, on rows in [-1, 1]."""
    weights = drawn(graph)
    model = scored_of(graph, weights)
    rows = np.random.default_rng(3).uniform(-1, 1, (50, 4)).astype(np.float32)
    keys = asking(model.shape)
    found = answers(model.shape, keys, infer(model, keys.evaluation, ask(model.shape, keys, rows.tolist())), 50)
    expected = forward(check(graph), weights, rows).reshape(50, -1)
    assert np.abs(np.array(found) - expected).max() < 2e-3


@pytest.mark.parametrize(("op", "inputs"), [("relu", ("h",)), ("multiply", ("h", "x")), ("add", ("h", "h"))])
def test_another_model_is_refused(op: str, inputs: tuple[str, ...]) -> None:
    """What is no polynomial, or another one, is named as such; so are weights that outgrow the modulus."""
    graph = graph_of(op, inputs)
    with pytest.raises(InvalidError, match="encrypted"):
        scored_of(graph, drawn(graph))
    square = graph_of("multiply", ("h", "h"))
    with pytest.raises(InvalidError):
        scored_of(square, drawn(square) | {"w1": np.full((3, 4), 1e6, np.float32)})
