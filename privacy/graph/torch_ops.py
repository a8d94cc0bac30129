"""Each operation of the table in torch: on a batch where that is proven, on one row always. Child and SDK helpers only.

Rules
-----
1. `apply` takes values whose dimension 0 is the batch, and never mixes it. Operations without that proof have no entry
   there: a model that has one runs row by row.
2. `apply_row` takes one row; it is what runs under `torch.func.vmap`. Row by row it gives what `apply` gives.
3. No operation keeps state, draws random numbers or changes its inputs. float32 and float64 both work.
4. What an operation computes is fixed here and in `forward` alike: docs/formats/model-graph.md, "Operations".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import torch
from torch.nn import functional

from kernel.errors import InvalidError
from privacy.graph.spec import Node

Tensors: TypeAlias = Sequence[torch.Tensor]
Function: TypeAlias = Callable[[Tensors, Tensors], torch.Tensor]


def apply(node: Node, inputs: Tensors, weights: Tensors) -> torch.Tensor:
    """Compute a proven operation on a batch.

    Raises:
        InvalidError: The operation is not proven; use `apply_row` under `vmap`.
    """
    return bind(node)(inputs, weights)


def apply_row(node: Node, inputs: Tensors, weights: Tensors) -> torch.Tensor:
    """Compute any operation on one row: values without the batch."""
    return bind_row(node)(inputs, weights)


def bind(node: Node) -> Function:
    """The function of a proven node on a batch, with its attributes read once."""
    made = _ON_BATCHES.get(node.op)
    if made is None:
        raise InvalidError(f"node `{node.name}`: `{node.op}` runs on one row at a time only", field="op")
    return made(node)


def bind_row(node: Node) -> Function:
    """The function of any node on one row, with its attributes read once."""
    if node.op in _ON_ROWS:
        return _ON_ROWS[node.op](node)
    on_batch = bind(node)
    return lambda inputs, weights: on_batch([value.unsqueeze(0) for value in inputs], weights).squeeze(0)


def _plain(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Node], Function]:
    return lambda _: lambda inputs, __: function(inputs[0])


def _pair(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[[Node], Function]:
    return lambda _: lambda inputs, __: function(inputs[0], inputs[1])


def _linear(_: Node) -> Function:
    return lambda inputs, weights: functional.linear(inputs[0], weights[0], _second(weights))


def _second(weights: Tensors) -> torch.Tensor | None:
    return weights[1] if len(weights) == 2 else None


def _embedding(_: Node) -> Function:
    return lambda inputs, weights: functional.embedding(entries(inputs[0], len(weights[0])), weights[0])


def entries(values: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers -> entries of a table: the nearest whole number, moved into range; 0 for what is not a number."""
    return torch.nan_to_num(values, nan=0.0).clamp(0, count - 1).round().to(torch.int64)


def _attention(node: Node) -> Function:
    heads, causal = node.whole("heads"), node.flag("causal")

    def run(inputs: Tensors, _: Tensors) -> torch.Tensor:
        query, key, value = (_by_head(each, heads) for each in inputs)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return mixed.transpose(1, 2).reshape(inputs[0].shape)

    return run


def _attention_row(node: Node) -> Function:
    heads, causal = node.whole("heads"), node.flag("causal")

    def run_batch(inputs: Tensors, _: Tensors) -> torch.Tensor:
        query, key, value = (_by_head(each, heads) for each in inputs)
        scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]))
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        mixed = torch.softmax(scores, dim=-1) @ value
        return mixed.transpose(1, 2).reshape(inputs[0].shape)

    return lambda inputs, weights: run_batch([value.unsqueeze(0) for value in inputs], weights).squeeze(0)


