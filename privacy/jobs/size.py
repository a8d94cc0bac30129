"""What a model takes: its size, as it is quoted and approved, and the memory of a micro-batch.

Rules
-----
1. Everything follows from the graph and declared constants; nothing from rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel.events import Record
from privacy.graph.check import CheckedGraph
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import Node, elements
from privacy.jobs.engines import EngineName

NUMBERS_AT_ONCE = 2**25
"""In one micro-batch: 128 MiB in float32."""
_FORMED = 8
"""Formed gradients are float64, exist in a few copies, and are quickest while they fit a cache."""


@dataclass(frozen=True, kw_only=True)
class ModelSize(Record):
    """What a model takes, from its graph alone.

    Attributes:
        parameters: Numbers that are learned.
        activations_per_row: Numbers of one row that a gradient needs.
        multiply_adds_per_row: Of one forward pass.
        nodes: Operations.
    """

    parameters: int
    activations_per_row: int
    multiply_adds_per_row: int
    nodes: int

    @classmethod
    def of(cls, model: CheckedGraph) -> ModelSize:
        """Read it from a checked graph."""
        return cls(
            parameters=model.graph.weight_elements,
            activations_per_row=model.activations_per_row,
            multiply_adds_per_row=model.cost_per_row,
            nodes=len(model.graph.nodes),
        )


def numbers_per_unit(engine: EngineName, rows_per_unit: int, model: CheckedGraph) -> int:
    """How many numbers a unit takes in a micro-batch.

    Book-keeping and `vmap` cut a micro-batch into pieces that fit their own bounds; Opacus holds every value and a
    gradient of every weight at once.
    """
    if engine is not EngineName.OPACUS:
        return rows_per_unit * model.width
    values = model.width + 2 * model.activations_per_row + model.scratch_per_row
    return rows_per_unit * max(values, _FORMED * model.graph.weight_elements)


def row_work(engine: EngineName, model: CheckedGraph, rows_per_unit: int = 1) -> int:
    """About how long the passes of one row take, in units of which 1.5 x 10^8 take a second on one slow core.

    Measured on regressions, perceptrons, convolutions and transformers; large sums are quick, values that are read and
    written are not, and a formed gradient is read and written several times. Of a unit of
    several rows book-keeping forms the gradient of every layer.
    """
    nodes = model.graph.nodes
    values = 5 * model.activations_per_row // 4 + sum(_slow(model, node) for node in nodes)
    windows = sum(_windows(model, node) for node in nodes)
    if engine is EngineName.BOOKKEEPING:
        several = rows_per_unit > 1
        formed = model.graph.weight_elements if several else sum(_formed(model, node) for node in nodes)
        return model.cost_per_row // (16 if several else 64) + values * (1 + several) + windows // 2 + formed // 4
    return model.cost_per_row // 8 + values + 3 * windows + 5 * model.graph.weight_elements // 2


def scoring_work(model: CheckedGraph) -> int:
    """About how long one row is scored in float64, without a gradient: multiply-adds, and what slow functions add."""
    return model.cost_per_row + sum(_slow(model, node) for node in model.graph.nodes)


_SLOW: Final = {"gelu_exact": 9, "softmax": 3, "layer_norm": 2, "group_norm": 2, "silu": 1}
"""What these take of each number beyond a multiply-add, measured where it is most: at sides of two numbers."""


def _slow(model: CheckedGraph, node: Node) -> int:
    return _SLOW.get(node.op, 0) * elements(model.shapes[node.name])


def _windows(model: CheckedGraph, node: Node) -> int:
    """Numbers of a row that a node unfolds."""
    inputs = [model.shapes[name] for name in node.inputs]
    weights = [model.graph.weight(name).shape for name in node.weights]
    return OPERATIONS[node.op].scratch(node, inputs, weights, model.shapes[node.name])


def _formed(model: CheckedGraph, node: Node) -> int:
    """Numbers of a row's gradient that book-keeping forms: of all weights but those of layers on one flat value."""
    if node.op == "linear" and len(model.shapes[node.inputs[0]]) == 1:
        return 0
    return sum(model.graph.weight(name).elements for name in node.weights)
