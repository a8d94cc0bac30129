"""The losses of one row, from its scores and its target. Child only.

Rules
-----
1. The table is closed: no loss is uploaded. Each entry maps scores [n, outputs] and targets [n] to losses [n], row by
   row, and is written so that it does not overflow where its value is finite.
2. A target that the loss does not know makes that row's loss not a number; the engine then drops the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from torch.nn import functional

from privacy.jobs.spec import Loss

RowLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _logistic(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.softplus(scores[:, 0]) - targets * scores[:, 0]


def _squared(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (scores[:, 0] - targets) ** 2 / 2


def _softmax(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    classes = scores.shape[1]
    known = (targets >= 0) & (targets < classes)
    chosen = torch.where(known, targets, 0.0).to(torch.int64)
    losses = torch.logsumexp(scores, dim=1) - scores.gather(1, chosen[:, None])[:, 0]
    return torch.where(known, losses, torch.nan)


LOSSES: Final[dict[Loss, RowLoss]] = {
    Loss.LOGISTIC: _logistic,
    Loss.SQUARED: _squared,
    Loss.SOFTMAX: _softmax,
}


def _logistic_slope(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(scores) - targets[:, None]


def _squared_slope(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return scores - targets[:, None]


def _softmax_slope(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    known = (targets >= 0) & (targets < scores.shape[1])
    chosen = torch.where(known, targets, 0.0).to(torch.int64)
    slopes = torch.softmax(scores, dim=1)
    ones = torch.where(known, -1.0, torch.nan).to(scores.dtype)
    return slopes.scatter_add_(1, chosen[:, None], ones[:, None])


SLOPES: Final[dict[Loss, RowLoss]] = {
    Loss.LOGISTIC: _logistic_slope,
    Loss.SQUARED: _squared_slope,
    Loss.SOFTMAX: _softmax_slope,
}
"""The gradients of the losses in the scores, [n, outputs], in closed form: for a pass without autograd."""
