"""Convolutions: the row's gradient is formed as a product over unfolded windows. Child only."""

from __future__ import annotations

import torch
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
        windows = functional.unfold(value, self._window, self._dilation, self._padding, self._stride)
        rows, _, places = windows.shape
        slopes = slope.reshape(rows * self._groups, -1, places)
        matrix = torch.bmm(slopes, windows.view(rows * self._groups, -1, places).transpose(1, 2))
        matrix = matrix.view(rows, -1)
        if len(self._weights) == 1:
            return self.keep(matrix)
        return self.keep(matrix, slope.flatten(2).sum(dim=2))
