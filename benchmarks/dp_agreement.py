"""Before anything is measured: ours and Opacus' per-sample gradients give the same clipped sums.

Rules
-----
1. The reference is Opacus on the peers' own torch module in float64: neither our graph, nor our layers, nor our loss.
2. One unit at a time within 1e-6 of the clip; a whole batch within 1e-6 of the clip for each of its units.
3. Labels and weights are such that most gradients are longer than the clip: otherwise nothing would be compared.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from torch import nn

from benchmarks.dp_cases import Case, Network, Table, made_up
from benchmarks.peers import ours
from benchmarks.peers.networks import criterion_of, load_flat, module_of, tensors_of
from privacy.training.engine import MicroBatch

# The inputs of the first layer need no gradient; torch remarks on that once per call site.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)

TOLERANCE = 1e-6
CLIP = 0.125
ROWS = 16
_START = 1
"""Seed of the weights."""


def check_agreement(case: Case) -> float:
    """Compare on made-up rows.

    Returns:
        The largest difference of one unit, in units of the clip.

    Raises:
        ValueError: They differ.
    """
    table = made_up(case.network, ROWS)
    model = ours.model_of(case.network)
    engine = ours.engine_of(ours.plan_of(case, model), model)
    weights = np.random.default_rng(_START).normal(0, 0.125, engine.size)
    engine.set_weights(weights)
    clipped = _clipped_by_opacus(case.network, weights, table)
    batch = ours.batch_of(table)
    alone = np.array([engine.clipped_sum(_only(batch, row), CLIP).total for row in range(ROWS)])
    differences = np.linalg.norm(alone - clipped, axis=1) / CLIP
    together = np.linalg.norm(engine.clipped_sum(batch, CLIP).total - clipped.sum(axis=0)) / CLIP
    if not (differences.max() <= TOLERANCE and together <= TOLERANCE * ROWS):
        raise ValueError(
            f"{case.name}: ours and Opacus differ by {differences.max():.2e} of the clip in a unit, "
            f"by {together:.2e} in the sum of {ROWS}"
        )
    return float(differences.max())


def _only(batch: MicroBatch, row: int) -> MicroBatch:
    """The same micro-batch in which one place counts."""
    counts = np.zeros_like(batch.counts)
    counts[row] = True
    return MicroBatch(features=batch.features, targets=batch.targets, counts=counts)


def _clipped_by_opacus(network: Network, weights: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
    """Each row's gradient, shortened to the clip: shape [rows, size]."""
    module = module_of(network).double()
    load_flat(module, weights)
    samples = GradSampleModule(module, loss_reduction="sum")
    rows, labels = tensors_of(network, table)
    criterion: Any = criterion_of(network)
    criterion.reduction = "sum"
    criterion(
        samples(rows if network.tokens else rows.double()), labels.double() if network.outputs == 1 else labels
    ).backward()
    gradients = torch.cat(
        [_taken(parameter).reshape(len(rows), -1) for parameter in module.parameters()], dim=1
    ).numpy()
    norms = np.linalg.norm(gradients, axis=1)
    if np.mean(norms > CLIP) < 0.5:
        raise ValueError("too few gradients are longer than the clip")
    found: NDArray[np.float64] = gradients * np.minimum(1.0, CLIP / norms)[:, None]
    return found


def _taken(parameter: nn.Parameter) -> torch.Tensor:
    gradients: torch.Tensor = parameter.grad_sample  # type: ignore[attr-defined]
    return gradients.detach()
