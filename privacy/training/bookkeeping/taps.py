"""Forward and backward over any graph of proven operations, with autograd asked for few gradients. Child only.

Rules
-----
1. Weights do not require gradients: autograd is asked for those of weighted nodes' results and forms no other.
2. Units run in blocks of one size, at most `bounds.ROWS`, small enough that what is formed for one stays near the
   processor. The last block is filled with units that do not count.
3. In a unit of several rows, a row that does not count or is not finite is taken out by selection before the unit's
   gradient is formed. What overflows only in the unit's sum takes out the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch

from privacy.graph.check import CheckedGraph
from privacy.graph.spec import Node, elements
from privacy.graph.torch_ops import Function, bind
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS, clip_factors
from privacy.training.bookkeeping.conv import Conv
from privacy.training.bookkeeping.embedding import Embedding
from privacy.training.bookkeeping.layers import Formed, Layer, Tensor
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
        rows_of_unit: How many rows a unit has; they lie side by side.
    """

    def __init__(
        self,
        model: CheckedGraph,
        loss: Loss,
        weights: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        per_layer: bool,
        rows_of_unit: int = 1,
    ) -> None:
        self._rows_of_unit = rows_of_unit
        self._graph, self._loss, self._per_layer = model.graph, LOSSES[loss], per_layer
        self._shape, self._outputs = model.graph.inputs[0].shape, model.outputs
        self._layers: dict[str, Layer] = {}
        self._functions: dict[str, Function] = {}
        for node in model.graph.nodes:
            if node.weights:
                own, into = ([views[name] for name in node.weights] for views in (weights, totals))
                made = LAYERS[node.op](node, own, into, rows_of_unit * _positions(model, node))
                if isinstance(made, (Formed, Embedding)):
                    made.rows_of_unit = rows_of_unit
                self._layers[node.name] = made
            else:
                self._functions[node.name] = bind(node)
        per_row = max(model.graph.weight_elements, model.activations_per_row, model.scratch_per_row)
        self._units = max(1, min(ROWS, NUMBERS_IN_BLOCK // (per_row * rows_of_unit)))

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many units were not shortened."""
        units = len(features) // self._rows_of_unit
        blocks = -(-units // self._units)
        rows = self._rows_of_unit * -(-units // blocks)
        missing = blocks * rows - len(features)
        if missing:
            features = torch.cat([features, features.new_zeros(missing, features.shape[1])])
            targets, counts = (torch.cat([each, each.new_zeros(missing)]) for each in (targets, counts))
        parts = [slice(at, at + rows) for at in range(0, len(features), rows)]
        return sum(self._block(features[part], targets[part], counts[part], clip) for part in parts)

    def _block(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        kept, slopes, losses = self._backward(features.reshape(-1, *self._shape), targets)
        if self._rows_of_unit > 1:
            kept, slopes, counts = self._selected(kept, slopes, counts & torch.isfinite(losses))
            losses = losses.new_zeros(len(counts))
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

    def _selected(
        self, kept: Sequence[Tensor], slopes: Sequence[Tensor], counts: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...], Tensor]:
        """The same with every row emptied that does not count or is not finite, and which units have one that does."""
        for values in (*kept, *slopes):
            if values.is_floating_point():
                # A sum that overflows is a row that is beyond any use as well.
                counts = counts & torch.isfinite(values.flatten(1).sum(dim=1))
        units = counts.view(-1, self._rows_of_unit).any(dim=1)
        if bool(counts.all()):
            return list(kept), tuple(slopes), units
        return [_emptied(v, ~counts) for v in kept], tuple(_emptied(v, ~counts) for v in slopes), units

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


def _emptied(values: Tensor, rows: Tensor) -> Tensor:
    return values.masked_fill(rows.view(-1, *(1 for _ in values.shape[1:])), 0)


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
