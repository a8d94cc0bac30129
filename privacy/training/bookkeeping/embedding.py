"""Embeddings: a row's gradient touches the entries that the row names, each once. Child only.

Within a row, the gradients of all places that name the same entry are summed at the first of them; the others become
0. These sums are the row's gradient, formed: their norm is exact however much cancels, and across rows an entry gets at
most one number other than 0 from each row.
"""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional

from privacy.graph.torch_ops import entries
from privacy.training.bookkeeping.bounds import squares
from privacy.training.bookkeeping.layers import Tensor

_SUM_BY_ENTRY: Final = torch.ops.aten.embedding_dense_backward.default


class Embedding:
    """A table that rows read entries of."""

    def __init__(self, weights: list[Tensor], totals: list[Tensor]) -> None:
        self.rows_of_unit = 1
        (self._table,), (self._total,) = weights, totals
        self._places = self._formed = torch.empty(0)

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the entries that the row names."""
        places = entries(value, len(self._table))
        return functional.embedding(places, self._table), places

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Of the sums by entry."""
        # The rows of a unit are further places of it.
        rows, width = len(kept) // self.rows_of_unit, self._table.shape[1]
        self._places = kept.reshape(rows, -1)
        length = self._places.shape[1]
        first = _first_of_kind(self._places) + length * torch.arange(rows)[:, None]
        self._formed = _SUM_BY_ENTRY(slope.reshape(rows * length, width), first.view(-1), rows * length, -1, False)
        self._formed = self._formed.view(rows, length, width)
        return squares(self._formed)

    def add(self, factors: Tensor, broken: Tensor) -> None:
        """Sum by entry over the rows."""
        scaled = self._formed.index_fill_(0, broken, 0.0).mul_(factors[:, None, None])
        flat = scaled.view(-1, self._table.shape[1])
        self._total.add_(_SUM_BY_ENTRY(flat, self._places.reshape(-1), len(self._table), -1, False))


def _first_of_kind(places: Tensor) -> Tensor:
    """For each place of a row, the first place of the row that names the same entry: [n, length] -> [n, length]."""
    ordered, order = places.sort(dim=1, stable=True)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    begin = torch.where(starts, torch.arange(places.shape[1]), 0).cummax(dim=1).values
    return torch.empty_like(order).scatter_(1, order, order.gather(1, begin))
