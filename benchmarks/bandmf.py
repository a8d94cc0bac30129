"""DP-SGD against banded matrix factorisation at the same budget; results in `results/bandmf.jsonl`, verdict in ADR 14.

    python -m benchmarks.bandmf [--runs N] [--task NAME ...] [--out FILE]

Banded factorisation: the noise of a step is correlated with that of the b - 1 steps before it: z_t is filtered by the
inverse of a banded Toeplitz strategy. People are cut into b groups; step t samples group t mod b, at rate b B / N.
A person then meets at most ceil(T / b) steps, never two within a band, so the whole is priced as that many
Poisson-sampled Gaussian steps at rate b B / N, with the noise scaled by the length of the strategy's column. Band 1 is
DP-SGD. Both sides have the same accountant (RDP at integer orders), delta 1e-5, clip, passes over the data and grid
of settings; for each side the best setting on a held-out part of the training split is then run on the test split.

The training loop here is plain numpy and stands for neither side's speed. Reference: Choquette-Choo et al. 2023
(arXiv 2306.08153); the strategy minimises the error of prefix sums, by gradient descent from the square root.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.accuracy_tasks import Task, tasks
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon
from kernel.events import Parameter
from privacy.accounting.calibration import calibrate, sampled_gaussian
from privacy.graph.forward import sigmoid
from privacy.jobs.features import FeatureSpec
from privacy.training.rows import RowEncoder, Rows

Array: TypeAlias = NDArray[Any]

RUNS, LOOKS = 5, 2
DELTA = "0.00001"
EPSILONS = ("2", "3", "8")
BANDS = (1, 2, 4, 8, 16)
_VALIDATION = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is tried on a task, alike on both sides; rates are those of ordinary steps, momentum taken out."""

    passes: tuple[int, ...]
    batches: tuple[int, ...]
    rates: tuple[float, ...]
    momenta: tuple[float, ...]
    clip: float
    classes: int


