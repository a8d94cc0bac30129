"""Pooling runs over channels that lie side by side, since that is quicker: it must be the very same pooling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy.graph.spec import Node
from privacy.graph.torch_ops import bind


@pytest.mark.parametrize("padding", [0, 1])
def test_pooling_over_channels_side_by_side_is_the_same_pooling(padding: int) -> None:
    """Values and gradients are bit for bit those of the plain layout, ties and all; not a number stays one."""
    attributes = (("kernel", (2, 3)), ("padding", (padding, padding)), ("stride", (1, 2)))
    node = Node(name="pool", op="max_pool2d", inputs=("x",), weights=(), attributes=attributes)
    draw = np.random.default_rng(3)
    rows = torch.from_numpy(draw.integers(-1, 2, (6, 5, 9, 8)).astype(np.float32)).clamp_(min=0.0)
    rows[4, 2, 3, 3] = torch.nan
    pulled = []
    for pool in (
        lambda value: bind(node)([value], ()),
        lambda value: torch.nn.functional.max_pool2d(value, (2, 3), (1, 2), padding),
    ):
        value = rows.clone().requires_grad_()
        result = pool(value)
        pull = torch.from_numpy(np.random.default_rng(4).normal(size=result.shape).astype(np.float32))
        (gradient,) = torch.autograd.grad((result * pull).sum(), value)
        pulled.append((result.detach().numpy(), gradient.numpy()))
    assert np.array_equal(pulled[0][0], pulled[1][0], equal_nan=True)
    assert np.array_equal(pulled[0][1], pulled[1][1], equal_nan=True)
