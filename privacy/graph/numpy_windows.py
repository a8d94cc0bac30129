"""Convolution and pooling in numpy, row by row, bit for bit independent of other rows. Needs numpy.

Rules
-----
1. A row's windows are unfolded into one matrix, and one product for each row (and group) gives its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from privacy.graph.spec import Node

Floats: TypeAlias = NDArray[np.float64]


def convolve(node: Node, value: Floats, weights: Sequence[Floats]) -> Floats:
    """Correlate [n, channels, ...sides] with a kernel [outputs, channels / groups, ...window]; add the bias."""
    kernel, groups = weights[0], node.whole("groups")
    window, stride, dilation = kernel.shape[2:], node.wholes("stride"), node.wholes("dilation")
    views = _windows(_padded(value, node.wholes("padding"), 0.0), window, stride, dilation)
    rows, places = len(value), views.shape[2 : 2 + len(window)]
    # [n, groups, channels / groups, places, window] -> [n, groups, places, channels / groups x window]
    grouped = views.reshape(rows, groups, kernel.shape[1], int(np.prod(places)), -1).swapaxes(2, 3)
    unfolded = np.ascontiguousarray(grouped).reshape(rows, groups, grouped.shape[2], -1)
    matrices = kernel.reshape(groups, kernel.shape[0] // groups, -1).swapaxes(1, 2)
    products = np.matmul(unfolded, np.ascontiguousarray(matrices)).swapaxes(2, 3)
    result: Floats = products.reshape(rows, kernel.shape[0], *places)
    return result + weights[1].reshape(-1, *(1,) * len(window)) if len(weights) == 2 else result


def pool(node: Node, value: Floats, padding: float) -> Floats:
    """Windows of [n, channels, height, width] as a last, contiguous side; what lies outside is `padding`."""
    kernel = node.wholes("kernel")
    views = _windows(_padded(value, node.wholes("padding"), padding), kernel, node.wholes("stride"), (1, 1))
    return np.ascontiguousarray(views).reshape(*views.shape[:4], -1)


def _padded(value: Floats, padding: Sequence[int], fill: float) -> Floats:
    return np.pad(value, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=fill)


def _windows(value: Floats, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Floats:
    """A view of shape [n, channels, ...places, ...window]."""
    reach = tuple(1 + d * (k - 1) for k, d in zip(window, dilation, strict=True))
    sides = tuple(range(2, 2 + len(reach)))
    views: Floats = sliding_window_view(value, reach, axis=sides)
    steps = tuple(slice(None, None, step) for step in (*stride, *dilation))
    return views[(slice(None), slice(None), *steps)]
