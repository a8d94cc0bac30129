"""Integrated gradients of rows against a background. Needs torch.

Rules
-----
1. For each background row the gradient is integrated along the straight line to the row; the results are averaged, so
   that a row's values add up to its score less the background's mean score.
2. The integral is a sum over points of the line, in float64; there are more of them until the shares add up to a
   tolerance, and what is missed is stated.
3. Numbers that are looked up (tokens) have no gradient, and a scattering transform has none here: both are refused.

Reference: Sundararajan, Taly and Yan 2017; averaged over a background as in Erion et al. 2021.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.check import check
from privacy.graph.torch_module import GraphModule
from privacy.graph.weights import NamedArrays
from privacy.jobs.extractors import Scattering
from privacy.jobs.features import Transform
from privgate.explain.scoring import Scores

Floats = NDArray[np.float64]
POINTS = (16, 64, 256, 1024)
MOST_SLOPES = 2**15
"""Slopes of one row beyond which no more points are taken."""
TOLERANCE = 1e-4
_SMOOTH = 64
_ROWS_AT_ONCE = 2**12


class Gradients:
    """Integrates a model's gradients; raise `InvalidError` for a model that has none."""

    def __init__(self, scores: Scores) -> None:
        features = scores.model.spec.features
        if any(feature.transform is Transform.TOKENS for feature in features.columns):
            raise InvalidError('tokens are looked up and have no gradient: take `method="shap"`', field="method")
        if isinstance(features.extractor, Scattering):
            raise InvalidError('a scattering transform is explained by `method="shap"` only', field="method")
        self._norm = scores.norm
        self._modules = [GraphModule(scores.model.graph, scores.arrays, torch.float64)]
        self._shapes = [scores.model.graph.graph.inputs[0].shape]
        if features.extractor is not None:
            graph, arrays = features.extractor.graph, NamedArrays.from_bytes(features.extractor.weights).arrays
            self._modules.insert(0, GraphModule(check(graph), arrays, torch.float64))
            self._shapes.insert(0, graph.inputs[0].shape)
        for module in self._modules:
            module.requires_grad_(False)

    def explain(self, row: Floats, background: Floats, place: int, wanted: float) -> Floats:
        """The values of each encoded number of one row.

        Args:
            row: Encoded, [width].
            background: Encoded, [rows, width].
            place: Which output.
            wanted: What the values should add up to.
        """
        found = np.zeros_like(row)
        for points in POINTS:
            if points > POINTS[0] and points * len(background) > MOST_SLOPES:
                break
            found = self._integral(row, background, place, points)
            if abs(float(found.sum()) - wanted) <= TOLERANCE * max(1.0, abs(wanted)):
                break
        return found

    def _integral(self, row: Floats, background: Floats, place: int, points: int) -> Floats:
        along, shares = _points(points)
        lines = background[:, None, :] + along[None, :, None] * (row - background)[:, None, :]
        slopes = self._slopes(lines.reshape(-1, len(row)), place).reshape(lines.shape)
        integrals: Floats = (slopes * shares[None, :, None]).sum(axis=1)
        return np.asarray(((row - background) * integrals).mean(axis=0))

    def _slopes(self, rows: Floats, place: int) -> Floats:
        found = np.empty_like(rows)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = torch.from_numpy(rows[start : start + _ROWS_AT_ONCE].copy()).requires_grad_(True)
            (slope,) = torch.autograd.grad(self._run(part)[:, place].sum(), part)
            found[start : start + _ROWS_AT_ONCE] = slope.numpy()
        return found

    def _run(self, rows: torch.Tensor) -> torch.Tensor:
        *before, (last, shape) = zip(self._modules, self._shapes, strict=True)
        for module, own in before:
            rows = module(rows.reshape(-1, *own)).reshape(len(rows), -1)
        if self._norm is not None:
            norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            rows = rows * (self._norm / norms.clamp(min=self._norm))
        result: torch.Tensor = last(rows.reshape(-1, *shape)).reshape(len(rows), -1)
        return result


@cache
def _points(count: int) -> tuple[Floats, Floats]:
    """Places between 0 and 1, and their shares: Gauss and Legendre's; middles where a line has so many corners."""
    if count > _SMOOTH:
        return (np.arange(count) + 0.5) / count, np.full(count, 1 / count)
    nodes, shares = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, shares / 2
