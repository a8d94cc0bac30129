"""A model graph as a torch module. The only module of this package with torch; child and SDK helpers import it lazily.

Rules
-----
1. Only a `CheckedGraph` becomes a module. Each operation is one torch module or function, fixed in the table below.
2. The module has no buffers, no dropout and no state beside its weights.
3. Weights come in as arrays; torch's own initialisation, which draws from a seedable generator, is never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import nn

from privacy.graph.check import CheckedGraph
from privacy.graph.spec import ModelGraph, Node


class GraphModule(nn.Module):
    """Runs a graph's nodes in order.

    Args:
        model: A checked graph.
        weights: Its values by name.
        dtype: Arithmetic, `torch.float64` in training.
    """

    def __init__(self, model: CheckedGraph, weights: Mapping[str, NDArray[Any]], dtype: torch.dtype) -> None:
        super().__init__()
        self._graph = model.graph
        self._steps = nn.ModuleList(_module(node, model.graph, dtype) for node in model.graph.nodes)
        self.load(weights)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape [n, ...input shape] -> [n, ...output shape]; dimension 0 is the batch and is never mixed."""
        values = {self._graph.inputs[0].name: rows}
        for node, step in zip(self._graph.nodes, self._steps, strict=True):
            values[node.name] = step(values[node.inputs[0]])
        return values[self._graph.outputs[0]]

    def load(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights from arrays of the graph's names and shapes."""
        with torch.no_grad():
            for name, parameter in self.by_name().items():
                parameter.copy_(torch.from_numpy(weights[name]))

    def by_name(self) -> dict[str, nn.Parameter]:
        """The weights by the graph's names, in the graph's order."""
        found: dict[str, nn.Parameter] = {}
        for node, step in zip(self._graph.nodes, self._steps, strict=True):
            found.update(zip(node.weights, step.parameters(), strict=True))
        return {weight.name: found[weight.name] for weight in self._graph.weights}


def _linear(node: Node, graph: ModelGraph, dtype: torch.dtype) -> nn.Module:
    outputs, inputs = graph.weight(node.weights[0]).shape
    # Made without storage first, so that no default initialisation runs.
    layer = nn.Linear(inputs, outputs, bias=len(node.weights) == 2, device="meta", dtype=dtype)
    return layer.to_empty(device="cpu")


_MODULES: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": lambda: nn.GELU(approximate="tanh"),
}


def _module(node: Node, graph: ModelGraph, dtype: torch.dtype) -> nn.Module:
    return _linear(node, graph, dtype) if node.op == "linear" else _MODULES[node.op]()