GRIDS = {
    "adult-logistic": Grid(
        passes=(1, 4), batches=(256, 1024), rates=(4, 16, 64), momenta=(0, 0.9), clip=1.0, classes=1
    ),
    "mnist-scattering": Grid(passes=(1, 4), batches=(1024,), rates=(16, 64, 160), momenta=(0,), clip=0.1, classes=10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to train."""

    band: int
    batch: int
    rate: float
    momentum: float
    averaged: bool


def strategy(band: int, steps: int) -> Array:
    """Coefficients, first one 1, of the banded Toeplitz strategy with the least error of prefix sums."""
    roots = [1.0]
    for place in range(1, band):
        roots.append(roots[-1] * (2 * place - 1) / (2 * place))
    tail = torch.tensor(roots[1:], dtype=torch.float64, requires_grad=True)
    if band == 1:
        return np.ones(1)
    optimiser = torch.optim.LBFGS([tail], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = _error(torch.cat([torch.ones(1, dtype=torch.float64), tail]), steps)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch's own
    return np.concatenate([[1.0], tail.detach().numpy()])


def _error(coefficients: torch.Tensor, steps: int) -> torch.Tensor:
    """Log of the mean squared error of prefix sums, column length included."""
    inverse = [torch.ones((), dtype=torch.float64)]
    for step in range(1, steps):
        reach = min(step, len(coefficients) - 1)
        inverse.append(-torch.stack([coefficients[k] * inverse[step - k] for k in range(1, reach + 1)]).sum())
    sums = torch.cumsum(torch.stack(inverse), 0)
    weights = torch.arange(steps, 0, -1, dtype=torch.float64)
    return torch.log((weights * sums**2).sum()) + torch.log((coefficients**2).sum())


@cache
def _noise(band: int, batch: int, units: int, steps: int, epsilon: str) -> tuple[float, tuple[float, ...]]:
    """Deviation of z_t in units of the clip, and the strategy."""
    coefficients = strategy(band, steps)
    rate = Parameter((Decimal(band * batch) / units).quantize(Decimal("0.000001"), ROUND_CEILING))
    shape = sampled_gaussian(rate, -(-steps // band))
    multiplier = float(calibrate(shape, Epsilon.parse(epsilon), Delta.parse(DELTA)).number)
    return multiplier * float(np.linalg.norm(coefficients)), tuple(coefficients)


def trained(rows: Rows, setting: Setting, grid: Grid, passes: int, epsilon: str) -> Array:
    """One private run: the last weights, or the mean over the second half."""
    draw = np.random.default_rng()
    units, width = rows.features.shape
    steps = max(setting.band, round(passes * units / setting.batch))
    deviation, coefficients = _noise(setting.band, setting.batch, units, steps, epsilon)
    groups = np.array_split(draw.permutation(units), setting.band)
    lengths = np.einsum("ij,ij->i", rows.features, rows.features) + 1
    weights, velocity = np.zeros((width + 1, grid.classes)), np.zeros((width + 1, grid.classes))
    total = np.zeros_like(weights)
    past: list[Array] = [np.zeros_like(weights) for _ in coefficients[1:]]
    for step in range(steps):
        group = groups[step % setting.band]
        chosen = group[draw.random(len(group)) < setting.band * setting.batch / units]
        noise = np.asarray(draw.standard_normal(weights.shape) * (deviation * grid.clip))
        for coefficient, earlier in zip(coefficients[1:], past, strict=True):
            noise = noise - coefficient * earlier
        past = [noise, *past][: len(coefficients) - 1]
        gradient = _clipped(rows, chosen, lengths, weights, grid.clip) + noise
        velocity = setting.momentum * velocity + gradient / setting.batch
        weights = weights - setting.rate * velocity
        if step >= steps // 2:
            total += weights
    return total / (steps - steps // 2) if setting.averaged else weights


def _clipped(rows: Rows, chosen: Array, lengths: Array, weights: Array, clip: float) -> Array:
    features = rows.features[chosen]
    errors = _errors(features @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32), rows.targets[chosen])
    norms = np.sqrt((errors**2).sum(axis=1) * lengths[chosen])
    errors *= np.minimum(1, clip / np.maximum(norms, 1e-12))[:, None]
    return np.concatenate([features.T @ errors, errors.sum(axis=0, keepdims=True)]).astype(np.float64)


def _errors(scores: Array, targets: Array) -> Array:
    if scores.shape[1] == 1:
        return np.asarray(sigmoid(scores) - targets[:, None])
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    shares[np.arange(len(targets)), targets.astype(np.int64)] -= 1
    return np.asarray(shares)


def accuracy(weights: Array, rows: Rows) -> float:
    """Share of rows whose class is right."""
    scores = rows.features @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32)
    guesses = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
    return float(np.mean(guesses == rows.targets))


def _settings(grid: Grid, bands: tuple[int, ...], units: int) -> Iterator[Setting]:
    for band, batch, rate, momentum, averaged in itertools.product(
        bands, grid.batches, grid.rates, grid.momenta, (False, True)
    ):
        if band * batch <= units:
            yield Setting(band=band, batch=batch, rate=rate * (1 - momentum), momentum=momentum, averaged=averaged)


def compared(task: Task, runs: int) -> Iterator[dict[str, Any]]:
    """Lines of one task: for each budget and number of passes one of DP-SGD and one of banded factorisation."""
    grid = GRIDS[task.name]
    train, test = task.tables()
    encoder = RowEncoder(FeatureSpec.from_json(task.body["features"]), task.schema)
    rows, tests = encoder.encode(train), encoder.encode(test)
    order = np.random.default_rng(1).permutation(len(rows.alive))
    kept, held = order[len(order) // _VALIDATION :], order[: len(order) // _VALIDATION]
    fit, check = _part(rows, kept), _part(rows, held)
    for epsilon, passes in itertools.product(EPSILONS, grid.passes):
        for bands in (BANDS[:1], BANDS[1:]):
            settings = list(_settings(grid, bands, len(kept)))
            found = [
                statistics.fmean(accuracy(trained(fit, s, grid, passes, epsilon), check) for _ in range(LOOKS))
                for s in settings
            ]
            best = settings[int(np.argmax(found))]
            scores = [accuracy(trained(rows, best, grid, passes, epsilon), tests) for _ in range(runs)]
            yield {
                "task": task.name,
                "mechanism": "dp-sgd" if best.band == 1 else "bandmf",
                "epsilon": epsilon,
                "delta": DELTA,
                "passes": passes,
                "band": best.band,
                "batch": best.batch,
                "learning_rate": round(best.rate, 4),
                "momentum": best.momentum,
                "averaged": best.averaged,
                "metric": "accuracy",
                "mean": round(statistics.fmean(scores), 5),
                "sd": round(statistics.stdev(scores), 5),
                "validation": round(max(found), 5),
            }


def _part(rows: Rows, places: Array) -> Rows:
    return Rows(features=rows.features[places], targets=rows.targets[places], alive=rows.alive[places])


def main() -> None:
    """Compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--task", nargs="*", default=list(GRIDS))
    parser.add_argument("--out", type=Path, default=RESULTS / "bandmf.jsonl")
    chosen = parser.parse_args()
    found = []
    for task in tasks():
        if task.name in GRIDS and task.name in chosen.task:
            for line in compared(task, chosen.runs):
                found.append(json.dumps(line))
                sys.stdout.write(found[-1] + "\n")
                sys.stdout.flush()
    chosen.out.write_text("".join(line + "\n" for line in found), encoding="utf-8")


if __name__ == "__main__":
    main()
