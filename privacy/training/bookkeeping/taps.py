"""Forward and backward over any graph of proven operations, with autograd asked for few gradients. Child only.

Rules
-----
1. Weights do not require gradients: autograd is asked for those of weighted nodes' results and forms no other.
2. Rows run in blocks of one size, at most `bounds.ROWS`, small enough that what is formed for one stays near the
   processor. The last block is filled with rows that do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch

from privacy.graph.check import CheckedGraph
from privacy.graph.spec import Node, elements
from privacy.graph.torch_ops import Function, bind
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS, clip_factors
from privacy.training.bookkeeping.conv import Conv
from privacy.training.bookkeeping.embedding import Embedding
from privacy.training.bookkeeping.layers import Layer, Tensor
from privacy.training.bookkeeping.linear import linear
from privacy.training.bookkeeping.norms import GroupNorm, LayerNorm
from privacy.training.bookkeeping.shift import Shift
from privacy.training.losses import LOSSES

NUMBERS_IN_BLOCK: Final = 2**22
"""Formed gradients of a block: 16 MiB in float32."""


class TapPass:
    """Clipped sums over a graph.

    Args:
        model: A checked graph of proven operations.
        loss: Of one row.
        weights: Views of the weights by name.
        totals: Views of the float64 total by name.
        per_layer: Whether each weighted node is clipped by itself.
    """

    def __init__(
        self,
        model: CheckedGraph,
        loss: Loss,
        weights: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        per_layer: bool,
    ) -> None:
        self._graph, self._loss, self._per_layer = model.graph, LOSSES[loss], per_layer
        self._shape, self._outputs = model.graph.inputs[0].shape, model.outputs
        self._layers: dict[str, Layer] = {}
        self._functions: dict[str, Function] = {}
        for node in model.graph.nodes:
            if node.weights:
                own, into = ([views[name] for name in node.weights] for views in (weights, totals))
                self._layers[node.name] = LAYERS[node.op](node, own, into, _positions(model, node))
            else:
                self._functions[node.name] = bind(node)
        per_row = max(model.graph.weight_elements, model.activations_per_row, model.scratch_per_row)
        self._rows = max(1, min(ROWS, NUMBERS_IN_BLOCK // per_row))

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many rows were not shortened."""
        blocks = -(-len(features) // self._rows)
        rows = -(-len(features) // blocks)
        missing = blocks * rows - len(features)
        if missing:
            features = torch.cat([features, features.new_zeros(missing, features.shape[1])])
            targets, counts = (torch.cat([each, each.new_zeros(missing)]) for each in (targets, counts))
        parts = [slice(at, at + rows) for at in range(0, len(features), rows)]
        return sum(self._block(features[part], targets[part], counts[part], clip) for part in parts)

    def _block(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        kept, slopes, losses = self._backward(features.reshape(-1, *self._shape), targets)
        layers = list(self._layers.values())
        squared = torch.stack([layers[at].squared(kept[at], slopes[at]) for at in range(len(layers))])
        # A row without a finite loss is broken, whatever its gradient is.
        squared.masked_fill_(~torch.isfinite(losses), torch.nan)
        if not self._per_layer:
            squared = squared.sum(dim=0, keepdim=True)
        factors, within, broken = clip_factors(squared, counts, clip)
        for number, layer in enumerate(layers):
            layer.add(factors[number if self._per_layer else 0], broken)
        return within

    def _backward(self, features: Tensor, targets: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...], Tensor]:
        """What each layer keeps, the gradient of each layer's result, and the rows' losses."""
        kept: list[Tensor] = []
        results: list[Tensor] = []
        with torch.enable_grad():
            values = {self._graph.inputs[0].name: features}
            for node in self._graph.nodes:
                if node.name in self._layers:
                    result, beside = self._layers[node.name].run(values[node.inputs[0]])
                    # The first layers of a graph start the tape: nothing before them needs a gradient.
                    values[node.name] = result if result.requires_grad else result.requires_grad_()
                    results.append(values[node.name])
                    kept.append(beside.detach())
                else:
                    values[node.name] = self._functions[node.name]([values[name] for name in node.inputs], ())
            losses = self._loss(values[self._graph.outputs[0]].reshape(len(features), self._outputs), targets)
            slopes = torch.autograd.grad(losses.sum(), results, allow_unused=True, materialize_grads=True)
        return kept, slopes, losses.detach()


def _positions(model: CheckedGraph, node: Node) -> int:
    return elements(model.shapes[node.inputs[0]][:-1])


LAYERS: Final[dict[str, Callable[[Node, list[Tensor], list[Tensor], int], Layer]]] = {
    "linear": lambda _, weights, totals, positions: linear(weights, totals, positions),
    "conv1d": lambda node, weights, totals, _: Conv(node, weights, totals),
    "conv2d": lambda node, weights, totals, _: Conv(node, weights, totals),
    "embedding": lambda _, weights, totals, __: Embedding(weights, totals),
    "layer_norm": lambda node, weights, totals, _: LayerNorm(node, weights, totals),
    "group_norm": lambda node, weights, totals, _: GroupNorm(node, weights, totals),
    "shift": lambda _, weights, totals, __: Shift(weights, totals),
}
