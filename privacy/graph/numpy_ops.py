"""Each operation of the table in numpy, on a batch, in float64. Needs numpy.

Rules
-----
1. Row i of a result depends on row i of the inputs only, bit for bit: products are one library call for each row, and
   sums run over sides that are made the last and contiguous first. A library rounds one product over many rows
   differently depending on how many rows there are and where one stands, and a score at the edge of a cell would then
   move with other people's rows.
2. What an operation computes is fixed here and in `torch_ops` alike: docs/formats/model-graph.md, "Operations".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.numpy_windows import convolve, pool
from privacy.graph.spec import Node

Floats: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[[Node, Sequence[Floats], Sequence[Floats]], Floats]
_GELU_SCALE = math.sqrt(2 / math.pi)
_SQRT_HALF = math.sqrt(0.5)


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))


def softmax(values: Floats) -> Floats:
    """Shares of the last side."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Floats = powers / _sum_last(powers)[..., None]
    return shares


def _sum_last(values: Floats) -> Floats:
    result: Floats = np.ascontiguousarray(values).sum(axis=-1)
    return result


def _linear(_: Node, inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    rows = np.ascontiguousarray(inputs[0])[..., None, :]
    result: Floats = np.matmul(rows, np.ascontiguousarray(weights[0].T))[..., 0, :]
    return result + weights[1] if len(weights) == 2 else result


def _embedding(_: Node, inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    places = np.round(np.clip(np.nan_to_num(inputs[0], nan=0.0), 0, len(weights[0]) - 1))
    return weights[0][places.astype(np.int64)]


def _attention(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    heads = node.whole("heads")
    query, key, value = (_by_head(each, heads) for each in inputs)
    scores = np.matmul(query, np.ascontiguousarray(key.swapaxes(-1, -2))) / math.sqrt(query.shape[-1])
    if node.flag("causal"):
        scores = np.where(np.tri(scores.shape[-1], dtype=bool), scores, -math.inf)
    mixed: Floats = np.matmul(softmax(scores), value).swapaxes(1, 2)
    return mixed.reshape(inputs[0].shape)


def _by_head(value: Floats, heads: int) -> Floats:
    """[n, t, width] -> [n, heads, t, width / heads]."""
    rows, length, width = value.shape
    return np.ascontiguousarray(value.reshape(rows, length, heads, width // heads).swapaxes(1, 2))


def _matmul(_: Node, inputs: Sequence[Floats], __: Sequence[Floats]) -> Floats:
    result: Floats = np.matmul(np.ascontiguousarray(inputs[0]), np.ascontiguousarray(inputs[1]))
    return result


def _gelu(x: Floats) -> Floats:
    result: Floats = 0.5 * x * (1 + np.tanh(_GELU_SCALE * (x + 0.044715 * x * x * x)))
    return result


def _gelu_exact(x: Floats) -> Floats:
    # numpy has no error function; the standard library's is exact and works on one number at a time.
    errors = np.asarray(np.frompyfunc(math.erf, 1, 1)(x * _SQRT_HALF), dtype=np.float64)
    result: Floats = 0.5 * x * (1 + errors)
    return result


def _silu(x: Floats) -> Floats:
    return x * sigmoid(x)


def _elu(x: Floats) -> Floats:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softplus(x: Floats) -> Floats:
    result: Floats = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return result


def _leaky_relu(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return np.where(inputs[0] > 0, inputs[0], inputs[0] * node.number("slope"))


def _clamp(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    result: Floats = np.clip(inputs[0], node.number("low"), node.number("high"))
    return result


def _last(node: Node, value: Floats) -> Floats:
    """The sides that `axes` names made one last, contiguous side."""
    gone = [axis + 1 for axis in node.wholes("axes")]
    kept = [axis for axis in range(value.ndim) if axis not in gone]
    moved = value.transpose((*kept, *gone))
    return np.ascontiguousarray(moved.reshape(*moved.shape[: len(kept)], -1))


def _sum(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return _sum_last(_last(node, inputs[0]))


def _mean(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    values = _last(node, inputs[0])
    result: Floats = _sum_last(values) / values.shape[-1]
    return result


def _maximum(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    result: Floats = _last(node, inputs[0]).max(axis=-1)
    return result


def _layer_norm(node: Node, inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    value, sides = inputs[0], node.whole("sides")
    flat = value.reshape(*value.shape[: value.ndim - sides], -1)
    result = _normalised(flat, node.number("eps")).reshape(value.shape)
    return result * weights[0] + weights[1] if weights else result


def _group_norm(node: Node, inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    value = inputs[0]
    flat = value.reshape(len(value), node.whole("groups"), -1)
    result = _normalised(flat, node.number("eps")).reshape(value.shape)
    if not weights:
        return result
    scale, offset = (weight.reshape(-1, *(1,) * (value.ndim - 2)) for weight in weights)
    return result * scale + offset


def _normalised(values: Floats, eps: float) -> Floats:
    """Mean 0 and variance 1 along the last side; the variance divides by how many there are."""
    count = values.shape[-1]
    centred = values - (_sum_last(values) / count)[..., None]
    result: Floats = centred / np.sqrt((_sum_last(centred * centred) / count)[..., None] + eps)
    return result


def _reshape(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return inputs[0].reshape(len(inputs[0]), *node.wholes("shape"))


def _flatten(_: Node, inputs: Sequence[Floats], __: Sequence[Floats]) -> Floats:
    return inputs[0].reshape(len(inputs[0]), -1)


def _permute(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    result: Floats = inputs[0].transpose((0, *(side + 1 for side in node.wholes("order"))))
    return result


def _concat(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return np.concatenate(list(inputs), axis=node.whole("axis") + 1)


def _slice(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    before = (slice(None),) * (node.whole("axis") + 1)
    return inputs[0][(*before, slice(node.whole("start"), node.whole("stop")))]


def _roll(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return np.roll(inputs[0], node.whole("shift"), axis=node.whole("axis") + 1)


def _flip(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    return np.flip(inputs[0], axis=node.whole("axis") + 1)


def _cumsum(node: Node, inputs: Sequence[Floats], _: Sequence[Floats]) -> Floats:
    result: Floats = np.cumsum(inputs[0], axis=node.whole("axis") + 1)
    return result


def _plain(function: Callable[[Floats], Any]) -> Function:
    return lambda _, inputs, __: function(np.ascontiguousarray(inputs[0]))


def _convolve(node: Node, inputs: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    return convolve(node, inputs[0], weights)


FUNCTIONS: Final[dict[str, Function]] = {
    "linear": _linear,
    "embedding": _embedding,
    "attention": _attention,
    "matmul": _matmul,
    "conv1d": _convolve,
    "conv2d": _convolve,
    "max_pool2d": lambda node, inputs, _: pool(node, inputs[0], -math.inf).max(axis=-1),
    "avg_pool2d": lambda node, inputs, _: _sum_last(pool(node, inputs[0], 0.0)) / math.prod(node.wholes("kernel")),
    "flatten": _flatten,
    "reshape": _reshape,
    "permute": _permute,
    "concat": _concat,
    "slice": _slice,
    "roll": _roll,
    "flip": _flip,
    "relu": _plain(lambda x: np.maximum(x, 0)),
    "tanh": _plain(np.tanh),
    "sigmoid": _plain(sigmoid),
    "gelu": _plain(_gelu),
    "gelu_exact": _plain(_gelu_exact),
    "silu": _plain(_silu),
    "elu": _plain(_elu),
    "softplus": _plain(_softplus),
    "leaky_relu": _leaky_relu,
    "clamp": _clamp,
    "softmax": _plain(softmax),
    "sine": _plain(np.sin),
    "cosine": _plain(np.cos),
    "add": lambda _, inputs, __: inputs[0] + inputs[1],
    "subtract": lambda _, inputs, __: inputs[0] - inputs[1],
    "multiply": lambda _, inputs, __: inputs[0] * inputs[1],
    "scale": lambda node, inputs, _: inputs[0] * node.number("factor"),
    "offset": lambda node, inputs, _: inputs[0] + node.number("value"),
    "shift": lambda _, inputs, weights: inputs[0] + weights[0],
    "sum": _sum,
    "mean": _mean,
    "maximum": _maximum,
    "cumsum": _cumsum,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
}
