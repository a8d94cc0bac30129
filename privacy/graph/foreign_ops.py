"""Operations of other programs, on values with a batch, as operations on one row.

Rules
-----
1. Every function here first makes sure that what it does happens within a row; otherwise it refuses. A sentence says
   why and what to do; whoever reads the foreign file puts the node's name before it.
2. Broadcasting is refused where the sizes do not say beyond doubt that a row meets itself.
3. What we cannot compute exactly as the foreign program does (another constant, another way of padding) is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from kernel.errors import InvalidError
from kernel.events import Parameter as Exact
from privacy.graph.foreign import (
    BATCH_DIM,
    Batched,
    Dim,
    Dims,
    Parameter,
    first_is_batch,
    own_dim,
    row_axis,
    row_shape,
)
from privacy.graph.foreign_graph import RowGraph
from privacy.graph.spec import Attribute, Shape


def exact(number: float) -> Exact:
    """A number of a foreign file as exact decimal text."""
    if not math.isfinite(number) or (number != 0 and not 1e-30 < abs(number) < 1e30):
        raise InvalidError("a constant is not a finite number of usual size")
    return Exact(Decimal(repr(float(number))))


def rows(graph: RowGraph, value: Batched) -> str:
    """The value of one row, in the shape that its dimensions say."""
    if value.index:
        raise InvalidError("whole numbers can only be looked up in an embedding, or be part of the input as they are")
    return graph.reshape(value.row, row_shape(value.dims))


def elementwise(graph: RowGraph, op: str, value: Batched, /, **attributes: Attribute) -> Batched:
    """Number by number."""
    return Batched(row=graph.add(op, (rows(graph, value),), **attributes), dims=value.dims)


def pair(graph: RowGraph, op: str, left: Batched, right: Batched) -> Batched:
    """Two values, number by number."""
    if left.dims != right.dims:
        raise InvalidError(
            "its inputs have different shapes, and one would be repeated: give both the same shape, batch included"
        )
    return Batched(row=graph.add(op, (rows(graph, left), rows(graph, right))), dims=left.dims)


def add_parameter(graph: RowGraph, value: Batched, parameter: Parameter) -> Batched:
    """Add a learned array: the bias of a linear layer, or one number for each number of a row."""
    shape = parameter.array.shape
    if value.bare and len(shape) == 1 and not value.dims[-1].batch and shape[0] == value.dims[-1].side:
        return Batched(row=graph.add_bias(value.row, graph.weight(parameter)), dims=value.dims)
    wanted = tuple(1 if dim.pure else dim.side for dim in value.dims)
    padded = (1,) * (len(wanted) - len(shape)) + shape
    if padded != wanted or any(dim.batch and not dim.pure for dim in value.dims):
        raise InvalidError(
            f"the parameter must have the shape of one row, {list(row_shape(value.dims))}: it would be repeated within"
            " a row or along the batch"
        )
    row = rows(graph, value)
    fitted = parameter if shape == graph.shape(row) else parameter.reshaped(graph.shape(row))
    return Batched(row=graph.add("shift", (row,), (graph.weight(fitted),)), dims=value.dims)


def linear(graph: RowGraph, value: Batched, weight: Parameter, bias: Parameter | None, *, alone: bool) -> Batched:
    """A linear layer over the last dimension; `alone` says that its result is read once."""
    if weight.array.ndim != 2:
        raise InvalidError("the weight of a linear layer has two dimensions")
    last = own_dim(value, -1, "multiplies")
    row = rows(graph, value)
    weights = [graph.weight(parameter) for parameter in (weight, bias) if parameter is not None]
    dims = (*value.dims[:last], Dim(weight.array.shape[0]))
    return Batched(row=graph.add("linear", (row,), weights), dims=dims, bare=bias is None and alone)


def conv(
    graph: RowGraph,
    value: Batched,
    weights: Sequence[Parameter],
    *,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Batched:
    """A convolution over one or two dimensions; `weights` is a kernel and perhaps a bias."""
    sides = weights[0].array.ndim - 2
    if sides not in (1, 2):
        raise InvalidError("a convolution has one or two dimensions beside channels")
    first_is_batch(value, [sides + 2], "a convolution")
    names = [graph.weight(parameter) for parameter in weights]
    row = graph.add(
        f"conv{sides}d",
        (rows(graph, value),),
        names,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return _batch_first(graph, row)


def pool(graph: RowGraph, op: str, value: Batched, kernel: Shape, stride: Shape, padding: Shape) -> Batched:
    """Pooling (`max_pool2d` or `avg_pool2d`) over one or two dimensions."""
    first_is_batch(value, [len(kernel) + 2], "pooling")
    row = rows(graph, value)
    if len(kernel) == 2:
        return _batch_first(graph, graph.add(op, (row,), kernel=kernel, stride=stride, padding=padding))
    channels, length = graph.shape(row)
    flat = graph.reshape(row, (channels, 1, length))
    done = graph.add(op, (flat,), kernel=(1, *kernel), stride=(1, *stride), padding=(0, *padding))
    return _batch_first(graph, graph.reshape(done, (channels, graph.shape(done)[-1])))


def mean_to(graph: RowGraph, value: Batched, sides: Shape) -> Batched:
    """Averages down to these sides: adaptive average pooling."""
    first_is_batch(value, [len(sides) + 2], "pooling")
    dims = value.dims[2:]
    if all(side == 1 for side in sides):
        return reduced(graph, "mean", value, range(2, len(value.dims)), keep=True)
    if any(dim.side % side for dim, side in zip(dims, sides, strict=True)):
        raise InvalidError("adaptive pooling is read where its output sides divide its input's, best 1")
    kernel = tuple(dim.side // side for dim, side in zip(dims, sides, strict=True))
    return pool(graph, "avg_pool2d", value, kernel, kernel, (0,) * len(kernel))


def layer_norm(
    graph: RowGraph, value: Batched, sides: Sequence[int], scale: Sequence[Parameter], eps: float
) -> Batched:
    """Normalisation over the last dimensions."""
    count = len(sides)
    last = value.dims[len(value.dims) - count :] if count <= len(value.dims) else ()
    if not count or any(dim.batch for dim in last) or [dim.side for dim in last] != list(sides):
        raise InvalidError("a layer norm is over the last dimensions of a row, without the batch")
    names = [graph.weight(parameter) for parameter in scale]
    row = graph.add("layer_norm", (rows(graph, value),), names, sides=count, eps=exact(eps))
    return Batched(row=row, dims=value.dims)


def group_norm(graph: RowGraph, value: Batched, groups: int, scale: Sequence[Parameter], eps: float) -> Batched:
    """Normalisation over groups of channels of one row."""
    first_is_batch(value, range(2, 6), "a group norm")
    names = [graph.weight(parameter) for parameter in scale]
    row = graph.add("group_norm", (rows(graph, value),), names, groups=groups, eps=exact(eps))
    return Batched(row=row, dims=value.dims)


def embedding(graph: RowGraph, value: Batched, weight: Parameter) -> Batched:
    """Look whole numbers up in a table."""
    if weight.array.ndim != 2:
        raise InvalidError("the table of an embedding has two dimensions")
    row = rows(graph, replace(value, index=False))
    name = graph.weight(weight)
    return Batched(row=graph.add("embedding", (row,), (name,)), dims=(*value.dims, Dim(weight.array.shape[1])))


def attention(graph: RowGraph, query: Batched, key: Batched, value: Batched, *, causal: bool) -> Batched:
    """Scaled dot-product attention over [..., heads, places, width]."""
    lead = query.dims[:-2]
    if any(v.dims[:-2] != lead or any(d.batch for d in v.dims[-2:]) for v in (query, key, value)) or not lead:
        raise InvalidError("attention reads [batch, heads, places, width], the same for query, key and value")
    heads = math.prod(dim.side for dim in lead)
    joined = [_heads_joined(graph, rows(graph, v), heads, v.dims[-2:]) for v in (query, key, value)]
    done = graph.add("attention", joined, heads=heads, causal=causal)
    places, width = query.dims[-2].side, query.dims[-1].side
    if heads > 1:
        done = graph.permute(graph.reshape(done, (places, heads, width)), (1, 0, 2))
    return Batched(row=done, dims=query.dims)


def _heads_joined(graph: RowGraph, row: str, heads: int, last: Dims) -> str:
    places, width = last[0].side, last[1].side
    if heads > 1:
        row = graph.permute(graph.reshape(row, (heads, places, width)), (1, 0, 2))
    return graph.reshape(row, (places, heads * width))


def matmul(graph: RowGraph, left: Batched, right: Batched) -> Batched:
    """The product of two values of the same row."""
    lead = left.dims[:-2]
    if lead != right.dims[:-2] or any(dim.batch for dim in (*left.dims[-2:], *right.dims[-2:])):
        raise InvalidError("a product of two values needs the batch in the same place before its last two dimensions")
    row = graph.add("matmul", (rows(graph, left), rows(graph, right)))
    return Batched(row=row, dims=(*lead, left.dims[-2], right.dims[-1]))


def reduced(graph: RowGraph, op: str, value: Batched, dims: Sequence[int], *, keep: bool) -> Batched:
    """A mean, a sum or a maximum over dimensions of the row."""
    gone = sorted({own_dim(value, dim, f"takes a {op}") for dim in dims})
    if not gone:
        raise InvalidError("name the dimensions, without the batch: over all of them it would mix the rows")
    axes = tuple(row_axis(value.dims, dim) for dim in gone)
    row = graph.add(op, (rows(graph, value),), axes=axes)
    left = (Dim(1) if place in gone else dim for place, dim in enumerate(value.dims) if keep or place not in gone)
    return Batched(row=row, dims=tuple(left))


def softmax(graph: RowGraph, value: Batched, dim: int) -> Batched:
    """Shares along the last dimension."""
    if own_dim(value, dim, "takes a softmax") != len(value.dims) - 1:
        raise InvalidError("a softmax is over the last dimension: turn its input first")
    return elementwise(graph, "softmax", value)


def along(value: Batched, dim: int, what: str) -> int:
    """The row's side that a foreign dimension is; `what` says what would happen along the batch."""
    return row_axis(value.dims, own_dim(value, dim, what))


def _batch_first(graph: RowGraph, row: str) -> Batched:
    return Batched(row=row, dims=(BATCH_DIM, *(Dim(side) for side in graph.shape(row))))
