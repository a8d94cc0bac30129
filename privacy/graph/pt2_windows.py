"""Rules of aten's convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph.foreign import Parameter
from privacy.graph.pt2_calls import Reading, Value


def _conv(sides: int) -> Callable[[Reading], Sequence[Value]]:
    def rule(r: Reading) -> Sequence[Value]:
        weights = _kernel(r, sides)
        return [_convolved(r, weights, sides, _spread(r.wholes("padding", (0,)), sides))]

    return rule


def _conv_padding(sides: int) -> Callable[[Reading], Sequence[Value]]:
    """Padding by word: `valid`, or `same` where it is the same at both ends."""

    def rule(r: Reading) -> Sequence[Value]:
        weights = _kernel(r, sides)
        r.must_be("padding", "same", "valid")
        if r.raw("padding", "valid") == "valid":
            return [_convolved(r, weights, sides, (0,) * sides)]
        dilation = _spread(r.wholes("dilation", (1,)), sides)
        reach = [d * (k - 1) for d, k in zip(dilation, weights[0].array.shape[2:], strict=True)]
        if any(length % 2 for length in reach):
            raise InvalidError("padding `same` with an even kernel differs at both ends: use an odd one, or numbers")
        return [_convolved(r, weights, sides, tuple(length // 2 for length in reach))]

    return rule


def _kernel(r: Reading, sides: int) -> list[Parameter]:
    weights = [r.parameter("weight"), *(r.parameters("bias"))]
    if weights[0].array.ndim != sides + 2:
        raise InvalidError(f"the kernel of this convolution has {sides + 2} dimensions")
    return weights


def _convolved(r: Reading, weights: Sequence[Parameter], sides: int, padding: tuple[int, ...]) -> Value:
    return ops.conv(
        r.graph,
        r.rows("input"),
        weights,
        stride=_spread(r.wholes("stride", (1,)), sides),
        padding=padding,
        dilation=_spread(r.wholes("dilation", (1,)), sides),
        groups=r.whole("groups", 1),
    )


def _pool(op: str, sides: int) -> Callable[[Reading], Sequence[Value]]:
    def rule(r: Reading) -> Sequence[Value]:
        r.must_be("ceil_mode", False)
        r.must_be("divisor_override")
        kernel = _spread(r.wholes("kernel_size"), sides)
        stride = _spread(r.wholes("stride") or kernel, sides)
        padding = _spread(r.wholes("padding", (0,)), sides)
        if any(step != 1 for step in r.wholes("dilation", (1,))):
            raise InvalidError("pooling is read without dilation")
        if not r.flag("count_include_pad", default=True) and any(padding):
            raise InvalidError("average pooling with padding counts the padding: `count_include_pad=True`")
        return [ops.pool(r.graph, op, r.rows("self"), kernel, stride, padding)]

    return rule


def _adaptive(sides: int) -> Callable[[Reading], Sequence[Value]]:
    def rule(r: Reading) -> Sequence[Value]:
        return [ops.mean_to(r.graph, r.rows("self"), _spread(r.wholes("output_size"), sides))]

    return rule


def _spread(values: tuple[int, ...], sides: int) -> tuple[int, ...]:
    """One number stands for all sides."""
    spread = values * sides if len(values) == 1 else values
    if len(spread) != sides:
        raise InvalidError(f"it needs {sides} numbers, one for each side")
    return spread


WINDOWS: Final[Mapping[str, Callable[[Reading], Sequence[Value]]]] = {
    "conv1d.default": _conv(1),
    "conv2d.default": _conv(2),
    "conv1d.padding": _conv_padding(1),
    "conv2d.padding": _conv_padding(2),
    "max_pool1d.default": _pool("max_pool2d", 1),
    "max_pool2d.default": _pool("max_pool2d", 2),
    "avg_pool1d.default": _pool("avg_pool2d", 1),
    "avg_pool2d.default": _pool("avg_pool2d", 2),
    "adaptive_avg_pool1d.default": _adaptive(1),
    "adaptive_avg_pool2d.default": _adaptive(2),
}
