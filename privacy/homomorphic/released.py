"""A released model as one that can be evaluated on ciphertexts: its graph read as layers. Pure.

Rules
-----
1. A node is `linear`, or `multiply` of a value with itself (the square); each reads the one before, the first the
   input. `linear`, and `linear`, square, `linear`, are models; anything else is refused with a sentence that says so.
2. Nothing is approximated: the model that is evaluated encrypted is the one that was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.errors import InvalidError
from privacy.graph.spec import ModelGraph, Node
from privacy.homomorphic.inference import Layer, Scored


def scored_of(graph: ModelGraph, weights: Mapping[str, Any]) -> Scored:
    """Read a released model.

    Args:
        graph: Its graph.
        weights: Its arrays by name, as `privacy.graph.weights.unpack_weights` reads them.

    Raises:
        InvalidError: The graph is no such model, or its values outgrow the encryption's modulus.
    """
    layers, last = [], graph.inputs[0].name
    for place, node in enumerate(graph.nodes):
        _require(node.inputs == ((last, last) if place % 2 else (last,)))
        _require(node.op == ("multiply" if place % 2 else "linear"))
        if not place % 2:
            layers.append(_layer(node, weights))
        last = node.name
    _require(len(graph.nodes) in (1, 3) and graph.outputs == (last,) and len(graph.inputs[0].shape) == 1)
    return Scored(tuple(layers))


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
