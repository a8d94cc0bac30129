"""Does a graph fit together, and is it small enough? Shapes of every value, and the limits.

Rules
-----
1. A graph that was not checked is never run: `torch_module` and `forward` take a `CheckedGraph`.
2. Limits are the gateway's. They bound memory and time per row before any row is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kernel.errors import InvalidError, TooLargeError
from privacy.graph.ops import OPERATIONS, Operation
from privacy.graph.spec import ModelGraph, Node, Shape, elements

MOST_WEIGHT_ELEMENTS = 1_000_000
MOST_COST_PER_ROW = 10**8
MOST_ACTIVATIONS_PER_ROW = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGraph:
    """A graph of allowed operations that fit together and stay within the limits. Build it with `check`.

    Attributes:
        graph: The graph itself.
        shapes: Shape of every value, without the batch.
        cost_per_row: Multiply-adds of one row's forward pass.
    """

    graph: ModelGraph
    shapes: Mapping[str, Shape]
    cost_per_row: int

    @property
    def width(self) -> int:
        """How many numbers the input of one row has."""
        return elements(self.graph.inputs[0].shape)

    @property
    def outputs(self) -> int:
        """How many numbers the output of one row has."""
        return elements(self.shapes[self.graph.outputs[0]])


def check(graph: ModelGraph) -> CheckedGraph:
    """Infer every shape and hold the graph to the limits.

    Raises:
        InvalidError: An operation that is not allowed, or shapes, weights or attributes that do not fit it.
        TooLargeError: More weights, activations or work per row than the limit.
    """
    shapes: dict[str, Shape] = {value.name: value.shape for value in graph.inputs}
    cost = 0
    for node in graph.nodes:
        operation = _operation(node)
        inputs = [shapes[name] for name in node.inputs]
        weights = [graph.weight(name).shape for name in node.weights]
        shapes[node.name] = operation.result(inputs, weights)
        cost += operation.cost(inputs, weights)
    _check_limits(graph, shapes, cost)
    return CheckedGraph(graph=graph, shapes=shapes, cost_per_row=cost)


def _operation(node: Node) -> Operation:
    operation = OPERATIONS.get(node.op)
    if operation is None:
        raise InvalidError("`op` must be one of " + ", ".join(sorted(OPERATIONS)), field="op")
    least, most = operation.weights
    if len(node.inputs) != operation.inputs or not least <= len(node.weights) <= most:
        raise InvalidError(f"`{operation.name}` has another number of inputs or weights", field="nodes")
    if {name for name, _ in node.attributes} != operation.attributes:
        raise InvalidError(f"`{operation.name}` has other attributes", field="attributes")
    return operation


def _check_limits(graph: ModelGraph, shapes: Mapping[str, Shape], cost: int) -> None:
    if graph.weight_elements > MOST_WEIGHT_ELEMENTS:
        raise TooLargeError(f"a model has at most {MOST_WEIGHT_ELEMENTS} weights: make it smaller", field="weights")
    if sum(elements(shape) for shape in shapes.values()) > MOST_ACTIVATIONS_PER_ROW:
        raise TooLargeError(f"a row may have at most {MOST_ACTIVATIONS_PER_ROW} activations", field="nodes")
    if cost > MOST_COST_PER_ROW:
        raise TooLargeError(f"a row may cost at most {MOST_COST_PER_ROW} multiply-adds", field="nodes")
