"""One linear layer with one output: the gradient of a row is one number times the row. Child only.

Rules
-----
1. A row is a, its slope s: with a bias the gradient is s [a | 1] and its norm |s| r with r = sqrt(|a|^2 + 1), without
   one |s| |a|. Shortening it to the clip is holding s within clip / r: no factor is formed, and the clipped sum is one
   product of a vector and a matrix.
2. Nothing is copied but in a step with a row that is not finite itself; rows that come from a table never are.
3. Products run over blocks of at most `bounds.ROWS` rows in float32, and their sum is float64.
4. The losses' gradients in one score are written out here: sigmoid(score) - target, and score - target.
5. In a unit of several rows the sum of its rows' gradients, slopes times rows, is formed; then it is clipped as one.
6. numpy is quicker than torch on vectors of a few thousand numbers: everything but the sigmoid is its.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS, clip_factors, longest_slopes, squares
from privacy.training.bookkeeping.layers import Tensor

Singles: TypeAlias = NDArray[np.float32]


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
        self._weight, self._total = weights[names[0]].view(-1).numpy(), totals[names[0]].view(-1).numpy()
        self._bias, self._bias_total = None, None
        if len(names) == 2:
            self._bias, self._bias_total = weights[names[1]].numpy(), totals[names[1]].numpy()

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many rows were not shortened."""
        rows = features.numpy()
        most, usable = longest_slopes(features, self._bias is not None, clip)
        slopes = self._slopes(rows, targets.numpy())
        usable &= np.isfinite(slopes)
        if not usable.all():
            # The caller's rows stay as they are.
            rows, slopes = np.where(usable[:, None], rows, 0), np.where(usable, slopes, 0)
        # A row that is not usable may have no bound: then its slope, which is 0, stays.
        held = np.fmin(slopes, most)
        np.fmax(held, np.negative(most, out=most), out=held)
        usable &= counts.numpy()
        within = int(np.count_nonzero((held == slopes) & usable))
        np.multiply(held, usable, out=held)
        whole = len(held) // ROWS * ROWS
        if whole:
            self._add_blocks(rows[:whole].reshape(-1, ROWS, rows.shape[1]), held[:whole].reshape(-1, 1, ROWS))
        if whole < len(held):
            self._add_blocks(rows[None, whole:], held[None, None, whole:])
        if self._bias_total is not None:
            self._bias_total += held.sum(dtype=np.float64)
        return within

    def _slopes(self, rows: Singles, targets: Singles) -> Singles:
        """The gradients of the losses in the scores."""
        scores: Singles = np.dot(rows, self._weight)
        if self._bias is not None:
            np.add(scores, self._bias, out=scores)
        if self._logistic:
            torch.from_numpy(scores).sigmoid_()
        return np.subtract(scores, targets, out=scores)

    def _add_blocks(self, rows: Singles, slopes: Singles) -> None:
        """Of [blocks, rows, width] and [blocks, 1, rows]."""
        self._total += np.matmul(slopes, rows)[:, 0].sum(axis=0, dtype=np.float64)


class OneScoreOfUnits(OneScorePass):
    """Clipped sums of a linear or logistic regression over units of several rows, which lie side by side."""

    def __init__(
        self,
        model: CheckedGraph,
        loss: Loss,
        weights: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        per_layer: bool,
        rows_of_unit: int,
    ) -> None:
        super().__init__(model, loss, weights, totals, per_layer)
        self._rows_of_unit = rows_of_unit
        self._ones = np.ones(model.width, dtype=np.float32)

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many units were not shortened."""
        rows = features.numpy()
        slopes = self._slopes(rows, targets.numpy())
        # A sum that overflows is a row that is beyond any use as well.
        finite = np.isfinite(np.dot(rows, self._ones))
        usable = finite & np.isfinite(slopes) & counts.numpy()
        if not usable.all():
            slopes = np.where(usable, slopes, np.float32(0))
        if not finite.all():
            # The caller's rows stay as they are.
            rows = np.where(finite[:, None], rows, np.float32(0))
        shape = (-1, self._rows_of_unit)
        slopes, usable, rows = slopes.reshape(shape), usable.reshape(shape), rows.reshape(*shape, rows.shape[1])
        blocks = [slice(at, at + ROWS) for at in range(0, len(slopes), ROWS)]
        return sum(self._block(rows[part], slopes[part], usable[part].any(axis=1), clip) for part in blocks)

    def _block(self, rows: Singles, slopes: Singles, counts: NDArray[np.bool_], clip: float) -> int:
        """Of [units, rows of one, width], [units, rows of one] and [units]."""
        formed = np.matmul(slopes[:, None, :], rows)[:, 0]
        biased = slopes.sum(axis=1)
        squared = squares(torch.from_numpy(formed))
        if self._bias_total is not None:
            squared.add_(torch.from_numpy(np.square(biased, dtype=np.float64)))
        factors, within, broken = clip_factors(squared[None], torch.from_numpy(counts), clip)
        formed[broken.numpy()], biased[broken.numpy()] = 0, 0
        held = factors.numpy()[0]
        self._total += np.dot(held, formed)
        if self._bias_total is not None:
            self._bias_total += np.multiply(held, biased).sum(dtype=np.float64)
        return within
