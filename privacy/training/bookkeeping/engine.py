"""The book-keeping engine: clipped sums in float32 for graphs of proven operations and units of one row. Child only.

Rules
-----
1. Rows are summed as `bounds` says: what one unit can move stays within the plan's margin.
2. One linear layer with one output and chains of linear layers run by hand, every other graph through autograd; all
   give the same numbers up to rounding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.chain import ChainPass, is_chain
from privacy.training.bookkeeping.one_score import OneScorePass, is_one_score
from privacy.training.bookkeeping.taps import TapPass
from privacy.training.engine import ClippedSum, Floats, MicroBatch, written


class BookkeepingEngine:
    """The engine that forms as few gradients as it can.

    Args:
        model: A checked graph of proven operations.
        loss: Of one row.
        per_layer: Clip each weighted node to clip / sqrt(number of them).
    """

    name: Final = "bookkeeping"

    def __init__(self, model: CheckedGraph, loss: Loss, per_layer: bool = False) -> None:
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
        made = OneScorePass if is_one_score(model) else ChainPass if is_chain(model) else TapPass
        self._pass = made(model, loss, weights, totals, per_layer)

    @property
    def size(self) -> int:
        """How many weights there are."""
        return len(self._flat)

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        np.copyto(self._flat.numpy(), flat, casting="same_kind")

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Floats | None = None) -> ClippedSum:
        """Sum what each unit's gradient is after it was shortened to `clip`; into a given vector, or a new one."""
        if batch.counts.shape[1] != 1:
            raise InvalidError("book-keeping is for units of one row", field="engine")
        self._total.zero_()
        # A row that overflows is dealt with; a warning of it would say so to whoever reads what a child writes.
        with torch.no_grad(), np.errstate(all="ignore"):
            within = self._pass.add(
                torch.from_numpy(batch.features[:, 0]),
                torch.from_numpy(batch.targets[:, 0]),
                torch.from_numpy(batch.counts[:, 0]),
                clip,
            )
        return ClippedSum(total=written(self._total.numpy(), into), within=within)
