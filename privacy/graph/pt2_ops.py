"""The aten operations that are read, each with its rule. The table is closed.

Rules
-----
1. A rule asks for every argument that it understands; what is left is refused.
2. Operations that need the whole batch have rules too: they say why they are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph.foreign import Batched, Parameter, Sizes, from_zero
from privacy.graph.pt2_calls import Counting, Reading, Rule, Value
from privacy.graph.pt2_elements import ELEMENTS
from privacy.graph.pt2_moves import MOVES
from privacy.graph.pt2_schema import FLOAT32, INT32, INT64
from privacy.graph.pt2_windows import WINDOWS


def _dropout(r: Reading) -> Sequence[Value]:
    rate, training = r.number("p", 0.5), r.flag("train", default=True)
    if training and rate != 0:
        raise InvalidError("dropout is in training mode: call `.eval()` on the model, or set its rate to 0")
    return [r.rows("input")]


def _same(name: str, *ignored: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        r.ignore(*ignored)
        found = r.any(name)
        if not isinstance(found, Batched | Parameter | Counting):
            raise InvalidError("it reads no tensor")
        return [found]

    return rule


def _assertion(r: Reading) -> Sequence[Value]:
    r.ignore(*r.call.arguments)
    return []


def _to(r: Reading) -> Sequence[Value]:
    r.ignore("non_blocking", "copy", "memory_format")
    value, dtype = r.rows("self"), r.dtype("dtype")
    if dtype in (INT32, INT64):
        return [Batched(row=value.row, dims=value.dims, index=True)]
    if dtype != FLOAT32 or value.index:
        raise InvalidError("values are float32; whole numbers can only be looked up in an embedding")
    return [value]


def _linear(r: Reading) -> Sequence[Value]:
    bias = r.parameter("bias") if r.raw("bias") is not None else None
    return [ops.linear(r.graph, r.rows("input"), r.parameter("weight"), bias, alone=r.alone())]


def _addmm(r: Reading) -> Sequence[Value]:
    r.must_be("beta", 1, 1.0)
    r.must_be("alpha", 1, 1.0)
    weight = r.parameter("mat2").permuted((1, 0)) if r.parameter("mat2").array.ndim == 2 else r.parameter("mat2")
    return [ops.linear(r.graph, r.rows("mat1"), weight, r.parameter("self"), alone=False)]


def _matmul(second: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        left, right = r.any("self"), r.any(second)
        if isinstance(left, Batched) and isinstance(right, Batched):
            return [ops.matmul(r.graph, left, right)]
        if not isinstance(left, Batched) or not isinstance(right, Parameter) or right.array.ndim != 2:
            raise InvalidError("a product is of the rows with a parameter of two dimensions, in this order")
        return [ops.linear(r.graph, left, right.permuted((1, 0)), None, alone=r.alone())]

    return rule


def _embedding(r: Reading) -> Sequence[Value]:
    r.must_be("scale_grad_by_freq", False)
    r.must_be("sparse", False)
    if r.whole("padding_idx", -1) != -1:
        raise InvalidError("an embedding without `padding_idx`: here every entry is learned")
    weight, index = r.parameter("weight"), r.any("indices")
    if isinstance(index, Counting):
        if weight.array.ndim != 2 or weight.array.shape[0] != index.count:
            raise InvalidError("give the table of positions exactly as many entries as there are places")
        return [weight]
    if not isinstance(index, Batched) or not index.index:
        raise InvalidError("an embedding looks up whole numbers of the rows: `x.long()`")
    return [ops.embedding(r.graph, index, weight)]


def _arange(r: Reading) -> Sequence[Value]:
    r.ignore("device", "pin_memory", "layout", "dtype")
    r.must_be("start", 0)
    r.must_be("step", 1)
    return [Counting(r.whole("end"))]


def _reduction(op: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        r.must_be("dtype")
        dims = r.wholes("dim")
        return [ops.reduced(r.graph, op, r.rows("self"), dims, keep=r.flag("keepdim", default=False))]

    return rule


def _softmax(r: Reading) -> Sequence[Value]:
    r.must_be("dtype")
    r.must_be("half_to_float", False)
    return [ops.softmax(r.graph, r.rows("self"), r.whole("dim"))]


def _layer_norm(r: Reading) -> Sequence[Value]:
    r.ignore("cudnn_enable")
    scale = _both(r.parameters("weight", "bias"))
    sides = r.wholes("normalized_shape")
    return [ops.layer_norm(r.graph, r.rows("input"), sides, scale, r.number("eps", 1e-5))]


def _group_norm(r: Reading) -> Sequence[Value]:
    r.ignore("cudnn_enabled")
    scale = _both(r.parameters("weight", "bias"))
    return [ops.group_norm(r.graph, r.rows("input"), r.whole("num_groups"), scale, r.number("eps", 1e-5))]


def _instance_norm(r: Reading) -> Sequence[Value]:
    if not r.flag("use_input_stats", default=False):
        raise InvalidError("an instance norm with running statistics keeps state: set `track_running_stats=False`")
    r.must_be("running_mean")
    r.must_be("running_var")
    r.ignore("momentum", "cudnn_enabled")
    value = r.rows("input")
    groups = value.dims[1].side if len(value.dims) > 1 else 1
    scale = _both(r.parameters("weight", "bias"))
    return [ops.group_norm(r.graph, value, groups, scale, r.number("eps", 1e-5))]


def _both(scale: list[Parameter]) -> list[Parameter]:
    if len(scale) == 1:
        raise InvalidError("it has a scale without an offset: give both or neither")
    return scale


def _attention(r: Reading) -> Sequence[Value]:
    query, key, value = r.rows("query"), r.rows("key"), r.rows("value")
    if r.raw("attn_mask") is not None or r.number("dropout_p", 0.0) != 0:
        raise InvalidError("attention is read without a mask (`is_causal=True` is) and without dropout")
    r.must_be("enable_gqa", False)
    usual = 1 / math.sqrt(query.dims[-1].side)
    if abs(r.number("scale", usual) - usual) > 1e-12:
        raise InvalidError("attention is read with its usual scale, 1/sqrt(width of a head)")
    return [ops.attention(r.graph, query, key, value, causal=r.flag("is_causal", default=False))]


def _sym_size(r: Reading) -> Sequence[Value]:
    value = r.rows("self")
    dim = value.dims[from_zero(len(value.dims), r.whole("dim"))]
    return [Sizes((dim.size(r.batch),), scalar=True)]


def _sym_mul(r: Reading) -> Sequence[Value]:
    left, right = r.size("a"), r.size("b")
    return [Sizes((left * right,), scalar=True)]


def _never(why: str) -> Rule:
    def rule(_: Reading) -> Sequence[Value]:
        raise InvalidError(why)

    return rule


_WHOLE_BATCH: Final = "it computes over all rows of the batch: use GroupNorm or LayerNorm"
_ALL: Final = "name the dimensions, without the batch: over all of them it would mix the rows"

_OTHERS: Final[Mapping[str, Rule]] = {
    "dropout.default": _dropout,
    "contiguous.default": _same("self", "memory_format"),
    "clone.default": _same("self", "memory_format"),
    "alias.default": _same("self"),
    "_assert_tensor_metadata.default": _assertion,
    "to.dtype": _to,
    "_to_copy.default": _to,
    "linear.default": _linear,
    "addmm.default": _addmm,
    "matmul.default": _matmul("other"),
    "mm.default": _matmul("mat2"),
    "bmm.default": _matmul("mat2"),
    "embedding.default": _embedding,
    "arange.default": _arange,
    "arange.start": _arange,
    "mean.dim": _reduction("mean"),
    "sum.dim_IntList": _reduction("sum"),
    "amax.default": _reduction("maximum"),
    "mean.default": _never(_ALL),
    "sum.default": _never(_ALL),
    "softmax.int": _softmax,
    "_softmax.default": _softmax,
    "layer_norm.default": _layer_norm,
    "group_norm.default": _group_norm,
    "instance_norm.default": _instance_norm,
    "batch_norm.default": _never(_WHOLE_BATCH),
    "scaled_dot_product_attention.default": _attention,
    "sym_size.int": _sym_size,
    "repeat.default": _never("it repeats the batch or values of a row: write the model without it"),
    "where.self": _never("it chooses between values by a condition: write it with `relu`, `add` and `multiply`"),
    "log_softmax.int": _never("leave it out: the loss takes plain scores"),
}

RULES: Final[Mapping[str, Rule]] = {
    **{f"torch.ops.aten.{name}": rule for name, rule in {**_OTHERS, **ELEMENTS, **MOVES, **WINDOWS}.items()},
    "_operator.mul": _sym_mul,
}
