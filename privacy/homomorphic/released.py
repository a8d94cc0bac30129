"""A released model as one that can be evaluated on ciphertexts: its graph read as layers. Pure.

Rules
-----
1. A node is `linear`, or `multiply` of a value with itself (the square); each reads the one before, the first the
   input. `linear`, and `linear`, square, `linear`, are models; anything else is refused with a sentence that says so.
   The graph alone shows it (`shape_of`): no weight is looked at.
2. Numbers that come in lie in [-1, 1], as every transform of columns but `tokens` gives them; what an extractor gives
   has no such bound. Models on others are refused.
3. Nothing is approximated: the model that is evaluated encrypted is the one that was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.graph.spec import ModelGraph, Node
from privacy.homomorphic.inference import MOST_HIDDEN, Layer, Scored, Shape
from privacy.jobs.features import FeatureSpec, Transform


def scored_of(graph: ModelGraph, weights: Mapping[str, Any]) -> Scored:
    """Read a released model.

    Args:
        graph: Its graph.
        weights: Its arrays by name, as `privacy.graph.weights.unpack_weights` reads them.

    Raises:
        InvalidError: The graph is no such model, or its values outgrow the encryption's modulus.
    """
    return Scored(layers_of(graph, weights))


def layers_of(graph: ModelGraph, weights: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of a released model; raise `InvalidError` if it is none that can be evaluated."""
    return tuple(_layer(node, weights) for node in _linear_nodes(graph))


def shape_of(graph: ModelGraph, features: FeatureSpec) -> Shape:
    """What a client has to know of a released model.

    Args:
        graph: Its graph.
        features: How rows become its numbers.

    Raises:
        InvalidError: Graph or features are not those of a model that can be evaluated encrypted.
    """
    nodes = _linear_nodes(graph)
    bounded = features.extractor is None and all(f.transform is not Transform.TOKENS for f in features.columns)
    if not bounded:
        raise InvalidError("numbers of an extractor, or tokens, have no bound: such a model is not asked encrypted")
    shapes = {weight.name: weight.shape for weight in graph.weights}
    sizes = [shapes[node.weights[0]][0] for node in nodes]
    whole(1, MOST_HIDDEN, hidden=sizes[0] if len(nodes) == 2 else 1)
    return Shape(features=graph.inputs[0].shape[0], outputs=sizes[-1], layers=len(nodes))


def _linear_nodes(graph: ModelGraph) -> tuple[Node, ...]:
    last = graph.inputs[0].name
    for place, node in enumerate(graph.nodes):
        _require(node.inputs == ((last, last) if place % 2 else (last,)))
        _require(node.op == ("multiply" if place % 2 else "linear"))
        last = node.name
    _require(len(graph.nodes) in (1, 3) and graph.outputs == (last,) and len(graph.inputs[0].shape) == 1)
    return graph.nodes[::2]


def _layer(node: Node, weights: Mapping[str, Any]) -> Layer:
    rows = tuple(tuple(map(float, row)) for row in weights[node.weights[0]].tolist())
    bias = weights[node.weights[1]].tolist() if len(node.weights) > 1 else [0.0] * len(rows)
    return Layer(rows, tuple(map(float, bias)))


def _require(holds: bool) -> None:
    if not holds:
        raise InvalidError(
            "a linear model, or `linear`, `multiply` of its result with itself, `linear`, can be evaluated encrypted",
            field="model",
        )
