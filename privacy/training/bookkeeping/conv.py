"""Convolutions: the row's gradient is formed as a product over unfolded windows. Child only."""

from __future__ import annotations

import math

from torch.nn import functional

from privacy.graph.spec import Node
from privacy.graph.torch_ops import bind
from privacy.training.bookkeeping.layers import Formed, Tensor


class Conv(Formed):
    """A convolution over one or two sides, with groups and dilation."""

    def __init__(self, node: Node, weights: list[Tensor], totals: list[Tensor]) -> None:
        super().__init__(totals)
        self._run, self._weights, self._groups = bind(node), weights, node.whole("groups")
        # A convolution over one side is one over two, the first of which is 1.
        before = (1,) if node.op == "conv1d" else ()
        self._window = (*before, *weights[0].shape[2:])
        self._stride, self._dilation = ((*before, *node.wholes(name)) for name in ("stride", "dilation"))
        self._padding = (*(0 for _ in before), *node.wholes("padding"))

    def run(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Result, and the input."""
        return self._run([value], self._weights), value

    def squared(self, kept: Tensor, slope: Tensor) -> Tensor:
        """Of the formed gradient."""
        value = kept.unsqueeze(2) if kept.dim() == 3 else kept
        windows = self._unfolded(value)
        rows, _, places = windows.shape
        slopes = slope.reshape(rows * self._groups, -1, places)
        matrix = self.product(slopes, windows.view(rows * self._groups, -1, places).transpose(1, 2))
        matrix = matrix.view(rows, -1)
        if len(self._weights) == 1:
            return self.keep(matrix)
        return self.keep(matrix, slope.flatten(2).sum(dim=2))

    def _unfolded(self, value: Tensor) -> Tensor:
        """What `functional.unfold` gives, in one copy: [n, channels, height, width] -> [n, window, places]."""
        if any(self._padding):
            value = functional.pad(value, (self._padding[1],) * 2 + (self._padding[0],) * 2)
        row, channel, *steps = value.stride()
        sides, window, places = value.shape[2:], self._window, []
        for side, size, stride, dilation in zip(sides, window, self._stride, self._dilation, strict=True):
            places.append((side - dilation * (size - 1) - 1) // stride + 1)
        inside = [step * dilation for step, dilation in zip(steps, self._dilation, strict=True)]
        along = [step * stride for step, stride in zip(steps, self._stride, strict=True)]
        views = value.as_strided(
            (*value.shape[:2], *window, *places), (row, channel, *inside, *along), value.storage_offset()
        )
        return views.reshape(len(value), -1, math.prod(places))
