"""A model graph computed with numpy alone: for scoring where torch is not wanted. Needs numpy.

Rules
-----
1. Only a `CheckedGraph` is run, with weights that fit it.
2. Every operation of the table has one function, here or in `numpy_ops`; row i of a result depends on row i of the
   inputs only.
3. Bit for bit: neither how many rows there are nor where a row stands changes its result.
4. Arithmetic is float64. A row that overflows becomes non-finite by itself and disturbs no other; the caller decides.
5. Rows are taken a few at a time, so that memory stays bounded however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.numpy_ops import FUNCTIONS, Floats, sigmoid

__all__ = ["forward", "sigmoid", "values_of"]

MOST_NUMBERS_AT_ONCE = 2**23


def forward(model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> Floats:
    """Compute the output of each row.

    Args:
        model: What to run.
        weights: By name; shapes as in the graph.
        rows: Shape [n, ...input shape], or [n, width] with each row flattened.

    Returns:
        Shape [n, outputs].
    """
    values = {name: weight.astype(np.float64) for name, weight in weights.items()}
    result = np.empty((len(rows), model.outputs))
    at_once = max(1, MOST_NUMBERS_AT_ONCE // (model.activations_per_row + model.scratch_per_row))
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            result[part] = _few(model, values, np.asarray(rows[part], dtype=np.float64))
    return result


def values_of(
    model: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: NDArray[Any], names: Collection[str]
) -> dict[str, Floats]:
    """The values of some names on the way, for a few rows: all of them stand in memory at once."""
    doubles = {name: weight.astype(np.float64) for name, weight in weights.items()}
    with np.errstate(all="ignore"):
        values = _values(model, doubles, np.asarray(rows, dtype=np.float64))
    return {name: values[name] for name in names}


def _few(model: CheckedGraph, weights: Mapping[str, Floats], rows: Floats) -> Floats:
    return _values(model, weights, rows)[model.graph.outputs[0]].reshape(len(rows), model.outputs)


def _values(model: CheckedGraph, weights: Mapping[str, Floats], rows: Floats) -> dict[str, Floats]:
    graph = model.graph
    values = {graph.inputs[0].name: rows.reshape(len(rows), *graph.inputs[0].shape)}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        values[node.name] = FUNCTIONS[node.op](node, inputs, [weights[name] for name in node.weights])
    return values
