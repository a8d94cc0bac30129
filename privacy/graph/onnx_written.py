"""Each operation of the table as ONNX nodes on a batch. Needs onnx and numpy.

Rules
-----
1. Dimension 0 is the batch: sides of a row are counted from 1.
2. A number of a model is a name here, never a copy: it is stored once, in its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from onnx import TensorProto

from privacy.graph.onnx_writer import OnnxWriter
from privacy.graph.quantised import LARGEST, WrittenInt8
from privacy.graph.spec import Node, Shape

_BEFORE_ALL: Final = -(2**63)
_SMALLEST: Final = 1e-30
"""A row of zeros is divided by this, and stays zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """A node that is being written.

    Attributes:
        writer: Where to.
        node: Which.
        inputs: Names of what it reads, `shapes` their shapes without the batch.
        result: Shape of its result.
        weights: Names of its weights.
        step: Name of the fixed step of its input, if it is quantised with one.
    """

    writer: OnnxWriter
    node: Node
    inputs: Sequence[str]
    shapes: Sequence[Shape]
    result: Shape
    weights: Sequence[str | WrittenInt8]
    step: str | None = None

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node."""
        return self.writer.add(op, *inputs, **attributes)

    def floats(self, place: int) -> str:
        """A weight as float32, whatever it is stored as."""
        weight = self.weights[place]
        if isinstance(weight, WrittenInt8):
            return self.add("DequantizeLinear", weight.numbers, weight.scale, axis=0)
        return weight

    def shaped(self, value: str, shape: Sequence[int]) -> str:
        """The value with another shape behind the batch."""
        return self.add("Reshape", value, self.writer.wholes(-1, *shape))


Rule: TypeAlias = Callable[[Emitted], str]


def _linear(e: Emitted) -> str:
    weight = e.weights[0]
    if isinstance(weight, WrittenInt8):
        product = _int8_product(e, weight)
    elif len(e.shapes[0]) == 1:
        bias = [e.floats(1)] if len(e.weights) == 2 else []
        return e.add("Gemm", e.inputs[0], weight, *bias, transB=1)
    else:
        product = e.add("MatMul", e.inputs[0], e.add("Transpose", weight, perm=[1, 0]))
    return e.add("Add", product, e.floats(1)) if len(e.weights) == 2 else product


def _int8_product(e: Emitted, weight: WrittenInt8) -> str:
    """The product in whole numbers: the input in steps of its row's own largest number, or of the fixed one."""
    x = e.inputs[0]
    step = e.step
    if step is None:
        largest = e.add("ReduceMax", e.add("Abs", x), e.writer.wholes(-1), keepdims=1)
        held = e.add("Max", largest, e.writer.floats(_SMALLEST))
        step = e.add("Div", held, e.writer.floats(LARGEST))
    steps = e.add("Round", e.add("Div", x, step))
    clipped = e.add("Clip", steps, e.writer.floats(-LARGEST), e.writer.floats(LARGEST))
    numbers = e.writer.cast(clipped, TensorProto.INT8)
    product = e.add("MatMulInteger", numbers, e.add("Transpose", weight.numbers, perm=[1, 0]))
    # One factor after the other: onnxruntime 1.32 fuses the product of both with the multiplication, and then takes the
    # first row's step for every row.
    return e.add("Mul", e.add("Mul", e.writer.cast(product, TensorProto.FLOAT), weight.scale), step)


def _embedding(e: Emitted) -> str:
    entries = _rows_of_table(e)
    plain = e.add("Where", e.add("IsNaN", e.inputs[0]), e.writer.floats(0), e.inputs[0])
    held = e.add("Clip", plain, e.writer.floats(0), e.writer.floats(entries - 1))
    places = e.writer.cast(e.add("Round", held), TensorProto.INT64)
    return e.add("Gather", e.floats(0), places, axis=0)


def _rows_of_table(e: Emitted) -> int:
    weight = e.weights[0]
    name = weight.numbers if isinstance(weight, WrittenInt8) else weight
    return next(int(array.dims[0]) for array in e.writer.arrays if array.name == name)


