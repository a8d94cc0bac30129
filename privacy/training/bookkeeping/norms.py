"""Layer and group norms: the gradient is a sum over positions of slope times normalised input, formed. Child only."""

from __future__ import annotations

import torch
from torch.nn import functional

from privacy.graph.spec import Node
from privacy.training.bookkeeping.layers import Formed, Tensor


class LayerNorm(Formed):
    """A norm over the last sides of a row."""

    def __init__(self, node: Node, weights: list[Tensor], totals: list[Tensor]) -> None:
        super().__init__(totals)
        self._weight, self._bias = weights
        self._eps = node.number("eps")

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the normalised input."""
        normal = functional.layer_norm(value, self._weight.shape, eps=self._eps)
        return torch.addcmul(self._bias, normal, self._weight), normal

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Of the sums over positions."""
        shape = (len(slope), -1, self._weight.numel())
        slopes = slope.reshape(shape)
        return self.keep((slopes * kept.reshape(shape)).sum(dim=1), slopes.sum(dim=1))


class GroupNorm(Formed):
    """A norm over groups of channels."""

    def __init__(self, node: Node, weights: list[Tensor], totals: list[Tensor]) -> None:
        super().__init__(totals)
        self._weight, self._bias = weights
        self._groups, self._eps = node.whole("groups"), node.number("eps")

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the normalised input."""
        normal = torch.group_norm(value, self._groups, None, None, self._eps)
        shape = (-1, *(1 for _ in value.shape[2:]))
        return torch.addcmul(self._bias.view(shape), normal, self._weight.view(shape)), normal

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Of the sums over positions."""
        shape = (len(slope), len(self._weight), -1)
        slopes = slope.reshape(shape)
        return self.keep((slopes * kept.reshape(shape)).sum(dim=2), slopes.sum(dim=2))
