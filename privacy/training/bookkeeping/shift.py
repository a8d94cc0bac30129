"""Shifts: the gradient of an added array is the gradient of the result. Child only."""

from __future__ import annotations

from privacy.training.bookkeeping.layers import Formed, Tensor


class Shift(Formed):
    """A learned array of the row's shape."""

    def __init__(self, weights: list[Tensor], totals: list[Tensor]) -> None:
        super().__init__(totals)
        (self._weight,) = weights

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result; nothing is needed beside its gradient."""
        result = value + self._weight
        return result, result

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG002 - the gradient says it all
        """Of the result's gradient."""
        return self.keep(slope)
