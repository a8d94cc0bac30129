"""Does a graph fit together, and is it small enough? Shapes of every value, and the limits.

Rules
-----
1. A graph that was not checked is never run: `torch_module`, `torch_ops` and `forward` take a `CheckedGraph`.
2. Limits are the gateway's. They bound memory and time per row before any row is seen, and they are held to node by
   node, in plain whole numbers: nothing of a refused size is ever made.
3. A refusal names the node and what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.graph.operation import Operation
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import MOST_SIDES, ModelGraph, Node, Shape, elements

MOST_WEIGHT_ELEMENTS = 1_000_000
MOST_COST_PER_ROW = 10**8
MOST_ACTIVATIONS_PER_ROW = 1_000_000
MOST_SCRATCH_PER_ROW = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGraph:
    """A graph of allowed operations that fit together and stay within the limits. Build it with `check`.

    Attributes:
        graph: The graph itself.
        shapes: Shape of every value, without the batch.
        cost_per_row: Multiply-adds of one row's forward pass.
        activations_per_row: Numbers of one row that a gradient needs: every value, and what operations keep beside it.
        scratch_per_row: The most numbers of one row that one operation makes on the way (unfolded windows).
        proven: Every operation states that it never mixes the batch. Otherwise run it one row at a time.
    """

    graph: ModelGraph
    shapes: Mapping[str, Shape]
    cost_per_row: int
    activations_per_row: int
    scratch_per_row: int
    proven: bool

    @property
    def width(self) -> int:
        """How many numbers the input of one row has."""
        return elements(self.graph.inputs[0].shape)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output of one row."""
        return self.shapes[self.graph.outputs[0]]

    @property
    def outputs(self) -> int:
        """How many numbers the output of one row has."""
        return elements(self.output_shape)


def check(graph: ModelGraph) -> CheckedGraph:
    """Infer every shape and hold the graph to the limits.

    Raises:
        InvalidError: An operation that is not allowed, or shapes, weights or attributes that do not fit it.
        TooLargeError: More weights, activations or work per row than the limit.
    """
    if graph.weight_elements > MOST_WEIGHT_ELEMENTS:
        raise TooLargeError(f"a model has at most {MOST_WEIGHT_ELEMENTS} weights: make it smaller", field="weights")
    shapes: dict[str, Shape] = {value.name: value.shape for value in graph.inputs}
    sizes = {weight.name: weight.shape for weight in graph.weights}
    cost, scratch, kept = 0, 0, sum(elements(value.shape) for value in graph.inputs)
    _hold("the input", kept, MOST_ACTIVATIONS_PER_ROW, "activations")
    for node in graph.nodes:
        operation = _operation(node)
        inputs, weights = [shapes[name] for name in node.inputs], [sizes[name] for name in node.weights]
        result = shapes[node.name] = _result(operation, node, inputs, weights)
        kept += elements(result) + operation.kept(node, inputs, weights, result)
        cost += operation.cost(node, inputs, weights, result)
        scratch = max(scratch, operation.scratch(node, inputs, weights, result))
        _hold(f"node `{node.name}`", kept, MOST_ACTIVATIONS_PER_ROW, "activations")
        _hold(f"node `{node.name}`", cost, MOST_COST_PER_ROW, "multiply-adds")
        _hold(f"node `{node.name}`", scratch, MOST_SCRATCH_PER_ROW, "unfolded window values")
    return CheckedGraph(
        graph=graph,
        shapes=shapes,
        cost_per_row=cost,
        activations_per_row=kept,
        scratch_per_row=scratch,
        proven=all(OPERATIONS[node.op].batch is not None for node in graph.nodes),
    )


def _operation(node: Node) -> Operation:
    operation = OPERATIONS.get(node.op)
    if operation is None:
        raise InvalidError(
            f"node `{node.name}`: `op` is none of the allowed operations, which are " + ", ".join(sorted(OPERATIONS)),
            field="op",
        )
    for field, count, (least, most) in (
        ("inputs", len(node.inputs), operation.inputs),
        ("weights", len(node.weights), operation.weights),
    ):
        if not least <= count <= most:
            many = f"{least}" if least == most else f"{least} to {most}"
            raise InvalidError(f"node `{node.name}`: `{operation.name}` has {many} {field}", field=field)
    _check_attributes(node, operation)
    return operation


def _check_attributes(node: Node, operation: Operation) -> None:
    if {name: type(value) for name, value in node.attributes} == dict(operation.attributes):
        return
    wanted = ", ".join(f"`{name}` ({_KINDS[kind]})" for name, kind in operation.attributes.items()) or "no attributes"
    raise InvalidError(f"node `{node.name}`: `{operation.name}` has exactly {wanted}", field="attributes")


_KINDS = {int: "a whole number", bool: "true or false", Parameter: "decimal text", tuple: "a list of whole numbers"}


def _result(operation: Operation, node: Node, inputs: list[Shape], weights: list[Shape]) -> Shape:
    try:
        result = operation.result(node, inputs, weights)
    except InvalidError as error:
        raise InvalidError(f"node `{node.name}`: {error.message}", field=error.field) from None
    if len(result) > MOST_SIDES:
        raise InvalidError(f"node `{node.name}`: a value has at most {MOST_SIDES} sides", field="nodes")
    return result


def _hold(where: str, count: int, most: int, what: str) -> None:
    if count > most:
        raise TooLargeError(
            f"{where}: up to here a row has more than {most} {what}: make the model smaller", field="nodes"
        )
