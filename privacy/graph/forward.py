"""A model graph computed with numpy alone: for scoring where torch is not wanted. Needs numpy.

Rules
-----
1. Only a `CheckedGraph` is run, with weights that fit it.
2. Every operation of the table has one function here; row i of a result depends on row i of the inputs only.
3. Bit for bit: neither how many rows there are nor where a row stands changes its result.
4. Arithmetic is float64. A row that overflows becomes non-finite by itself and disturbs no other; the caller decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph

Floats: TypeAlias = NDArray[np.float64]
_GELU_SCALE = float(np.sqrt(2 / np.pi))


def forward(model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> Floats:
    """Compute the output of each row.

    Args:
        model: What to run.
        weights: By name; shapes as in the graph.
        rows: Shape [n, ...input shape].

    Returns:
        Shape [n, outputs].
    """
    graph = model.graph
    values: dict[str, Floats] = {graph.inputs[0].name: np.asarray(rows, dtype=np.float64)}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = _FUNCTIONS[node.op](inputs, [weights[name].astype(np.float64) for name in node.weights])
    return values[graph.outputs[0]].reshape(len(rows), model.outputs)


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def _linear(inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    # One product for each row. In one product over all rows the library rounds a row differently depending on how many
    # others there are and where it stands, and a score at the edge of a cell would then move with other people's rows.
    rows = np.ascontiguousarray(inputs[0])[..., None, :]
    result: Floats = np.matmul(rows, np.ascontiguousarray(weights[0].T))[..., 0, :]
    if len(weights) == 2:
        result += weights[1]
    return result


def _relu(inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    result: Floats = np.maximum(inputs[0], 0)
    return result


def _tanh(inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return np.tanh(inputs[0])


def _sigmoid(inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return sigmoid(inputs[0])


def _gelu(inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    x = inputs[0]
    result: Floats = 0.5 * x * (1 + np.tanh(_GELU_SCALE * (x + 0.044715 * x * x * x)))
    return result


_FUNCTIONS: Final[dict[str, Callable[[Sequence[Floats], Sequence[Floats]], Floats]]] = {
    "linear": _linear,
    "relu": _relu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
}
