"""One linear layer with one output: the gradient of a row is one number times the row. Child only.

Rules
-----
1. A row is a, its slope s: with a bias the gradient is s [a | 1], its squared norm s^2 (|a|^2 + 1), and the clipped sum
   one product of a vector and a matrix. Nothing is copied but in a step with a row that is not finite itself; rows that
   come from a table never are.
2. Products run over blocks of at most `bounds.ROWS` rows in float32, and their sum is float64.
3. The losses' gradients in one score are written out here: sigmoid(score) - target, and score - target.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from privacy.graph.check import CheckedGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS, clip_factors, outer_squares
from privacy.training.bookkeeping.layers import Tensor


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
        self._logistic = loss is Loss.LOGISTIC
        names = model.graph.nodes[0].weights
        self._weight, self._total = weights[names[0]].view(-1), totals[names[0]].view(-1).numpy()
        self._bias, self._bias_total = None, None
        if len(names) == 2:
            self._bias, self._bias_total = weights[names[1]].numpy(), totals[names[1]].numpy()

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many rows were not shortened."""
        slope = self._slopes(features, targets)
        squared = outer_squares(features, slope[:, None], self._bias is not None)
        factors, within, broken = clip_factors(squared[None], counts, clip)
        if broken.shape[0]:
            # The caller's rows stay as they are.
            features = features.index_fill(0, broken, 0.0)
            slope.index_fill_(0, broken, 0.0)
        slope *= factors[0]
        whole = slope.shape[0] // ROWS * ROWS
        if whole:
            self._add_blocks(features[:whole].view(-1, ROWS, features.shape[1]), slope[:whole].view(-1, 1, ROWS))
        if whole < slope.shape[0]:
            self._add_blocks(features[None, whole:], slope[None, None, whole:])
        if self._bias_total is not None:
            self._bias_total += slope.numpy().sum(dtype=np.float64)
        return within

    def _slopes(self, features: Tensor, targets: Tensor) -> Tensor:
        """The gradients of the losses in the scores."""
        scores = torch.mv(features, self._weight)
        if self._bias is not None:
            values = scores.numpy()
            np.add(values, self._bias, out=values)
        return (scores.sigmoid_() if self._logistic else scores).sub_(targets)

    def _add_blocks(self, features: Tensor, slope: Tensor) -> None:
        """Of [blocks, rows, width] and [blocks, 1, rows]."""
        self._total += torch.bmm(slope, features).numpy()[:, 0].sum(axis=0, dtype=np.float64)
