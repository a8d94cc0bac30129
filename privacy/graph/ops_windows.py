"""Operations on windows: convolutions and pooling. A row is [channels, length] or [channels, height, width].

Rules
-----
1. Padding is the same at both ends and lies within the window's reach, so that no window sees padding alone.
2. `conv*` correlate (the kernel is not turned), as every library does; padding counts as 0. `max_pool2d` never chooses
   padding; `avg_pool2d` divides by the window's full size, padding counted as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from privacy.graph.operation import WHOLE, WHOLES, Operation, require
from privacy.graph.ops_products import require_bias
from privacy.graph.spec import LARGEST_SIDE, Node, Shape, elements


def _conv_result(sides: int, node: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    value, kernel = inputs[0], weights[0]
    require(len(value) == sides + 1, f"the input of a row has {sides + 1} sides, channels first", "inputs")
    groups = node.whole("groups")
    require(
        1 <= groups <= value[0] and value[0] % groups == 0 and len(kernel) == sides + 2 and kernel[0] % groups == 0,
        "`groups` must divide the channels of the input and of the result",
    )
    require(
        kernel[1] == value[0] // groups, "a kernel has the shape [outputs, channels / groups, ...window]", "weights"
    )
    require_bias(weights, kernel[0])
    reach = [1 + d * (k - 1) for d, k in zip(_list(node, "dilation", sides), kernel[2:], strict=True)]
    padding = _list(node, "padding", sides, least=0)
    require(
        all(p < r for p, r in zip(padding, reach, strict=True)), "`padding` must be smaller than the window's reach"
    )
    return (kernel[0], *_places(value[1:], reach, _list(node, "stride", sides), padding))


def _pool_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    value = inputs[0]
    require(len(value) == 3, "the input of a row has 3 sides, channels first", "inputs")
    kernel, padding = _list(node, "kernel", 2), _list(node, "padding", 2, least=0)
    require(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)), "`padding` is at most half of the kernel")
    return (value[0], *_places(value[1:], kernel, _list(node, "stride", 2), padding))


def _list(node: Node, name: str, sides: int, least: int = 1) -> tuple[int, ...]:
    values = node.wholes(name)
    require(
        len(values) == sides and all(least <= value <= LARGEST_SIDE for value in values),
        f"`{name}` lists {sides} whole numbers from {least}",
    )
    return values


def _places(value: Sequence[int], reach: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Shape:
    """How often a window fits along each side."""
    room = [side + 2 * p - r for side, p, r in zip(value, padding, reach, strict=True)]
    require(all(left >= 0 for left in room), "the window is larger than its padded input", "inputs")
    return tuple(left // step + 1 for left, step in zip(room, stride, strict=True))


def _conv1d_result(node: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    return _conv_result(1, node, inputs, weights)


def _conv2d_result(node: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    return _conv_result(2, node, inputs, weights)


def _conv_cost(_: Node, __: Sequence[Shape], weights: Sequence[Shape], result: Shape) -> int:
    return elements(result) * elements(weights[0][1:])


def _patches(_: Node, inputs: Sequence[Shape], weights: Sequence[Shape], result: Shape) -> int:
    """The input unfolded: one column of window values for each place."""
    return inputs[0][0] * elements(weights[0][2:]) * elements(result[1:])


def _pool_cost(node: Node, _: Sequence[Shape], __: Sequence[Shape], result: Shape) -> int:
    return elements(result) * elements(node.wholes("kernel"))


def _windows(node: Node, inputs: Sequence[Shape], weights: Sequence[Shape], result: Shape) -> int:
    return _pool_cost(node, inputs, weights, result)


_CONV: Final = {"stride": WHOLES, "padding": WHOLES, "dilation": WHOLES, "groups": WHOLE}
_POOL: Final = {"kernel": WHOLES, "stride": WHOLES, "padding": WHOLES}

WINDOWS: Final = (
    Operation(
        name="conv1d", weights=(1, 2), attributes=_CONV, result=_conv1d_result, cost=_conv_cost, scratch=_patches
    ),
    Operation(
        name="conv2d", weights=(1, 2), attributes=_CONV, result=_conv2d_result, cost=_conv_cost, scratch=_patches
    ),
    Operation(name="max_pool2d", attributes=_POOL, result=_pool_result, cost=_pool_cost, scratch=_windows),
    Operation(name="avg_pool2d", attributes=_POOL, result=_pool_result, cost=_pool_cost, scratch=_windows),
)
