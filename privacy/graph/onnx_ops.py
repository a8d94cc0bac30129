"""The ONNX operations that are read, each with its rule. The table is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph import foreign_shapes as shapes
from privacy.graph.foreign import Batched, Parameter, Sizes, from_zero
from privacy.graph.onnx_calls import Reading, Rule, Value
from privacy.graph.onnx_windows import WINDOWS


def _plain(op: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        return [ops.elementwise(r.graph, op, r.rows(0))]

    return rule


def _gelu(r: Reading) -> Sequence[Value]:
    form = r.text("approximate", "none")
    if form not in ("none", "tanh"):
        raise InvalidError("`approximate` is none or tanh")
    return [ops.elementwise(r.graph, "gelu" if form == "tanh" else "gelu_exact", r.rows(0))]


def _elu(r: Reading) -> Sequence[Value]:
    r.must_be("alpha", 1.0)
    return [ops.elementwise(r.graph, "elu", r.rows(0))]


def _leaky_relu(r: Reading) -> Sequence[Value]:
    return [ops.elementwise(r.graph, "leaky_relu", r.rows(0), slope=ops.exact(r.number("alpha", 0.01)))]


def _clip(r: Reading) -> Sequence[Value]:
    if not r.has(1) or not r.has(2):
        raise InvalidError("give both bounds of Clip; for one bound of 0 use Relu")
    low, high = (ops.exact(_constant(r.any(place))) for place in (1, 2))
    return [ops.elementwise(r.graph, "clamp", r.rows(0), low=low, high=high)]


def _same(r: Reading) -> Sequence[Value]:
    return [r.any(0)]


def _dropout(r: Reading) -> Sequence[Value]:
    r.whole("seed", 0)
    if r.has(1):
        r.any(1)
    # Without a third input the operation is in inference mode; a third input is refused as unread.
    return [r.rows(0)]


def _cast(r: Reading) -> Sequence[Value]:
    r.whole("saturate", 1)
    value, dtype = r.any(0), r.whole("to", 0)
    if isinstance(value, Sizes):
        return [value]
    if not isinstance(value, Batched) or dtype not in (1, 6, 7) or (dtype == 1 and value.index):
        raise InvalidError("values are float32; whole numbers (int32, int64) can only be looked up by Gather")
    return [value if dtype == 1 else Batched(row=value.row, dims=value.dims, index=True)]


def _gemm(r: Reading) -> Sequence[Value]:
    r.must_be("alpha", 1.0)
    r.must_be("beta", 1.0)
    r.must_be("transA", 0)
    weight, turned = r.parameter(1), r.whole("transB", 0)
    if weight.array.ndim != 2:
        raise InvalidError("the weight of Gemm has two dimensions")
    bias = r.parameter(2) if r.has(2) else None
    if bias is not None and bias.array.ndim != 1:
        raise InvalidError("the bias of Gemm has one dimension")
    value = r.rows(0)
    if len(value.dims) != 2:
        raise InvalidError("Gemm reads [batch, features]")
    turned_weight = weight if turned else weight.permuted((1, 0))
    return [ops.linear(r.graph, value, turned_weight, bias, alone=r.alone())]


def _matmul(r: Reading) -> Sequence[Value]:
    left, right = r.any(0), r.any(1)
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.matmul(r.graph, left, right)]
    if not isinstance(left, Batched) or not isinstance(right, Parameter) or right.array.ndim != 2:
        raise InvalidError("a product is of the rows with a parameter of two dimensions, in this order")
    return [ops.linear(r.graph, left, r.parameter(1).permuted((1, 0)), None, alone=r.alone())]


def _add(r: Reading) -> Sequence[Value]:
    left, right = r.any(0), r.any(1)
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "add", left, right)]
    value, other = (left, right) if isinstance(left, Batched) else (right, left)
    if isinstance(value, Batched) and isinstance(other, Parameter):
        return [ops.add_parameter(r.graph, value, other)]
    return [_shifted(r, value, other, 1.0)]


def _sub(r: Reading) -> Sequence[Value]:
    left, right = r.any(0), r.any(1)
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "subtract", left, right)]
    if isinstance(left, Batched):
        return [_shifted(r, left, right, -1.0)]
    return [_shifted(r, _scaled(r, right, -1.0), left, 1.0)]


def _mul(r: Reading) -> Sequence[Value]:
    left, right = r.any(0), r.any(1)
    if isinstance(left, Batched) and isinstance(right, Batched):
        return [ops.pair(r.graph, "multiply", left, right)]
    value, other = (left, right) if isinstance(left, Batched) else (right, left)
    return [_scaled(r, value, _constant(other))]


def _div(r: Reading) -> Sequence[Value]:
    divisor = _constant(r.any(1))
    if divisor == 0:
        raise InvalidError("it divides by 0")
    return [_scaled(r, r.rows(0), 1 / divisor)]


def _neg(r: Reading) -> Sequence[Value]:
    return [_scaled(r, r.rows(0), -1.0)]


def _constant(value: Value) -> float:
    if not isinstance(value, float):
        raise InvalidError("it combines the rows with something else than rows or a single number (of rank 0)")
    return value


def _scaled(r: Reading, value: Value, factor: float) -> Batched:
    if not isinstance(value, Batched):
        raise InvalidError("it reads no rows")
    return ops.elementwise(r.graph, "scale", value, factor=ops.exact(factor))


def _shifted(r: Reading, value: Value, other: Value, sign: float) -> Batched:
    if not isinstance(value, Batched):
        raise InvalidError("it reads no rows")
    return ops.elementwise(r.graph, "offset", value, value=ops.exact(sign * _constant(other)))


def _reduction(op: str, since: int) -> Rule:
    """Axes are an input from opset `since` on, an attribute before."""

    def rule(r: Reading) -> Sequence[Value]:
        r.must_be("noop_with_empty_axes", 0)
        axes = (r.sizes(1) if r.has(1) else ()) if r.opset >= since else r.wholes("axes")
        return [ops.reduced(r.graph, op, r.rows(0), axes, keep=bool(r.whole("keepdims", 1)))]

    return rule


def _softmax(r: Reading) -> Sequence[Value]:
    return [ops.softmax(r.graph, r.rows(0), r.whole("axis", -1))]


def _layer_norm(r: Reading) -> Sequence[Value]:
    r.must_be("stash_type", 1)
    value = r.rows(0)
    axis = from_zero(len(value.dims), r.whole("axis", -1))
    sides = [dim.side for dim in value.dims[axis:]]
    if not r.has(2):
        raise InvalidError("it has a scale without an offset: give both")
    return [ops.layer_norm(r.graph, value, sides, r.parameters(1, 2), r.number("epsilon", 1e-5))]


def _group_norm(r: Reading) -> Sequence[Value]:
    if r.opset < 21:
        raise InvalidError("before opset 21 its scale is per group: export with opset 21 or later")
    r.must_be("stash_type", 1)
    groups = r.whole("num_groups", 0)
    return [ops.group_norm(r.graph, r.rows(0), groups, r.parameters(1, 2), r.number("epsilon", 1e-5))]


def _gather(r: Reading) -> Sequence[Value]:
    table, index = r.any(0), r.any(1)
    if isinstance(table, Sizes) and isinstance(index, Sizes):
        picked = tuple(table.values[from_zero(len(table.values), place)] for place in index.values)
        r.must_be("axis", 0)
        return [Sizes(picked, scalar=index.scalar)]
    if isinstance(table, Batched) and isinstance(index, Sizes) and index.scalar:
        return [shapes.selected(r.graph, table, r.whole("axis", 0), index.values[0])]
    r.must_be("axis", 0)
    if not isinstance(index, Batched) or not index.index:
        raise InvalidError("Gather looks whole numbers of the rows up in a table: cast them to int64")
    return [ops.embedding(r.graph, index, r.parameter(0))]


def _flatten(r: Reading) -> Sequence[Value]:
    if r.whole("axis", 1) != 1:
        raise InvalidError("Flatten keeps the batch: axis 1")
    return [shapes.flattened(r.rows(0), 1, -1, r.batch)] if len(r.rows(0).dims) > 1 else [r.rows(0)]


def _reshape(r: Reading) -> Sequence[Value]:
    r.must_be("allowzero", 0)
    value, wanted = r.any(0), r.sizes(1)
    if isinstance(value, Parameter):
        if any(size < 1 for size in wanted):
            raise InvalidError("a parameter is reshaped to plain sizes")
        return [value.reshaped(wanted)]
    value = r.rows(0)
    old = [dim.size(r.batch) for dim in value.dims]
    if any(size == 0 and place >= len(old) for place, size in enumerate(wanted)):
        raise InvalidError("a 0 in the shape copies a dimension that is not there")
    return [shapes.reshaped(value, [size or old[place] for place, size in enumerate(wanted)], r.batch)]


def _transpose(r: Reading) -> Sequence[Value]:
    found = r.any(0)
    count = len(found.dims) if isinstance(found, Batched) else found.array.ndim if isinstance(found, Parameter) else 0
    order = r.wholes("perm", range(count - 1, -1, -1))
    if isinstance(found, Parameter):
        return [found.permuted([from_zero(count, place) for place in order])]
    return [shapes.permuted(r.graph, r.rows(0), order)]


def _unsqueeze(r: Reading) -> Sequence[Value]:
    value, axes = r.any(0), r.sizes(1)
    if isinstance(value, Sizes):
        return [Sizes(value.values)]
    value = r.rows(0)
    for axis in sorted(from_zero(len(value.dims) + len(axes), axis) for axis in axes):
        value = shapes.unsqueezed(value, axis)
    return [value]


def _squeeze(r: Reading) -> Sequence[Value]:
    if not r.has(1):
        raise InvalidError("name the axes: without them a batch of one would be dropped")
    value = r.rows(0)
    for axis in sorted((from_zero(len(value.dims), axis) for axis in r.sizes(1)), reverse=True):
        value = shapes.squeezed(value, axis)
    return [value]


def _slice(r: Reading) -> Sequence[Value]:
    value, starts, ends = r.rows(0), r.sizes(1), r.sizes(2)
    axes = r.sizes(3) if r.has(3) else tuple(range(len(starts)))
    steps = r.sizes(4) if r.has(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise InvalidError("starts, ends, axes and steps have the same length")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        value = shapes.cut(r.graph, value, axis, start, end, step)
    return [value]


def _concat(r: Reading) -> Sequence[Value]:
    values = [r.any(place) for place in range(len(r.inputs))]
    sizes = [value for value in values if isinstance(value, Sizes)]
    if sizes and len(sizes) == len(values):
        r.must_be("axis", 0)
        return [Sizes(tuple(size for value in sizes for size in value.values))]
    return [shapes.joined(r.graph, [r.rows(place) for place in range(len(values))], r.whole("axis", 0))]


def _shape(r: Reading) -> Sequence[Value]:
    return [Sizes(tuple(dim.size(r.batch) for dim in r.rows(0).dims))]


_OTHERS: Final[Mapping[str, Rule]] = {
    **{
        name: _plain(op)
        for name, op in (("Relu", "relu"), ("Tanh", "tanh"), ("Sigmoid", "sigmoid"), ("Softplus", "softplus"))
    },
    "Add": _add,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _div,
    "Dropout": _dropout,
    "Elu": _elu,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "Identity": _same,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky_relu,
    "Clip": _clip,
    "MatMul": _matmul,
    "Mul": _mul,
    "Neg": _neg,
    "ReduceMean": _reduction("mean", 18),
    "ReduceSum": _reduction("sum", 13),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sub": _sub,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

RULES: Final[Mapping[str, Rule]] = {**_OTHERS, **WINDOWS}