def _by_head(value: torch.Tensor, heads: int) -> torch.Tensor:
    """[n, t, width] -> [n, heads, t, width / heads]."""
    rows, length, width = value.shape
    return value.reshape(rows, length, heads, width // heads).transpose(1, 2)


def _conv1d(node: Node) -> Function:
    stride, padding, dilation = node.wholes("stride"), node.wholes("padding"), node.wholes("dilation")
    groups = node.whole("groups")
    return lambda inputs, weights: functional.conv1d(
        inputs[0], weights[0], _second(weights), stride, padding, dilation, groups
    )


def _conv2d(node: Node) -> Function:
    stride, padding, dilation = node.wholes("stride"), node.wholes("padding"), node.wholes("dilation")
    groups = node.whole("groups")
    return lambda inputs, weights: functional.conv2d(
        inputs[0], weights[0], _second(weights), stride, padding, dilation, groups
    )


def _max_pool2d(node: Node) -> Function:
    pool = _max_pool2d_row(node)

    def run(inputs: Tensors, weights: Tensors) -> torch.Tensor:
        # Over channels side by side the kernel is several times quicker; the same maxima, and the first of equal ones
        # gets the gradient either way.
        return pool([inputs[0].contiguous(memory_format=torch.channels_last)], weights).contiguous()

    return run


def _max_pool2d_row(node: Node) -> Function:
    kernel, stride, padding = node.wholes("kernel"), node.wholes("stride"), node.wholes("padding")
    return lambda inputs, _: functional.max_pool2d(inputs[0], kernel, stride, padding)


def _avg_pool2d(node: Node) -> Function:
    kernel, stride, padding = node.wholes("kernel"), node.wholes("stride"), node.wholes("padding")
    return lambda inputs, _: functional.avg_pool2d(inputs[0], kernel, stride, padding)


def _reshape(node: Node) -> Function:
    shape = node.wholes("shape")
    return lambda inputs, _: inputs[0].reshape(inputs[0].shape[0], *shape)


def _permute(node: Node) -> Function:
    order = [0, *(side + 1 for side in node.wholes("order"))]
    return lambda inputs, _: inputs[0].permute(order)


def _concat(node: Node) -> Function:
    axis = node.whole("axis") + 1
    return lambda inputs, _: torch.cat(list(inputs), dim=axis)


def _slice(node: Node) -> Function:
    axis, start, stop = node.whole("axis") + 1, node.whole("start"), node.whole("stop")
    return lambda inputs, _: inputs[0].narrow(axis, start, stop - start)


def _leaky_relu(node: Node) -> Function:
    slope = node.number("slope")
    return lambda inputs, _: functional.leaky_relu(inputs[0], slope)


def _clamp(node: Node) -> Function:
    low, high = node.number("low"), node.number("high")
    return lambda inputs, _: torch.clamp(inputs[0], low, high)


def _scale(node: Node) -> Function:
    factor = node.number("factor")
    return lambda inputs, _: inputs[0] * factor


def _offset(node: Node) -> Function:
    value = node.number("value")
    return lambda inputs, _: inputs[0] + value


def _mean(node: Node) -> Function:
    axes = [axis + 1 for axis in node.wholes("axes")]
    return lambda inputs, _: inputs[0].mean(dim=axes)


def _sum(node: Node) -> Function:
    axes = [axis + 1 for axis in node.wholes("axes")]
    return lambda inputs, _: inputs[0].sum(dim=axes)


def _layer_norm(node: Node) -> Function:
    sides, eps = node.whole("sides"), node.number("eps")
    return lambda inputs, weights: functional.layer_norm(
        inputs[0], inputs[0].shape[-sides:], weights[0] if weights else None, _second(weights), eps
    )


def _group_norm(node: Node) -> Function:
    groups, eps = node.whole("groups"), node.number("eps")
    return lambda inputs, weights: torch.group_norm(
        inputs[0], groups, weights[0] if weights else None, _second(weights), eps
    )


def _roll_row(node: Node) -> Function:
    axis, shift = node.whole("axis"), node.whole("shift")
    return lambda inputs, _: torch.roll(inputs[0], shift, axis)


def _flip_row(node: Node) -> Function:
    axis = node.whole("axis")
    return lambda inputs, _: torch.flip(inputs[0], (axis,))


def _cumsum_row(node: Node) -> Function:
    axis = node.whole("axis")
    return lambda inputs, _: torch.cumsum(inputs[0], axis)


def _maximum_row(node: Node) -> Function:
    axes = node.wholes("axes")
    return lambda inputs, _: torch.amax(inputs[0], axes)


_LINEAR_FROM = 40.0
"""Above it softplus(x) is x in float64 already."""

_ON_BATCHES: Final[dict[str, Callable[[Node], Function]]] = {
    "linear": _linear,
    "embedding": _embedding,
    "attention": _attention,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "flatten": _plain(lambda value: value.reshape(value.shape[0], -1)),
    "reshape": _reshape,
    "permute": _permute,
    "concat": _concat,
    "slice": _slice,
    "relu": _plain(torch.relu),
    "tanh": _plain(torch.tanh),
    "sigmoid": _plain(torch.sigmoid),
    "gelu": _plain(lambda value: functional.gelu(value, approximate="tanh")),
    "gelu_exact": _plain(functional.gelu),
    "silu": _plain(functional.silu),
    "elu": _plain(functional.elu),
    "softplus": _plain(lambda value: functional.softplus(value, threshold=_LINEAR_FROM)),
    "leaky_relu": _leaky_relu,
    "clamp": _clamp,
    "add": _pair(torch.add),
    "subtract": _pair(torch.sub),
    "multiply": _pair(torch.mul),
    "scale": _scale,
    "offset": _offset,
    "shift": lambda _: lambda inputs, weights: inputs[0] + weights[0],
    "softmax": _plain(lambda value: torch.softmax(value, dim=-1)),
    "mean": _mean,
    "sum": _sum,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
}

_ON_ROWS: Final[dict[str, Callable[[Node], Function]]] = {
    "roll": _roll_row,
    "flip": _flip_row,
    "cumsum": _cumsum_row,
    "matmul": _pair(torch.matmul),
    "maximum": _maximum_row,
    # What is quicker on batches is not made for `vmap`.
    "attention": _attention_row,
    "max_pool2d": _max_pool2d_row,
    "sine": _plain(torch.sin),
    "cosine": _plain(torch.cos),
}
