"""Operations that multiply: linear layers, embeddings, attention, products of two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from privacy.graph.operation import FLAG, WHOLE, Operation, require
from privacy.graph.spec import Node, Shape, elements


def _linear_result(_: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    value, matrix = inputs[0], weights[0]
    require(
        len(matrix) == 2 and bool(value) and value[-1] == matrix[1],
        "a linear weight has the shape [outputs, last side of the input]",
        "weights",
    )
    require_bias(weights, matrix[0])
    return (*value[:-1], matrix[0])


def require_bias(weights: Sequence[Shape], outputs: int) -> None:
    """A second weight, where there is one, has one number for each output."""
    require(len(weights) < 2 or weights[1] == (outputs,), "a bias has the shape [outputs]", "weights")


def _linear_cost(_: Node, inputs: Sequence[Shape], weights: Sequence[Shape], __: Shape) -> int:
    return elements(inputs[0]) * weights[0][0]


def _embedding_result(_: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    require(len(weights[0]) == 2, "an embedding's weight has the shape [entries, width]", "weights")
    return (*inputs[0], weights[0][1])


def _attention_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    query, key, value = inputs
    require(
        len(query) == 2 and len(key) == 2 and query[1] == key[1] and key == value,
        "attention reads query [t, width], key [s, width] and value [s, width]",
        "inputs",
    )
    heads = node.whole("heads")
    require(1 <= heads <= query[1] and query[1] % heads == 0, "`heads` must divide the width")
    require(not node.flag("causal") or query == key, "causal attention needs as many keys as queries")
    return query


def _attention_cost(_: Node, inputs: Sequence[Shape], __: Sequence[Shape], ___: Shape) -> int:
    query, key = inputs[0], inputs[1]
    return 2 * query[0] * key[0] * query[1] + _attention_kept(_, inputs, __, ___)


def _attention_kept(node: Node, inputs: Sequence[Shape], _: Sequence[Shape], __: Shape) -> int:
    """Scores and shares of each head."""
    return 2 * node.whole("heads") * inputs[0][0] * inputs[1][0]


def _matmul_result(_: Node, inputs: Sequence[Shape], __: Sequence[Shape]) -> Shape:
    left, right = inputs
    require(
        len(left) == len(right) >= 2 and left[:-2] == right[:-2] and left[-1] == right[-2],
        "a product reads [..., m, k] and [..., k, n] with the same sides before them",
        "inputs",
    )
    return (*left[:-1], right[-1])


def _matmul_cost(_: Node, inputs: Sequence[Shape], __: Sequence[Shape], ___: Shape) -> int:
    return elements(inputs[0]) * inputs[1][-1]


PRODUCTS: Final = (
    Operation(name="linear", weights=(1, 2), result=_linear_result, cost=_linear_cost),
    Operation(name="embedding", weights=(1, 1), result=_embedding_result),
    Operation(
        name="attention",
        inputs=(3, 3),
        attributes={"heads": WHOLE, "causal": FLAG},
        result=_attention_result,
        cost=_attention_cost,
        kept=_attention_kept,
    ),
    Operation(name="matmul", inputs=(2, 2), result=_matmul_result, cost=_matmul_cost, batch=None),
)
