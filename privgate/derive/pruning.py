"""Magnitude pruning: the smallest weights of layers become zero. Needs numpy.

Rules
-----
1. All layers are ranked together; biases, scales and positions are left alone.
2. The graph stays what it is: zeros pack well, and a quantised zero stays zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph

_LAYERS = frozenset({"linear", "conv1d", "conv2d", "embedding"})


def share_of(share: float | str | Decimal) -> Decimal:
    """The share as exact decimal; raise `InvalidError` unless it lies above 0 and below 1."""
    try:
        exact = Decimal(str(share))
    except InvalidOperation:
        exact = Decimal(0)
    if not exact.is_finite() or not 0 < exact < 1:
        raise InvalidError("`share` of the weights that become zero lies above 0 and below 1, as in 0.5", field="share")
    return exact


def pruned(
    model: CheckedGraph, weights: Mapping[str, NDArray[Any]], share: Decimal
) -> tuple[dict[str, NDArray[Any]], int]:
    """Set the smallest `share` of all layers' weights to zero.

    Returns:
        The weights, and how many of the layers' are left.
    """
    names = [node.weights[0] for node in model.graph.nodes if node.op in _LAYERS]
    if not names:
        raise InvalidError("this model has no layer with weights to prune", field="share")
    sizes = np.concatenate([np.abs(weights[name]).ravel() for name in names])
    gone = int(share * len(sizes))
    # Ties at the edge are settled by place, so that exactly so many go.
    kept = np.ones(len(sizes), dtype=np.bool_)
    kept[np.argsort(sizes, kind="stable")[:gone]] = False
    result, start = dict(weights), 0
    for name in names:
        part = kept[start : start + weights[name].size].reshape(weights[name].shape)
        result[name], start = np.where(part, weights[name], np.float32(0)), start + weights[name].size
    return result, len(sizes) - gone
