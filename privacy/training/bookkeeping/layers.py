"""What every weighted node of a graph must offer to book-keeping. Child only.

Rules
-----
1. `run` computes the node on a batch and says what is kept beside the result.
2. `squared` gives the squared norms, in float64, of the very float32 numbers that `add` multiplies and sums.
3. `add` takes broken rows out by selection before it multiplies, and sums at most `bounds.ROWS` rows in float32.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import torch

from privacy.training.bookkeeping.bounds import squares

Tensor: TypeAlias = torch.Tensor


def product(left: Tensor, right: Tensor, into: Tensor) -> Tensor:
    """Left @ right by numpy's kernels, which beat torch's by an eighth on the machines that were measured."""
    np.matmul(left.numpy(), right.numpy(), out=into.numpy())
    return into


def add_blocks(total: Tensor, sums: Tensor) -> None:
    """Add the sums of a few blocks to a float64 total: float32 over the blocks, into the first of them."""
    first, whole = sums[0].numpy(), total.numpy()
    for block in sums[1:].numpy():
        np.add(first, block, out=first)
    np.add(whole, first, out=whole)


class Layer(Protocol):
    """A weighted node."""

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The node's result, and what the gradients of its weights need beside the gradient of the result."""
        ...

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Squared norms of the rows' gradients of this node's weights, float64 [n]."""
        ...

    def add(self, factors: Tensor, broken: Tensor) -> None:
        """Add the rows' gradients times their factors to the total."""
        ...


class Formed:
    """The gradients of some weights, formed unit by unit and kept until the factors are known.

    Attributes:
        rows_of_unit: How many rows lie side by side for each unit; their gradients are summed.

    What a row contributes is its factor times these numbers: their own rounding is the row's, and their norm is the
    contribution's norm however much cancelled on the way.
    """

    def __init__(self, totals: list[Tensor]) -> None:
        self.rows_of_unit = 1
        self._totals = totals
        self._formed: list[Tensor] = []
        self._matrices = torch.empty(0)

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """A product for each row, in memory that the next block uses again: fresh memory is slow."""
        shape = (left.shape[0], left.shape[1], right.shape[2])
        if self._matrices.shape != shape:
            self._matrices = torch.empty(shape)
        return product(left, right, self._matrices)

    def keep(self, *formed: Tensor) -> Tensor:
        """Keep the rows' gradients, [n, ...weight shape] for each weight; return the units' squared norms."""
        if self.rows_of_unit > 1:
            units = len(formed[0]) // self.rows_of_unit
            formed = tuple(gradient.reshape(units, self.rows_of_unit, -1).sum(dim=1) for gradient in formed)
        return self.keep_summed(*formed)

    def keep_summed(self, *formed: Tensor) -> Tensor:
        """Keep the units' gradients; return their squared norms."""
        # A slope may be one number spread over many places: numbers that are filled in place need memory of their own.
        self._formed = [gradient.flatten(1).contiguous() for gradient in formed]
        result = squares(self._formed[0])
        for gradient in self._formed[1:]:
            result += squares(gradient)
        return result

    def add(self, factors: Tensor, broken: Tensor) -> None:
        """Add what is kept, times the factors, to the totals."""
        for gradient, total in zip(self._formed, self._totals, strict=True):
            if len(broken):
                gradient.index_fill_(0, broken, 0.0)
            whole = total.view(-1).numpy()
            np.add(whole, np.dot(factors.numpy(), gradient.numpy()), out=whole)
        self._formed = []
