"""The same models trained without privacy, for orientation in `make bench-accuracy`: Adam over shuffled batches.

Nothing of the product runs here but the graph's operations; no run is tuned, and none stops early.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.torch_module import GraphModule
from privacy.jobs.spec import Loss
from privacy.training.engine import unflatten
from privacy.training.losses import LOSSES
from privacy.training.rows import Rows
from privacy.training.state import first_state

PASSES, BATCH = 12, 128
RATE, SMALL_RATE, SMALL = 1e-3, 1e-2, 1000
"""A model of few weights takes the larger rate, or a dozen passes would not be enough for it."""


def trained_openly(model: CheckedGraph, loss: Loss, rows: Rows) -> dict[str, NDArray[np.float32]]:
    """Weights after a dozen passes over the rows."""
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    module = GraphModule(model, unflatten(first_state(model.graph).weights, shapes), torch.float32)
    rate = SMALL_RATE if model.graph.weight_elements < SMALL else RATE
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    features = torch.from_numpy(rows.features).reshape(len(rows.features), *model.graph.inputs[0].shape)
    targets = torch.from_numpy(rows.targets)
    steps = PASSES * len(targets) // BATCH
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    for _ in range(PASSES):
        for chosen in torch.split(torch.randperm(len(targets)), BATCH):
            optimiser.zero_grad()
            scores = module(features[chosen]).reshape(len(chosen), -1)
            LOSSES[loss](scores, targets[chosen]).mean().backward()  # type: ignore[no-untyped-call]  # torch's own
            optimiser.step()
            schedule.step()
    return {name: value.detach().numpy().astype(np.float32) for name, value in module.by_name().items()}
