"""The graph that is being built while a foreign model is read, node by node.

Rules
-----
1. Every operation is held to its rule in the table as soon as it is added, so that a refusal names the foreign node.
2. Each learned array is used once. A second use is refused, and so is one that is never used.
3. Turning and reshaping are folded together, and results that nothing needs are left out: the graph says what the model
   computes, not how another program wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kernel.errors import InvalidError, TooLargeError
from privacy.graph.check import check
from privacy.graph.foreign import Array, Batched, Parameter, row_shape
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import (
    MOST_NODES,
    MOST_SIDES,
    MOST_WEIGHTS,
    Attribute,
    Initial,
    InitialRule,
    Input,
    ModelGraph,
    Node,
    Shape,
    Weight,
)

MOST_FOREIGN_NODES = 8 * MOST_NODES
_MOVES: Final = frozenset({"reshape", "permute", "slice"})
_GIVEN: Final = Initial(rule=InitialRule.GIVEN)
_SHOWN = re.compile(r"[A-Za-z0-9_.:/\[\]-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a weight of the graph lives in the foreign model, and the steps from the one back to the other."""

    parameter: str
    undo: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A foreign model, read.

    Attributes:
        graph: Its structure; every weight starts as given.
        initial: The given values, float32, by the graph's names.
        origins: By the graph's names.
    """

    graph: ModelGraph
    initial: Mapping[str, Array]
    origins: Mapping[str, Origin]


def shown(name: object) -> str:
    """A name out of a foreign file as messages may show it: short, and without anything that is not a name."""
    return name if isinstance(name, str) and _SHOWN.fullmatch(name) else "(a name that is not shown)"


class RowGraph:
    """Collects inputs, weights and nodes.

    Args:
        name: The input's foreign name.
        shape: The input's shape for one row.
    """

    def __init__(self, name: str, shape: Shape) -> None:
        self._taken: set[str] = set()
        self.input = self._fresh(name)
        self.at = name
        self._shapes: dict[str, Shape] = {self.input: shape}
        self._nodes: dict[str, Node] = {}
        self._weights: dict[str, Parameter] = {}
        self._weight_names: set[str] = set()
        self._used: set[str] = set()

    def shape(self, value: str) -> Shape:
        """The shape of a value of one row."""
        return self._shapes[value]

    def add(self, op: str, inputs: Sequence[str], weights: Sequence[str] = (), /, **attributes: Attribute) -> str:
        """Add a node; raise `InvalidError` when the operation does not take these shapes."""
        if len(self._nodes) >= MOST_FOREIGN_NODES:
            raise TooLargeError(f"a model has at most {MOST_NODES} operations", field="model")
        name = self._fresh(self.at)
        node = Node(
            name=name,
            op=op,
            inputs=tuple(inputs),
            weights=tuple(weights),
            attributes=tuple(sorted(attributes.items())),
        )
        self._shapes[name] = self._result(node)
        self._nodes[name] = node
        return name

    def add_bias(self, value: str, bias: str) -> str:
        """A linear node again, with a bias; the one without is dropped because nothing else may use it."""
        node = self._nodes[value]
        return self.add(node.op, node.inputs, (*node.weights, bias))

    def reshape(self, value: str, shape: Shape) -> str:
        """The same numbers in another shape; folded with a reshape before it."""
        while self._shapes[value] != shape and self._op(value) in {"reshape", "flatten"}:
            value = self._nodes[value].inputs[0]
        return value if self._shapes[value] == shape else self.add("reshape", (value,), shape=shape)

    def permute(self, value: str, order: Sequence[int]) -> str:
        """Other order of the sides; folded with a permutation before it."""
        if self._op(value) == "permute":
            node = self._nodes[value]
            first = node.wholes("order")
            value, order = node.inputs[0], [first[place] for place in order]
        return value if list(order) == sorted(order) else self.add("permute", (value,), order=tuple(order))

    def weight(self, parameter: Parameter) -> str:
        """Take a learned array for one node."""
        if parameter.name in self._used:
            raise InvalidError(
                f"the parameter `{shown(parameter.name)}` is used more than once (tied or applied twice): give each use"
                " a parameter of its own"
            )
        if len(self._weights) >= MOST_WEIGHTS:
            raise TooLargeError(f"a model has at most {MOST_WEIGHTS} parameters", field="model")
        self._used.add(parameter.name)
        name = _unique(parameter.name, self._weight_names)
        self._weights[name] = parameter
        return name

    def fresh(self, value: str) -> bool:
        """Whether a value is what the last node gave, and no part or view of anything that another could read."""
        node = self._nodes.get(value)
        return node is not None and node.op not in _MOVES and not any(value in n.inputs for n in self._nodes.values())

    def sizes(self, names: Sequence[str]) -> list[Shape]:
        """Shapes of weights."""
        return [self._weights[name].array.shape for name in names]

    def finish(self, output: Batched, parameters: Sequence[str]) -> ForeignModel:
        """Close the graph.

        Args:
            output: What the model gives.
            parameters: Names of all learned arrays of the foreign model.

        Raises:
            InvalidError: The output's batch is not dimension 0, the model computes nothing, or an array is not used.
            TooLargeError: The whole is larger than a model may be.
        """
        if not output.dims[0].pure or output.index:
            raise InvalidError("the model's output must have the batch as dimension 0 and nothing else in it")
        self.at = "output"
        value = self.reshape(output.row, row_shape(output.dims))
        kept = self._needed(value)
        self._check_all_used(kept, parameters)
        nodes = tuple(node for node in self._nodes.values() if node.name in kept)
        if not nodes or self.input not in kept:
            raise InvalidError("the model does nothing with its input")
        if not self._weights:
            raise InvalidError("the model has no parameters: there is nothing to learn")
        named = [name for node in nodes for name in node.weights]
        initial = {n: np.ascontiguousarray(self._weights[n].array, dtype=np.float32) for n in named}
        graph = ModelGraph(
            inputs=(Input(name=self.input, shape=self._shapes[self.input]),),
            weights=tuple(Weight(name=n, shape=initial[n].shape, init=_GIVEN) for n in named),
            nodes=nodes,
            outputs=(value,),
        )
        check(graph)
        origins = {n: Origin(parameter=self._weights[n].name, undo=self._weights[n].undo) for n in named}
        return ForeignModel(graph=graph, initial=initial, origins=origins)

    def _op(self, value: str) -> str | None:
        node = self._nodes.get(value)
        return None if node is None else node.op

    def _result(self, node: Node) -> Shape:
        inputs = [self._shapes[value] for value in node.inputs]
        shape = OPERATIONS[node.op].result(node, inputs, self.sizes(node.weights))
        if len(shape) > MOST_SIDES:
            raise InvalidError(f"a row has at most {MOST_SIDES} sides")
        return shape

    def _needed(self, output: str) -> set[str]:
        needed, waiting = set(), [output]
        while waiting:
            value = waiting.pop()
            if value not in needed:
                needed.add(value)
                waiting += self._nodes[value].inputs if value in self._nodes else ()
        return needed

    def _check_all_used(self, kept: set[str], parameters: Sequence[str]) -> None:
        used = {self._weights[name].name for value in kept & set(self._nodes) for name in self._nodes[value].weights}
        for name in parameters:
            if name not in used:
                raise InvalidError(f"the parameter `{shown(name)}` does not reach the output: remove it")

    def _fresh(self, name: str) -> str:
        return _unique(name, self._taken)


def _unique(name: str, taken: set[str]) -> str:
    """A name as graphs have them, made of a foreign one, that is not taken yet; it is taken now."""
    plain = re.sub(r"[^a-z0-9_.]", "_", name.lower()[:200])[-56:] or "value"
    found, number = plain, 1
    while found in taken:
        number += 1
        found = f"{plain}.{number}"
    taken.add(found)
    return found
