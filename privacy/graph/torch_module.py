"""A model graph as a torch module. With `torch_ops` the only torch of this package; imported lazily by child and SDK.

Rules
-----
1. Only a `CheckedGraph` becomes a module. A node with weights is one torch layer, so that Opacus knows it; every other
   node is the function of `torch_ops`.
2. The module has no buffers, no dropout and no state beside its weights.
3. Weights come in as arrays; torch's own initialisation, which draws from a seedable generator, is never used.
4. A graph with an operation that is not proven runs under `vmap`, one row at a time, and gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import nn

from privacy.graph.check import CheckedGraph
from privacy.graph.spec import Node, Shape
from privacy.graph.torch_ops import Function, bind, bind_row, entries


class GraphModule(nn.Module):
    """Runs a graph's nodes in order.

    Args:
        model: A checked graph.
        weights: Its values by name.
        dtype: Of arithmetic.
    """

    def __init__(self, model: CheckedGraph, weights: Mapping[str, NDArray[Any]], dtype: torch.dtype) -> None:
        super().__init__()
        self._graph, self._proven = model.graph, model.proven
        self._layers = nn.ModuleDict()
        self._functions: dict[str, Function] = {}
        shapes = {weight.name: weight.shape for weight in model.graph.weights}
        for number, node in enumerate(model.graph.nodes):
            if node.weights:
                # Meta first, so that no default initialisation runs. Modules are named by number: no dots in them.
                sizes = [shapes[name] for name in node.weights]
                layer = _LAYERS[node.op](node, sizes, {"device": "meta", "dtype": dtype})
                self._layers[f"{number}"] = layer.to_empty(device="cpu")
            elif model.proven:
                self._functions[node.name] = bind(node)
            else:
                self._functions[node.name] = bind_row(node)
        self.load(weights)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape [n, ...input shape] -> [n, ...output shape]; dimension 0 is the batch and is never mixed."""
        if self._proven:
            return self._run(rows, lambda layer, value: layer(value))
        one: Callable[[torch.Tensor], torch.Tensor] = lambda row: self._run(  # noqa: E731 - closes over the module
            row, lambda layer, value: layer(value.unsqueeze(0)).squeeze(0)
        )
        result: torch.Tensor = torch.func.vmap(one)(rows)
        return result

    def _run(self, rows: torch.Tensor, call: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        values = {self._graph.inputs[0].name: rows}
        for number, node in enumerate(self._graph.nodes):
            inputs = [values[name] for name in node.inputs]
            if node.weights:
                # Nothing flows down through an embedding; a hook would wait for it, and lose the table's own gradient.
                value = inputs[0].detach() if node.op == "embedding" else inputs[0]
                values[node.name] = call(self._layers[f"{number}"], value)
            else:
                values[node.name] = self._functions[node.name](inputs, ())
        return values[self._graph.outputs[0]]

    def load(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights from arrays of the graph's names and shapes."""
        with torch.no_grad():
            for name, parameter in self.by_name().items():
                parameter.copy_(torch.from_numpy(weights[name]))

    def by_name(self) -> dict[str, nn.Parameter]:
        """The weights by the graph's names, in the graph's order."""
        found: dict[str, nn.Parameter] = {}
        for number, node in enumerate(self._graph.nodes):
            if node.weights:
                found.update(zip(node.weights, self._layers[f"{number}"].parameters(), strict=True))
        return {weight.name: found[weight.name] for weight in self._graph.weights}


class Entries(nn.Embedding):
    """An embedding that reads numbers as whole numbers within its table."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Shape [n, ...] -> [n, ..., width]."""
        return super().forward(input if input.dtype is torch.int64 else entries(input, self.num_embeddings))


class Shift(nn.Module):
    """Adds a learned array of the row's shape."""

    def __init__(self, shape: Shape, **where: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape, **where))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Shape [n, ...] -> the same."""
        return value + self.weight


def _linear(_: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    outputs, inputs = sizes[0]
    return nn.Linear(inputs, outputs, bias=len(sizes) == 2, **where)


def _conv1d(node: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    outputs, inputs, window = sizes[0]
    return nn.Conv1d(inputs * node.whole("groups"), outputs, window, **_convolution(node, sizes), **where)


def _conv2d(node: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    outputs, inputs, *window = sizes[0]
    return nn.Conv2d(
        inputs * node.whole("groups"), outputs, (window[0], window[1]), **_convolution(node, sizes), **where
    )


def _convolution(node: Node, sizes: Sequence[Shape]) -> dict[str, Any]:
    lists = {name: node.wholes(name) for name in ("stride", "padding", "dilation")}
    return {**lists, "groups": node.whole("groups"), "bias": len(sizes) == 2}


def _embedding(_: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    entries_of_table, width = sizes[0]
    return Entries(entries_of_table, width, **where)


def _layer_norm(node: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    return nn.LayerNorm(list(sizes[0]), eps=node.number("eps"), **where)


def _group_norm(node: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    return nn.GroupNorm(node.whole("groups"), sizes[0][0], eps=node.number("eps"), **where)


def _shift(_: Node, sizes: Sequence[Shape], where: Mapping[str, Any]) -> nn.Module:
    return Shift(sizes[0], **where)


_LAYERS: Final[dict[str, Callable[[Node, Sequence[Shape], Mapping[str, Any]], nn.Module]]] = {
    "linear": _linear,
    "conv1d": _conv1d,
    "conv2d": _conv2d,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "shift": _shift,
}
