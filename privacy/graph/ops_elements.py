"""Operations element by element, over chosen sides of a row, and normalisation within a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from privacy.graph.operation import (
    NUMBER,
    WHOLE,
    WHOLES,
    Operation,
    one_side,
    require,
    same_shape,
    some_sides,
)
from privacy.graph.spec import Node, Shape, elements

LARGEST_NUMBER = 1_000_000
SMALLEST_EPS = 1e-12


def _leaky_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    require(0 <= node.number("slope") <= 1, "`slope` must lie between 0 and 1")
    return inputs[0]


def _factor_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    require(abs(node.number("factor")) <= LARGEST_NUMBER, f"`factor` lies within {LARGEST_NUMBER} of 0")
    return inputs[0]


def _offset_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    require(abs(node.number("value")) <= LARGEST_NUMBER, f"`value` lies within {LARGEST_NUMBER} of 0")
    return inputs[0]


def _clamp_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    low, high = node.number("low"), node.number("high")
    require(max(abs(low), abs(high)) <= LARGEST_NUMBER, f"`low` and `high` lie within {LARGEST_NUMBER} of 0")
    require(low < high, "`low` must lie below `high`")
    return inputs[0]


def _last_side_result(_: Node, inputs: Sequence[Shape], __: Sequence[Shape]) -> Shape:
    require(bool(inputs[0]), "it works along the last side, and its input has none", "inputs")
    return inputs[0]


def _shift_result(_: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    require(weights[0] == inputs[0], "the weight of a shift has the shape of its input", "weights")
    return inputs[0]


def _reduced_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    gone = some_sides(node, "axes", inputs[0])
    return tuple(side for place, side in enumerate(inputs[0]) if place not in gone)


def _cumsum_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    one_side(node, "axis", inputs[0])
    return inputs[0]


def _layer_norm_result(node: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    value, sides = inputs[0], node.whole("sides")
    require(1 <= sides <= len(value), "`sides` counts the last sides of the row that are normalised together")
    require(elements(value[-sides:]) >= 2, "at least two numbers are normalised together", "inputs")
    _require_scale(node, weights, value[-sides:])
    return value


def _group_norm_result(node: Node, inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    value, groups = inputs[0], node.whole("groups")
    require(bool(value) and 1 <= groups <= value[0] and value[0] % groups == 0, "`groups` must divide the channels")
    require(elements(value) // groups >= 2, "at least two numbers are normalised together", "inputs")
    _require_scale(node, weights, value[:1])
    return value


def _require_scale(node: Node, weights: Sequence[Shape], shape: Shape) -> None:
    require(SMALLEST_EPS <= node.number("eps") <= 1, "`eps` must lie between 1e-12 and 1")
    require(
        len(weights) != 1 and all(weight == shape for weight in weights),
        "give no weights, or scale and offset, both of the shape that is normalised (group_norm: [channels])",
        "weights",
    )


_PLAIN: Final = ("relu", "tanh", "sigmoid", "gelu", "gelu_exact", "silu", "elu", "softplus")
_PAIRS: Final = ("add", "subtract", "multiply")
_SUMS: Final = ("mean", "sum")
_PLAIN_BY_ROW: Final = ("sine", "cosine")

ELEMENTS: Final = (
    *(Operation(name=name, result=same_shape) for name in _PLAIN),
    *(Operation(name=name, inputs=(2, 2), result=same_shape) for name in _PAIRS),
    Operation(name="leaky_relu", attributes={"slope": NUMBER}, result=_leaky_result),
    Operation(name="clamp", attributes={"low": NUMBER, "high": NUMBER}, result=_clamp_result),
    Operation(name="scale", attributes={"factor": NUMBER}, result=_factor_result),
    Operation(name="offset", attributes={"value": NUMBER}, result=_offset_result),
    Operation(name="shift", weights=(1, 1), result=_shift_result),
    Operation(name="softmax", result=_last_side_result),
    *(Operation(name=name, attributes={"axes": WHOLES}, result=_reduced_result) for name in _SUMS),
    Operation(name="layer_norm", weights=(0, 2), attributes={"sides": WHOLE, "eps": NUMBER}, result=_layer_norm_result),
    Operation(
        name="group_norm", weights=(0, 2), attributes={"groups": WHOLE, "eps": NUMBER}, result=_group_norm_result
    ),
    *(Operation(name=name, result=same_shape, batch=None) for name in _PLAIN_BY_ROW),
    Operation(name="cumsum", attributes={"axis": WHOLE}, result=_cumsum_result, batch=None),
    Operation(name="maximum", attributes={"axes": WHOLES}, result=_reduced_result, batch=None),
)
