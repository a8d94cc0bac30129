"""Rules of ONNX's convolutions and pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph.onnx_calls import Reading, Rule, Value


def _conv(r: Reading) -> Sequence[Value]:
    weights = r.parameters(1, 2)
    sides = weights[0].array.ndim - 2
    if r.wholes("kernel_shape", weights[0].array.shape[2:]) != weights[0].array.shape[2:]:
        raise InvalidError("`kernel_shape` differs from the kernel's shape")
    stride, padding = _windows(r, sides)
    dilation = r.wholes("dilations", (1,) * sides)
    group = r.whole("group", 1)
    return [ops.conv(r.graph, r.rows(0), weights, stride=stride, padding=padding, dilation=dilation, groups=group)]


def _pool(op: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        kernel = r.wholes("kernel_shape")
        stride, padding = _windows(r, len(kernel))
        r.must_be("ceil_mode", 0)
        r.must_be("storage_order", 0)
        if any(step != 1 for step in r.wholes("dilations", (1,) * len(kernel))):
            raise InvalidError("pooling is read without dilation")
        if op == "avg_pool2d" and not r.whole("count_include_pad", 0) and any(padding):
            raise InvalidError("average pooling with padding counts the padding: `count_include_pad` 1")
        return [ops.pool(r.graph, op, r.rows(0), kernel, stride, padding)]

    return rule


def _windows(r: Reading, sides: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stride and padding."""
    if sides not in (1, 2):
        raise InvalidError("windows have one or two dimensions beside channels")
    if r.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise InvalidError("write padding as numbers (`pads`), not as `auto_pad`")
    pads = r.wholes("pads", (0,) * (2 * sides))
    if len(pads) != 2 * sides or pads[:sides] != pads[sides:]:
        raise InvalidError("padding is the same at both ends")
    return r.wholes("strides", (1,) * sides), pads[:sides]


def _global(r: Reading) -> Sequence[Value]:
    value = r.rows(0)
    return [ops.mean_to(r.graph, value, (1,) * max(1, len(value.dims) - 2))]


WINDOWS: Final[Mapping[str, Rule]] = {
    "AveragePool": _pool("avg_pool2d"),
    "Conv": _conv,
    "GlobalAveragePool": _global,
    "MaxPool": _pool("max_pool2d"),
}
