"""Clipped sums of per-unit gradients, from Opacus' per-sample gradients in fixed-shape micro-batches. Child only.

Rules
-----
1. A micro-batch has always the same shape: units x rows per unit. Free places are padding with weight zero.
2. Of each unit the gradients of its rows are summed, then clipped exactly to the engine's clip. One row per unit is the
   plain case. What a unit adds depends on its own rows and on the weights only.
3. A row whose features, loss or gradient is not finite contributes exactly zero, by selection, never by multiplying
   with zero. Likewise a unit whose sum overflows.
4. Arithmetic is float64: a row's gradient must not depend on where in the micro-batch it stands, and matrix products
   round differently at different places. In float64 that is below 1e-12 of the clip and inside the engine's margin.
5. Only per-sample gradients are read. Gradients that autograd accumulated over the batch are thrown away unread.

Reference: Abadi et al. 2016 (arXiv 1607.00133), algorithm 1; Opacus 1.6 `GradSampleModule` (hooks).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModule
from torch.nn import functional

from privacy.graph.check import CheckedGraph
from privacy.graph.torch_module import GraphModule
from privacy.jobs.spec import Loss

Floats: TypeAlias = NDArray[np.float64]

# The inputs of the first layer need no gradient; torch remarks on that once per call site.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Units with their rows, padded to one shape.

    Attributes:
        features: float32, shape [units, rows_per_unit, width].
        targets: float32, shape [units, rows_per_unit].
        counts: Which places hold a row that counts, shape [units, rows_per_unit].
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    counts: NDArray[np.bool_]


class Engine(Protocol):
    """What a run needs: clipped sums at given weights."""

    @property
    def size(self) -> int:
        """How many weights there are."""
        ...

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        ...

    def clipped_sum(self, batch: MicroBatch) -> Floats:
        """The sum of the clipped gradients of the units, shape [size]."""
        ...


class OpacusEngine:
    """The engine on Opacus.

    Args:
        model: A checked graph with one output.
        loss: Of one row.
        clip: What a unit's gradient is clipped to; the plan's `engine_clip`.
    """

    def __init__(self, model: CheckedGraph, loss: Loss, clip: float) -> None:
        self._shapes = {weight.name: weight.shape for weight in model.graph.weights}
        self._row_shape = model.graph.inputs[0].shape
        self._loss = LOSSES[loss]
        self._clip = clip
        zeros = {name: np.zeros(shape) for name, shape in self._shapes.items()}
        self._module = GraphModule(model, zeros, torch.float64)
        self._samples = GradSampleModule(self._module, batch_first=True, loss_reduction="sum", strict=True)
        self._parameters = list(self._module.by_name().values())

    @property
    def size(self) -> int:
        """How many weights there are."""
        return sum(parameter.numel() for parameter in self._parameters)

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        self._module.load(unflatten(flat, self._shapes))

    def clipped_sum(self, batch: MicroBatch) -> Floats:
        """The sum of the clipped gradients of the units, shape [size]."""
        units, rows = batch.counts.shape
        gradients = self._row_gradients(batch)
        if rows > 1:
            gradients = [gradient.view(units, rows, -1).sum(dim=1) for gradient in gradients]
            _empty(gradients, ~torch.isfinite(_norms(gradients)))
        scale = torch.clamp(self._clip / torch.clamp(_norms(gradients), min=_LEAST_NORM), max=1.0)
        return torch.cat([scale @ gradient for gradient in gradients]).numpy()

    def _row_gradients(self, batch: MicroBatch) -> list[torch.Tensor]:
        """Per-row gradients of each weight, shape [rows, ...]; zero for a row that does not count or is not finite."""
        counts = torch.from_numpy(batch.counts.reshape(-1))
        features = torch.from_numpy(batch.features).to(torch.float64).reshape(len(counts), *self._row_shape)
        targets = torch.from_numpy(batch.targets.reshape(-1)).to(torch.float64)
        losses = self._loss(self._samples(features).reshape(-1), targets)
        keep = counts & torch.isfinite(losses)
        torch.autograd.backward(torch.where(keep, losses, 0.0).sum())
        gradients = [_taken(parameter).reshape(len(keep), -1) for parameter in self._parameters]
        _empty(gradients, ~(keep & torch.isfinite(_norms(gradients))))
        return gradients


def flatten(values: Mapping[str, NDArray[Any]], order: Mapping[str, tuple[int, ...]]) -> Floats:
    """Arrays by name -> one float64 vector in the graph's order."""
    return np.concatenate([np.asarray(values[name], dtype=np.float64).reshape(-1) for name in order])


def unflatten(flat: Floats, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """The inverse of `flatten`."""
    values: dict[str, Floats] = {}
    offset = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=np.int64))
        values[name] = flat[offset : offset + size].reshape(shape)
        offset += size
    return values


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


def _taken(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Take a parameter's per-sample gradients and leave nothing behind: left over, they would count twice."""
    gradients = parameter.grad_sample  # type: ignore[attr-defined]
    if not isinstance(gradients, torch.Tensor):
        raise TypeError("one backward pass must leave one per-sample gradient")
    parameter.grad_sample = None  # type: ignore[attr-defined]
    parameter.grad = None
    return gradients.detach()


def _logistic(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.softplus(scores) - targets * scores


def _squared(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (scores - targets) ** 2 / 2


LOSSES: Final[dict[Loss, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    Loss.LOGISTIC: _logistic,
    Loss.SQUARED: _squared,
}
