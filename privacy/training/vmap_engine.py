"""Clipped sums of per-unit gradients, each formed alone under `vmap`: for any graph and any unit. Child only.

Rules
-----
1. One function of one row is differentiated and mapped over the rows: rows cannot meet, whatever the operations are.
2. Gradients are formed in float64, chunk by chunk within a memory bound; a unit is clipped exactly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch

from privacy.graph.check import CheckedGraph
from privacy.graph.torch_ops import bind_row
from privacy.jobs.spec import Loss
from privacy.training.engine import ClippedSum, Floats, MicroBatch, written
from privacy.training.losses import LOSSES

Tensor: TypeAlias = torch.Tensor
NUMBERS_AT_ONCE: Final = 2**23
_LEAST_NORM: Final = 1e-300
# `torch.func` loads torch's compiler, which insists on a directory to cache in. A confined child has none to write to;
# nothing is compiled here, so an existing one that is never written will do.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(torch.__file__).parent))


class VmapEngine:
    """The engine that forms every gradient.

    Args:
        model: A checked graph.
        loss: Of one row.
        per_layer: Clip each weighted node to clip / sqrt(number of them).
    """

    name: Final = "vmap"

    def __init__(self, model: CheckedGraph, loss: Loss, per_layer: bool = False) -> None:
        self._graph, self._loss, self._outputs = model.graph, LOSSES[loss], model.outputs
        self._functions = {node.name: bind_row(node) for node in model.graph.nodes}
        self._flat = torch.zeros(model.graph.weight_elements, dtype=torch.float64)
        self._weights: dict[str, Tensor] = {}
        offset = 0
        for weight in model.graph.weights:
            self._weights[weight.name] = self._flat[offset : offset + weight.elements].view(weight.shape)
            offset += weight.elements
        layers = [list(node.weights) for node in model.graph.nodes if node.weights]
        self._groups = layers if per_layer else [[name for layer in layers for name in layer]]
        self._per_row = max(model.graph.weight_elements, model.activations_per_row, model.scratch_per_row)
        self._gradients = torch.func.vmap(torch.func.grad_and_value(self._row), in_dims=(None, 0, 0))

    @property
    def size(self) -> int:
        """How many weights there are."""
        return len(self._flat)

    def set_weights(self, flat: Floats) -> None:
        """Set the weights, flattened in the graph's order."""
        np.copyto(self._flat.numpy(), flat)

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Floats | None = None) -> ClippedSum:
        """Sum what each unit's gradient is after it was shortened to `clip`; into a given vector, or a new one."""
        units, rows = batch.counts.shape
        at_once = max(1, NUMBERS_AT_ONCE // (self._per_row * rows))
        features = torch.from_numpy(batch.features).to(torch.float64)
        targets, counts = torch.from_numpy(batch.targets).to(torch.float64), torch.from_numpy(batch.counts)
        total, within = torch.zeros_like(self._flat), 0
        for start in range(0, units, at_once):
            part = slice(start, start + at_once)
            added, short = self._units(features[part], targets[part], counts[part], clip)
            total += added
            within += short
        return ClippedSum(total=written(total.numpy(), into), within=within)

    def _units(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> tuple[Tensor, int]:
        units, rows = counts.shape
        found, losses = self._gradients(self._weights, features.flatten(0, 1), targets.flatten())
        gradients = {name: gradient.flatten(1) for name, gradient in found.items()}
        keep = counts.flatten() & torch.isfinite(losses) & torch.isfinite(_norms(list(gradients.values())))
        for name, gradient in gradients.items():
            empty = torch.where(keep[:, None], gradient, 0.0)
            gradients[name] = empty.view(units, rows, -1).sum(dim=1)
        finite = torch.isfinite(_norms(list(gradients.values())))
        short = keep.view(units, rows).any(dim=1) & finite
        bound = clip / math.sqrt(len(self._groups))
        summed: dict[str, Tensor] = {}
        for group in self._groups:
            norms = _norms([gradients[name] for name in group])
            factors = torch.where(finite, torch.clamp(bound / norms.clamp(min=_LEAST_NORM), max=1.0), 0.0)
            short &= norms <= bound
            for name in group:
                summed[name] = factors @ torch.where(finite[:, None], gradients[name], 0.0)
        return torch.cat([summed[weight.name] for weight in self._graph.weights]), int(short.sum())

    def _row(self, weights: Mapping[str, Tensor], features: Tensor, target: Tensor) -> Tensor:
        """The loss of one row."""
        values = {self._graph.inputs[0].name: features.reshape(self._graph.inputs[0].shape)}
        for node in self._graph.nodes:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = self._functions[node.name](inputs, [weights[name] for name in node.weights])
        scores = values[self._graph.outputs[0]].reshape(1, self._outputs)
        return self._loss(scores, target.reshape(1))[0]


def _norms(gradients: list[Tensor]) -> Tensor:
    parts = torch.stack([torch.linalg.vector_norm(gradient, dim=1) for gradient in gradients])
    norms: Tensor = torch.linalg.vector_norm(parts, dim=0)
    return norms