def _attention(e: Emitted) -> str:
    heads = e.node.whole("heads")
    width = e.shapes[0][-1] // heads
    query, key, value = (
        e.add("Transpose", e.shaped(name, (shape[0], heads, width)), perm=perm)
        for name, shape, perm in zip(e.inputs, e.shapes, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scores = e.add("Div", e.add("MatMul", query, key), e.writer.floats(math.sqrt(width)))
    if e.node.flag("causal"):
        seen = np.tri(e.shapes[0][0], dtype=np.bool_)
        scores = e.add("Where", e.writer.constant(seen), scores, e.writer.floats(-math.inf))
    mixed = e.add("MatMul", e.add("Softmax", scores, axis=-1), value)
    return e.shaped(e.add("Transpose", mixed, perm=[0, 2, 1, 3]), e.result)


def _convolution(e: Emitted) -> str:
    bias = [e.floats(1)] if len(e.weights) == 2 else []
    return e.add(
        "Conv", e.inputs[0], e.floats(0), *bias, group=e.node.whole("groups"), strides=list(e.node.wholes("stride")),
        dilations=list(e.node.wholes("dilation")), pads=list(e.node.wholes("padding")) * 2,
    )  # fmt: skip


def _pool(op: str, **more: Any) -> Rule:
    def rule(e: Emitted) -> str:
        return e.add(
            op, e.inputs[0], kernel_shape=list(e.node.wholes("kernel")), strides=list(e.node.wholes("stride")),
            pads=list(e.node.wholes("padding")) * 2, **more,
        )  # fmt: skip

    return rule


def _reshape(e: Emitted) -> str:
    return e.shaped(e.inputs[0], e.result)


def _permute(e: Emitted) -> str:
    return e.add("Transpose", e.inputs[0], perm=[0, *(side + 1 for side in e.node.wholes("order"))])


def _concat(e: Emitted) -> str:
    return e.add("Concat", *e.inputs, axis=e.node.whole("axis") + 1)


def _cut(e: Emitted, start: int, stop: int, step: int = 1) -> str:
    lists = (e.writer.wholes(number) for number in (start, stop, e.node.whole("axis") + 1, step))
    return e.add("Slice", e.inputs[0], *lists)


def _roll(e: Emitted) -> str:
    axis, side = e.node.whole("axis"), e.shapes[0][e.node.whole("axis")]
    shift = e.node.whole("shift") % side
    if shift == 0:
        return e.add("Identity", e.inputs[0])
    return e.add("Concat", _cut(e, side - shift, side), _cut(e, 0, side - shift), axis=axis + 1)


def _reduce(op: str) -> Rule:
    def rule(e: Emitted) -> str:
        axes = e.writer.wholes(*(axis + 1 for axis in e.node.wholes("axes")))
        return e.add(op, e.inputs[0], axes, keepdims=0)

    return rule


def _layer_norm(e: Emitted) -> str:
    sides = e.node.whole("sides")
    shape = e.shapes[0][len(e.shapes[0]) - sides :]
    weights = [e.floats(0), e.floats(1)] if e.weights else [e.writer.constant(np.ones(shape, dtype=np.float32))]
    return e.add("LayerNormalization", e.inputs[0], *weights, axis=-sides, epsilon=e.node.number("eps"))


def _group_norm(e: Emitted) -> str:
    shape, groups = e.shapes[0], e.node.whole("groups")
    apart = e.shaped(e.inputs[0], (groups, math.prod(shape) // groups))
    ones = e.writer.constant(np.ones(math.prod(shape) // groups, dtype=np.float32))
    even = e.shaped(e.add("LayerNormalization", apart, ones, axis=-1, epsilon=e.node.number("eps")), shape)
    if not e.weights:
        return even
    broad = e.writer.wholes(shape[0], *(1,) * (len(shape) - 1))
    scale, offset = (e.add("Reshape", e.floats(place), broad) for place in (0, 1))
    return e.add("Add", e.add("Mul", even, scale), offset)


def _plain(op: str, **attributes: Any) -> Rule:
    return lambda e: e.add(op, *e.inputs, **attributes)


def _with_number(op: str, attribute: str) -> Rule:
    return lambda e: e.add(op, e.inputs[0], e.writer.floats(e.node.number(attribute)))


def _clamp(e: Emitted) -> str:
    return e.add("Clip", e.inputs[0], *(e.writer.floats(e.node.number(name)) for name in ("low", "high")))


WRITTEN: Final[dict[str, Rule]] = {
    "linear": _linear,
    "embedding": _embedding,
    "attention": _attention,
    "matmul": _plain("MatMul"),
    "conv1d": _convolution,
    "conv2d": _convolution,
    "max_pool2d": _pool("MaxPool"),
    "avg_pool2d": _pool("AveragePool", count_include_pad=1),
    "flatten": _reshape,
    "reshape": _reshape,
    "permute": _permute,
    "concat": _concat,
    "slice": lambda e: _cut(e, e.node.whole("start"), e.node.whole("stop")),
    "roll": _roll,
    "flip": lambda e: _cut(e, -1, _BEFORE_ALL, -1),
    "relu": _plain("Relu"),
    "tanh": _plain("Tanh"),
    "sigmoid": _plain("Sigmoid"),
    "gelu": _plain("Gelu", approximate="tanh"),
    "gelu_exact": _plain("Gelu"),
    "silu": lambda e: e.add("Mul", e.inputs[0], e.add("Sigmoid", e.inputs[0])),
    "elu": _plain("Elu"),
    "softplus": _plain("Softplus"),
    "leaky_relu": lambda e: e.add("LeakyRelu", e.inputs[0], alpha=e.node.number("slope")),
    "clamp": _clamp,
    "softmax": _plain("Softmax", axis=-1),
    "sine": _plain("Sin"),
    "cosine": _plain("Cos"),
    "add": _plain("Add"),
    "subtract": _plain("Sub"),
    "multiply": _plain("Mul"),
    "scale": _with_number("Mul", "factor"),
    "offset": _with_number("Add", "value"),
    "shift": lambda e: e.add("Add", e.inputs[0], e.floats(0)),
    "sum": _reduce("ReduceSum"),
    "mean": _reduce("ReduceMean"),
    "maximum": _reduce("ReduceMax"),
    "cumsum": lambda e: e.add("CumSum", e.inputs[0], e.writer.constant(np.int64(e.node.whole("axis") + 1))),
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
}
