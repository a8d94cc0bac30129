"""Operations that move numbers within a row: reshaping, permuting, joining, cutting, rolling, flipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from privacy.graph.operation import WHOLE, WHOLES, Operation, one_side, require
from privacy.graph.spec import LARGEST_SIDE, Node, Shape, elements


def _flatten_result(_: Node, inputs: Sequence[Shape], __: Sequence[Shape]) -> Shape:
    return (elements(inputs[0]),)


def _reshape_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    shape = node.wholes("shape")
    require(
        all(1 <= side <= LARGEST_SIDE for side in shape) and elements(shape) == elements(inputs[0]),
        "`shape` lists the sides of a row (not the batch) and has as many elements as the input",
    )
    return shape


def _permute_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    order = node.wholes("order")
    require(
        sorted(order) == list(range(len(inputs[0]))),
        "`order` lists every side of the row once, counted from 0 (the batch is not among them)",
    )
    return tuple(inputs[0][side] for side in order)


def _concat_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    axis = one_side(node, "axis", inputs[0])
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in inputs if len(shape) == len(inputs[0])}
    require(
        len(rest) == 1 and all(len(shape) == len(inputs[0]) for shape in inputs),
        "joined values differ along `axis` only",
        "inputs",
    )
    return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


def _slice_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    value, axis = inputs[0], one_side(node, "axis", inputs[0])
    start, stop = node.whole("start"), node.whole("stop")
    require(0 <= start < stop <= value[axis], "`start` and `stop` count along `axis`: 0 <= start < stop <= side")
    return (*value[:axis], stop - start, *value[axis + 1 :])


def _roll_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    side = inputs[0][one_side(node, "axis", inputs[0])]
    require(-side < node.whole("shift") < side, "`shift` is smaller than the side that it rolls")
    return inputs[0]


def _flip_result(node: Node, inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    one_side(node, "axis", inputs[0])
    return inputs[0]


SHAPES: Final = (
    Operation(name="flatten", result=_flatten_result),
    Operation(name="reshape", attributes={"shape": WHOLES}, result=_reshape_result),
    Operation(name="permute", attributes={"order": WHOLES}, result=_permute_result),
    Operation(name="concat", inputs=(2, 8), attributes={"axis": WHOLE}, result=_concat_result),
    Operation(name="slice", attributes={"axis": WHOLE, "start": WHOLE, "stop": WHOLE}, result=_slice_result),
    Operation(name="roll", attributes={"axis": WHOLE, "shift": WHOLE}, result=_roll_result, batch=None),
    Operation(name="flip", attributes={"axis": WHOLE}, result=_flip_result, batch=None),
)
