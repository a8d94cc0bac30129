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

import numpy as np
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
    labels, (rows, classes) = targets.numpy(), scores.shape
    known = (labels >= 0) & (labels < classes)
    chosen = np.where(known, labels, 0).astype(np.int64)
    slopes = torch.softmax(scores, dim=1)
    # In numpy, which is quicker on so few numbers; a row has one place in the flat array, so no place comes twice.
    slopes.view(-1).numpy()[chosen + np.arange(0, rows * classes, classes)] -= np.where(known, 1, np.nan)
    return slopes


SLOPES: Final[dict[Loss, RowLoss]] = {
    Loss.LOGISTIC: _logistic_slope,
    Loss.SQUARED: _squared_slope,
    Loss.SOFTMAX: _softmax_slope,
}
"""The gradients of the losses in the scores, [n, outputs], in closed form: for a pass without autograd."""
