"""ONNX models: the same numbers as the reference evaluator, or a refusal that names the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from kernel.errors import PrivgateError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.from_onnx import read_onnx

RNG = np.random.default_rng(5)


def made(
    nodes: Sequence[Any],
    shape: Sequence[Any],
    *,
    dtype: int = TensorProto.FLOAT,
    opset: int = 21,
    **arrays: Any,
) -> onnx.ModelProto:
    """A model that reads `x` and gives `y`; arrays are its initialisers."""
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """A node named after its operation."""
    return helper.make_node(op, inputs.split(), [output], name=f"the.{op}", **attributes)


def floats(*shape: int) -> Any:
    """Values of a parameter."""
    return RNG.normal(size=shape).astype(np.float32)


def wholes(*values: int) -> Any:
    """A constant list of whole numbers."""
    return np.array(values, dtype=np.int64)


SAME: dict[str, Callable[[], onnx.ModelProto]] = {
    "gemm": lambda: made([node("Gemm", "x w b", transB=1)], ["n", 5], w=floats(3, 5), b=floats(3)),
    "matmul-add": lambda: made(
        [node("MatMul", "x w", "h"), node("Add", "h b", "a"), node("Relu", "a")],
        ["n", 4, 5], w=floats(5, 3), b=floats(3),
    ),
    "activations": lambda: made(
        [
            node("MatMul", "x w", "a"), node("Tanh", "a", "b"), node("Gelu", "b", "c"),
            node("LeakyRelu", "c", "d", alpha=0.2),
            node("Elu", "d", "e"), node("Softplus", "e", "f"), node("Gelu", "f", "g", approximate="tanh"),
            node("Sigmoid", "g", "h"), node("Softmax", "h"),
        ],
        ["n", 5], w=floats(5, 4),
    ),
    "bounds": lambda: made(
        [node("MatMul", "x w", "a"), node("Clip", "a low high")],
        ["n", 5], w=floats(5, 4), low=np.float32(-0.5), high=np.float32(0.75),
    ),
    "cnn": lambda: made(
        [
            node("Conv", "x k b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("GroupNormalization", "c s o", "g", num_groups=2), node("MaxPool", "g", "m", kernel_shape=[2, 2]),
            node("AveragePool", "m", "v", kernel_shape=[2, 2], strides=[1, 1]), node("GlobalAveragePool", "v", "p"),
            node("Flatten", "p", "f"), node("Gemm", "f w"),
        ],
        [2, 3, 10, 10], k=floats(4, 3, 3, 3), b=floats(4), s=floats(4), o=floats(4), w=floats(4, 2),
    ),
    "layer-norm": lambda: made([node("LayerNormalization", "x s o")], ["n", 4, 5], s=floats(5), o=floats(5)),
    "gather": lambda: made(
        [node("Cast", "x", "i", to=7), node("Gather", "t i", "e"), node("Add", "e p", "a"),
         node("ReduceMean", "a axes", keepdims=0)],
        ["n", 6], t=floats(9, 4), p=floats(1, 6, 4), axes=wholes(1),
    ),
    "shapes": lambda: made(
        [
            node("MatMul", "x w", "h"), node("Shape", "h", "s"), node("Gather", "s zero", "n"),
            node("Unsqueeze", "n axis", "u"), node("Concat", "u rest", "to", axis=0), node("Reshape", "h to", "r"),
            node("Transpose", "r", "t", perm=[0, 2, 1, 3]), node("Slice", "t from end axis"),
        ],
        ["n", 4, 6], w=floats(6, 6), zero=np.int64(0), axis=wholes(0), rest=wholes(4, 2, 3), **{"from": wholes(0)},
        end=wholes(2**31 - 1),
    ),
    "attention": lambda: made(
        [
            node("MatMul", "x q", "a"), node("MatMul", "x k", "b"), node("MatMul", "x v", "c"),
            node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "a t", "s"), node("Div", "s root", "d"),
            node("Softmax", "d", "p"), node("MatMul", "p c", "m"), node("Sub", "m x", "r"),
            node("Concat", "r x", axis=-1),
        ],
        ["n", 4, 6], q=floats(6, 6), k=floats(6, 6), v=floats(6, 6), root=np.float32(2.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers(name: str) -> None:
    """Within 1e-5 of the reference evaluator's."""
    model = SAME[name]()
    shape = [d.dim_value or 7 for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = (RNG.integers(0, 9, shape) if name == "gather" else RNG.normal(size=shape)).astype(np.float32)
    read = read_onnx(model.SerializeToString())
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    found = forward(check(read.graph), read.initial, x)
    assert np.abs(found - expected.reshape(len(x), -1)).max() < 1e-5


W = {"w": np.ones((5, 5), np.float32)}
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "mean of the batch": (
        lambda: made([node("MatMul", "x w", "h"), node("ReduceMean", "h a")], ["n", 5], a=wholes(0), **W),
        "the.ReduceMean",
    ),
    "mean of all": (
        lambda: made([node("MatMul", "x w", "h"), node("ReduceMean", "h")], ["n", 5], **W), "the.ReduceMean",
    ),
    "one bound": (
        lambda: made([node("MatMul", "x w", "h"), node("Clip", "h low")], ["n", 5], low=np.float32(0), **W),
        "`the.Clip` (Clip): give both bounds",
    ),
    "some rows": (
        lambda: made([node("MatMul", "x w", "h"), node("Slice", "h a b a")], ["n", 5], a=wholes(0), b=wholes(1), **W),
        "the.Slice",
    ),
    "rows joined": (lambda: made([node("Concat", "x x", axis=0)], ["n", 5]), "the.Concat"),
    "batch merged": (
        lambda: made([node("MatMul", "x w", "h"), node("Reshape", "h s")], [2, 5], s=wholes(5, 2), **W), "the.Reshape",
    ),
    "product over the batch": (
        lambda: made([node("Transpose", "x", "t"), node("MatMul", "t w")], [5, 5], **W), "the.MatMul",
    ),
    "batch norm": (
        lambda: made([node("BatchNormalization", "x s s s s")], ["n", 5], s=floats(5)), "the.BatchNormalization",
    ),
    "training dropout": (
        lambda: made([node("Dropout", "x r t")], ["n", 5], r=np.float32(0.5), t=np.array(True)), "initialiser `t`",
    ),
    "twice": (lambda: made([node("MatMul", "x w", "h"), node("MatMul", "h w")], ["n", 5], **W), "more than once"),
    "unused": (lambda: made([node("MatMul", "x w")], ["n", 5], other=floats(3), **W), "does not reach"),
    "old opset": (lambda: made([node("MatMul", "x w")], ["n", 5], opset=9, **W), "opset"),
    "open side": (lambda: made([node("MatMul", "x w")], ["n", "m"], **W), "open size"),
    "unknown": (lambda: made([node("NonZero", "x")], ["n", 5]), "the.NonZero"),
    "repeated": (lambda: made([node("Add", "x b")], ["n", 4, 5], b=floats(5)), "the.Add"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    """With the node, or with what else it is."""
    make, said = REFUSED[name]
    with pytest.raises(PrivgateError) as caught:
        read_onnx(make().SerializeToString())
    assert said in caught.value.message
