"""One linear layer with one output: the gradient of a row is one number times the row. Child only.

Rules
-----
1. A row is a, its slope s: with a bias the gradient is s [a | 1], its squared norm s^2 (|a|^2 + 1), and the clipped sum
   one product of a vector and a matrix. Nothing is copied but in a step with a row that is not finite itself; rows that
   come from a table never are.
2. Products run over blocks of at most `bounds.ROWS` rows in float32, and their sum is float64.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from privacy.graph.check import CheckedGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS, clip_factors, outer_squares
from privacy.training.bookkeeping.layers import Tensor
from privacy.training.losses import SLOPES


def is_one_score(model: CheckedGraph) -> bool:
    """Whether the graph is one linear layer, of flat rows, with one output."""
    nodes = model.graph.nodes
    return (
        len(nodes) == 1
        and nodes[0].op == "linear"
        and len(model.shapes[nodes[0].inputs[0]]) == 1
        and model.outputs == 1
        and model.graph.outputs[0] == nodes[0].name
    )


class OneScorePass:
    """Clipped sums of a linear or logistic regression.

    Args:
        model: A graph for which `is_one_score` holds.
        loss: Of one row.
        weights: Views of the weights by name.
        totals: Views of the float64 total by name.
        per_layer: Whether each layer is clipped by itself: with one layer the same.
    """

    def __init__(
        self,
        model: CheckedGraph,
        loss: Loss,
        weights: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        per_layer: bool,  # noqa: ARG002 - one layer is all layers
    ) -> None:
        self._slope = SLOPES[loss]
        names = model.graph.nodes[0].weights
        self._weight, self._total = weights[names[0]].view(-1), totals[names[0]].view(-1)
        self._bias, self._bias_total = (weights[names[1]], totals[names[1]]) if len(names) == 2 else (None, None)

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many rows were not shortened."""
        scores = torch.mv(features, self._weight)
        if self._bias is not None:
            scores += self._bias
        slope = self._slope(scores[:, None], targets)
        squared = outer_squares(features, slope, self._bias is not None)
        factors, within, broken = clip_factors(squared[None], counts, clip)
        slope = slope[:, 0]
        if len(broken):
            # The caller's rows stay as they are.
            features = features.index_fill(0, broken, 0.0)
            slope.index_fill_(0, broken, 0.0)
        self._add(features, slope.mul_(factors[0]))
        return within

    def _add(self, features: Tensor, slope: Tensor) -> None:
        whole = len(slope) // ROWS * ROWS
        if whole:
            self._add_blocks(features[:whole].unflatten(0, (-1, ROWS)), slope[:whole].view(-1, ROWS))
        if whole < len(slope):
            self._add_blocks(features[None, whole:], slope[None, whole:])

    def _add_blocks(self, features: Tensor, slope: Tensor) -> None:
        """Of [blocks, rows, width] and [blocks, rows]."""
        self._total += torch.bmm(slope[:, None], features)[:, 0].sum(dim=0, dtype=torch.float64)
        if self._bias_total is not None:
            self._bias_total += slope.sum(dim=1).sum(dim=0, dtype=torch.float64)
