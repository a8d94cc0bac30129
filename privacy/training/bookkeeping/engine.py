"""The book-keeping engine: clipped sums in float32 for graphs of proven operations. Child only.

Rules
-----
1. Rows are summed as `bounds` says: what one unit can move stays within the plan's margin.
2. One linear layer with one output and, for units of one row, chains of linear layers run by hand, every other graph
   through autograd; all give the same numbers up to rounding.
3. Of a unit of several rows the gradients are summed before anything is clipped, and its norm is that of the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import numpy as np
import torch

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.chain import ChainPass, is_chain
from privacy.training.bookkeeping.one_score import OneScoreOfUnits, OneScorePass, is_one_score
from privacy.training.bookkeeping.taps import TapPass
from privacy.training.engine import ClippedSum, Floats, MicroBatch, written


class Pass(Protocol):
    """Forward and backward over a micro-batch whose rows lie side by side."""

    def add(self, features: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor, clip: float) -> int:
        """Add the clipped sum to the totals; return how many units were not shortened."""
        ...


class BookkeepingEngine:
    """The engine that forms as few gradients as it can.

    Args:
        model: A checked graph of proven operations.
        loss: Of one row.
        per_layer: Clip each weighted node to clip / sqrt(number of them).
        rows_per_unit: How many places for rows a unit has in a micro-batch.
    """

    name: Final = "bookkeeping"

    def __init__(self, model: CheckedGraph, loss: Loss, per_layer: bool = False, rows_per_unit: int = 1) -> None:
        if not model.proven:
            raise InvalidError("a graph with an operation that is not proven runs under vmap", field="engine")
        self._flat = torch.zeros(model.graph.weight_elements)
        self._total = torch.zeros(model.graph.weight_elements, dtype=torch.float64)
        weights, totals, offset = {}, {}, 0
        for weight in model.graph.weights:
            part = slice(offset, offset + weight.elements)
            weights[weight.name] = self._flat[part].view(weight.shape)
            totals[weight.name] = self._total[part].view(weight.shape)
            offset = part.stop
        self._rows, self._pass = rows_per_unit, _pass_for(model, rows_per_unit)(model, loss, weights, totals, per_layer)

    @property
    def size(self) -> int:
        """How many weights there are."""
        return len(self._flat)

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        np.copyto(self._flat.numpy(), flat, casting="same_kind")

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Floats | None = None) -> ClippedSum:
        """Sum what each unit's gradient is after it was shortened to `clip`; into a given vector, or a new one."""
        if batch.counts.shape[1] != self._rows:
            raise InvalidError("this engine was made for units of another number of rows", field="engine")
        self._total.zero_()
        # A row that overflows is dealt with; a warning of it would say so to whoever reads what a child writes.
        with torch.no_grad(), np.errstate(all="ignore"):
            within = self._pass.add(
                torch.from_numpy(batch.features.reshape(-1, batch.features.shape[2])),
                torch.from_numpy(batch.targets.reshape(-1)),
                torch.from_numpy(batch.counts.reshape(-1)),
                clip,
            )
        return ClippedSum(total=written(self._total.numpy(), into), within=within)


def _pass_for(model: CheckedGraph, rows_per_unit: int) -> Callable[..., Pass]:
    """The quickest pass that covers the graph and the units."""
    if rows_per_unit > 1:
        made: Callable[..., Pass] = OneScoreOfUnits if is_one_score(model) else TapPass
        return partial(made, rows_of_unit=rows_per_unit)
    return OneScorePass if is_one_score(model) else ChainPass if is_chain(model) else TapPass
