"""Clipped sums of per-unit gradients, from Opacus' per-sample gradients in fixed-shape micro-batches. Child only.

Rules
-----
1. Each row's gradient is formed and its norm computed from it; a unit is clipped exactly.
2. Arithmetic is float64, so that a sum's rounding is below 1e-12 of the clip.
3. Only per-sample gradients are read. Gradients that autograd accumulated over the batch are thrown away unread.

Reference: Abadi et al. 2016 (arXiv 1607.00133), algorithm 1; Opacus 1.6 `GradSampleModule` (hooks).
"""

from __future__ import annotations

import math
import warnings
from typing import Final

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule

from privacy.graph.check import CheckedGraph
from privacy.graph.torch_module import GraphModule
from privacy.jobs.spec import Loss
from privacy.training.engine import ClippedSum, Floats, MicroBatch, unflatten, written
from privacy.training.losses import LOSSES

# The inputs of the first layer need no gradient; torch remarks on that once per call site.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)


class OpacusEngine:
    """The engine on Opacus.

    Args:
        model: A checked graph.
        loss: Of one row.
        per_layer: Clip each weighted node to clip / sqrt(number of them).
    """

    name: Final = "opacus"

    def __init__(self, model: CheckedGraph, loss: Loss, per_layer: bool = False) -> None:
        self._shapes = {weight.name: weight.shape for weight in model.graph.weights}
        self._row_shape = model.graph.inputs[0].shape
        self._loss = LOSSES[loss]
        zeros = {name: np.zeros(shape) for name, shape in self._shapes.items()}
        self._module = GraphModule(model, zeros, torch.float64)
        self._samples = GradSampleModule(self._module, batch_first=True, loss_reduction="sum", strict=True)
        by_name = self._module.by_name()
        self._parameters = list(by_name.values())
        layers = [list(node.weights) for node in model.graph.nodes if node.weights]
        groups = layers if per_layer else [list(by_name)]
        place = {name: number for number, name in enumerate(by_name)}
        self._groups = [[place[name] for name in group] for group in groups]

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(parameter.numel() for parameter in self._parameters)

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        self._module.load(unflatten(flat, self._shapes))

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Floats | None = None) -> ClippedSum:
        """Sum what each unit's gradient is after it was shortened to `clip`; into a given vector, or a new one."""
        units, rows = batch.counts.shape
        gradients, kept = self._row_gradients(batch)
        within = kept.view(units, rows).any(dim=1)
        if rows > 1:
            gradients = [gradient.view(units, rows, -1).sum(dim=1) for gradient in gradients]
            finite = torch.isfinite(_norms(gradients))
            within &= finite
            _empty(gradients, ~finite)
        bound = clip / math.sqrt(len(self._groups))
        sums: dict[int, torch.Tensor] = {}
        for group in self._groups:
            norms = _norms([gradients[place] for place in group])
            within &= norms <= bound
            scale = torch.clamp(bound / torch.clamp(norms, min=_LEAST_NORM), max=1.0)
            sums |= {place: scale @ gradients[place] for place in group}
        total = torch.cat([sums[place] for place in range(len(gradients))])
        return ClippedSum(total=written(total.numpy(), into), within=int(within.sum()))

    def _row_gradients(self, batch: MicroBatch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Per-row gradients of each weight, [rows, ...], and which rows count and are finite; zero for the others."""
        counts = torch.from_numpy(batch.counts.reshape(-1))
        features = torch.from_numpy(batch.features).to(torch.float64).reshape(len(counts), *self._row_shape)
        targets = torch.from_numpy(batch.targets.reshape(-1)).to(torch.float64)
        losses = self._loss(self._samples(features).reshape(len(counts), -1), targets)
        keep = counts & torch.isfinite(losses)
        torch.autograd.backward(torch.where(keep, losses, 0.0).sum())
        gradients = [_taken(parameter, len(keep)) for parameter in self._parameters]
        keep &= torch.isfinite(_norms(gradients))
        _empty(gradients, ~keep)
        return gradients, keep


_LEAST_NORM = 1e-300
"""Keeps the division finite; a unit this short is not scaled anyway."""


def _norms(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm of each row over all weights; not finite if any element is not, or if its square overflows."""
    parts = torch.stack([torch.linalg.vector_norm(gradient, dim=1) for gradient in gradients])
    norms: torch.Tensor = torch.linalg.vector_norm(parts, dim=0)
    return norms


def _empty(gradients: list[torch.Tensor], rows: torch.Tensor) -> None:
    """Set rows to zero in place: a selection, so that NaN x 0 cannot happen."""
    for gradient in gradients:
        gradient.masked_fill_(rows[:, None], 0.0)


def _taken(parameter: torch.nn.Parameter, rows: int) -> torch.Tensor:
    """Take a parameter's per-sample gradients, [rows, elements], and leave nothing behind: they would count twice.

    A weight to which no way leads back from the loss (below an embedding, which reads whole numbers) has none: zeros.
    """
    gradients = parameter.grad_sample  # type: ignore[attr-defined]
    parameter.grad_sample = None  # type: ignore[attr-defined]
    parameter.grad = None
    if gradients is None:
        return torch.zeros(rows, parameter.numel(), dtype=parameter.dtype)
    if not isinstance(gradients, torch.Tensor):
        raise TypeError("one backward pass must leave one per-sample gradient")
    return gradients.detach().reshape(rows, -1)
