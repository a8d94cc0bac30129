"""What is known of an operation: shape, cost and what it keeps, and whether its batch is proven.

Rules
-----
1. An operation is described for one row: shapes leave out the batch, and an attribute that counts sides counts the
   row's own. So no node can name the batch.
2. `batch` is the statement that lets the engine run whole micro-batches: row i of the result depends on row i of the
   inputs and on the weights, on nothing else. Without it the operation is run one row at a time.
3. Rules are arithmetic on plain whole numbers: nothing is allocated, however large a shape is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.spec import Node, Shape, elements

BATCH_RULE: Final = "dimension 0 is the batch and is never mixed"

ShapeRule: TypeAlias = Callable[[Node, Sequence[Shape], Sequence[Shape]], Shape]
CountRule: TypeAlias = Callable[[Node, Sequence[Shape], Sequence[Shape], Shape], int]


def nothing(_: Node, __: Sequence[Shape], ___: Sequence[Shape], ____: Shape) -> int:
    """Keeps nothing beside its result."""
    return 0


def per_element(_: Node, inputs: Sequence[Shape], __: Sequence[Shape], result: Shape) -> int:
    """One multiply-add for each number read or written."""
    return max(sum(elements(shape) for shape in inputs), elements(result))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What `check` needs to know of an operation.

    Attributes:
        name: As nodes write it.
        inputs: The least and the most values it reads.
        weights: The least and the most weights it takes.
        attributes: The attributes it has, all of which must be given, and the kind of each.
        result: Shape of the result from the shapes of inputs and weights (all without the batch).
        cost: Multiply-adds per row, from the same shapes and the result's.
        kept: Numbers per row that a gradient needs beside the result.
        scratch: Numbers per row that are made on the way and dropped again.
        batch: The statement that it may run on a batch, or None: then it runs one row at a time.
    """

    name: str
    result: ShapeRule
    inputs: tuple[int, int] = (1, 1)
    weights: tuple[int, int] = (0, 0)
    attributes: Mapping[str, type] = field(default_factory=dict)
    cost: CountRule = per_element
    kept: CountRule = nothing
    scratch: CountRule = nothing
    batch: str | None = BATCH_RULE


def same_shape(_: Node, inputs: Sequence[Shape], __: Sequence[Shape]) -> Shape:
    """The result has the shape of the first input, and all inputs have it."""
    if any(shape != inputs[0] for shape in inputs):
        raise InvalidError("its inputs must have the same shape: reshape or slice them first", field="inputs")
    return inputs[0]


def require(condition: bool, sentence: str, field: str = "attributes") -> None:
    """Raise `InvalidError` with the sentence unless the condition holds; `check` puts the node's name before it."""
    if not condition:
        raise InvalidError(sentence, field=field)


def one_side(node: Node, name: str, shape: Shape) -> int:
    """An attribute that counts one side of a row from 0."""
    side = node.whole(name)
    require(0 <= side < len(shape), f"`{name}` counts the row's sides from 0 (the batch is not among them)")
    return side


def some_sides(node: Node, name: str, shape: Shape) -> tuple[int, ...]:
    """An attribute that lists sides of a row from 0, in rising order."""
    sides = node.wholes(name)
    require(
        bool(sides) and list(sides) == sorted(set(sides)) and sides[0] >= 0 and sides[-1] < len(shape),
        f"`{name}` lists sides of the row from 0 in rising order, each once (the batch is not among them)",
    )
    return sides


WHOLE: Final = int
FLAG: Final = bool
NUMBER: Final = Parameter
WHOLES: Final = tuple
