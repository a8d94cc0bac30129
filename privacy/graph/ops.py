"""The operations a model may be built of, and what is true of each.

Rules
-----
1. The table is closed: an operation that is not in it does not exist.
2. Every entry states, and its tests prove, that dimension 0 is the batch and is never mixed: row i of the result
   depends on row i of the inputs and on the weights, on nothing else. That is why clipping one row bounds one row.
3. An entry holds no state and changes none: nothing like a running mean can leave unnoised.
4. An entry gives shape and cost; how it is computed stands in `forward` (numpy) and `torch_module` (torch), for each
   entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kernel.errors import InvalidError
from privacy.graph.spec import Shape, elements

BATCH_RULE: Final = "dimension 0 is the batch and is never mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What `check` needs to know of an operation.

    Attributes:
        name: As nodes write it.
        inputs: How many values it reads.
        weights: The least and the most weights it takes.
        attributes: The attributes it may have; all of them must be given.
        result: Shape of the result from the shapes of inputs and weights (all without the batch).
        cost: Multiply-adds per row, from the same shapes.
        batch: The statement that lets it into this table.
    """

    name: str
    inputs: int
    weights: tuple[int, int]
    attributes: frozenset[str]
    result: Callable[[Sequence[Shape], Sequence[Shape]], Shape]
    cost: Callable[[Sequence[Shape], Sequence[Shape]], int]
    batch: str = BATCH_RULE


def _linear_result(inputs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    (value,), matrix = inputs, weights[0]
    if len(matrix) != 2 or not value or value[-1] != matrix[1]:
        raise InvalidError("a linear weight has the shape [outputs, last side of its input]", field="weights")
    if len(weights) == 2 and weights[1] != (matrix[0],):
        raise InvalidError("a linear bias has the shape [outputs]", field="weights")
    return (*value[:-1], matrix[0])


def _linear_cost(inputs: Sequence[Shape], weights: Sequence[Shape]) -> int:
    return elements(inputs[0]) * weights[0][0]


def _same_result(inputs: Sequence[Shape], _: Sequence[Shape]) -> Shape:
    return inputs[0]


def _per_element_cost(inputs: Sequence[Shape], _: Sequence[Shape]) -> int:
    return elements(inputs[0])


def _elementwise(name: str) -> Operation:
    return Operation(
        name=name, inputs=1, weights=(0, 0), attributes=frozenset(), result=_same_result, cost=_per_element_cost
    )


OPERATIONS: Final[dict[str, Operation]] = {
    operation.name: operation
    for operation in (
        Operation(
            name="linear",
            inputs=1,
            weights=(1, 2),
            attributes=frozenset(),
            result=_linear_result,
            cost=_linear_cost,
        ),
        _elementwise("relu"),
        _elementwise("tanh"),
        _elementwise("sigmoid"),
        _elementwise("gelu"),
    )
}
