"""Linear layers: on one position of a row by norms of input and output gradient, on several by forming. Child only.

On one position the gradient is the outer product of b, the gradient of the result, and a, the input; with a bias also
b itself. Its squared norm is |b|^2 (|a|^2 + 1), of non-negative terms: nothing cancels. On several positions it is the
sum of one outer product for each, which can cancel: there the sum is formed, row by row.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from privacy.training.bookkeeping.bounds import outer_squares
from privacy.training.bookkeeping.layers import Formed, Layer, Tensor


def linear(weights: list[Tensor], totals: list[Tensor], positions: int) -> Layer:
    """The layer for a node that sees `positions` vectors in each row."""
    return OnePosition(weights, totals) if positions == 1 else Positions(weights, totals)


class OnePosition:
    """One vector in each row."""

    def __init__(self, weights: list[Tensor], totals: list[Tensor]) -> None:
        self._weights, self._totals = weights, totals
        self._value = self._slope = torch.empty(0)

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the input."""
        return functional.linear(value, *self._weights), value

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """|b|^2 (|a|^2 + 1)."""
        self._value, self._slope = kept.flatten(1), slope.flatten(1)
        return outer_squares(self._value, self._slope, len(self._weights) == 2)

    def add(self, factors: Tensor, broken: Tensor) -> None:
        """One product over the rows."""
        # The input may be shared with another node: it is not changed.
        value = self._value.index_fill(0, broken, 0.0)
        slope = self._slope.index_fill(0, broken, 0.0).mul_(factors[:, None])
        self._totals[0].add_(slope.t() @ value)
        if len(self._totals) == 2:
            self._totals[1].add_(slope.sum(dim=0))


class Positions(Formed):
    """Several vectors in each row."""

    def __init__(self, weights: list[Tensor], totals: list[Tensor]) -> None:
        super().__init__(totals)
        self._weights = weights

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the input."""
        return functional.linear(value, *self._weights), value

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Of the formed gradient."""
        # The rows of a unit are further positions of it.
        units = len(kept) // self.rows_of_unit
        value = kept.reshape(units, -1, kept.shape[-1])
        slopes = slope.reshape(units, -1, slope.shape[-1])
        matrix = self.product(slopes.transpose(1, 2), value)
        biased = len(self._weights) == 2
        return self.keep_summed(matrix, slopes.sum(dim=1)) if biased else self.keep_summed(matrix)
