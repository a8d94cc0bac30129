"""Rows to a site's whole numbers for averaging. At the site only, in the child: it leaves encrypted or not at all.

Rules
-----
1. Gradients are those of the engines of private training: a row that is not finite adds zero, a person's rows are
   summed before they are clipped.
2. Exact: steps of gradient descent on the mean over the site's rows; then clip, weigh, hold, round.
3. Noised: one sum over all persons, each clipped by itself; hold, round, noise. The number of persons is used nowhere.

Form: docs/formats/he-averaging.md.
"""

from __future__ import annotations

import os

import numpy as np

from kernel.checks import whole
from kernel.ids import Entropy
from privacy.homomorphic.averaging.course import Weights
from privacy.homomorphic.averaging.plan import CLIP_SHARE, AveragingPlan
from privacy.homomorphic.documents.parties import MOST_PERSONS
from privacy.homomorphic.noise import noised
from privacy.jobs.engines import EngineChoice, EngineName, engine_for
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.engine import Engine, Floats
from privacy.training.units import UnitTable
from privacy.training.vmap_engine import VmapEngine

UNITS_AT_ONCE = 128
_NO_CLIP = 1e12


def site_update(
    plan: AveragingPlan,
    weights: Weights,
    units: UnitTable,
    share: float = 1.0,
    entropy: Entropy = os.urandom,
) -> list[int]:
    """A site's numbers for one round.

    Args:
        plan: What is trained.
        weights: Where the model stands.
        units: The site's rows, by person.
        share: The site's weight over the largest weight of any site; under noise every person counts alike.
        entropy: Where the noise's random bytes come from.
    """
    engine = _engine(plan)
    if plan.noise is None:
        update = _shortened(_local(plan, engine, weights.astype(np.float64), units), float(plan.clip.number)) * share
        return _steps(plan, update, int(plan.bound * share))
    engine.set_weights(weights.astype(np.float64))
    numbers = _steps(plan, _summed(engine, units, float(plan.clip.number) * CLIP_SHARE), plan.bound)
    deviation = plan.deviation_of(plan.steps)
    return noised(numbers, [deviation] * plan.values, [1] * plan.values, plan.noise, entropy)


def share_of(weight: int, largest: int) -> float:
    """What a declared weight is of the largest one."""
    whole(1, MOST_PERSONS, largest=largest)
    return whole(1, largest, weight=weight) / largest


def _engine(plan: AveragingPlan) -> Engine:
    model = plan.model()
    if engine_for(EngineChoice.AUTO, model) is EngineName.BOOKKEEPING:
        return BookkeepingEngine(model, plan.loss, False, plan.rows_per_unit)
    return VmapEngine(model, plan.loss)


def _local(plan: AveragingPlan, engine: Engine, start: Floats, units: UnitTable) -> Floats:
    weights, count = start.copy(), max(1, int(units.used_rows().alive.sum()))
    for _ in range(plan.local_steps):
        engine.set_weights(weights)
        weights -= float(plan.learning_rate.number) * _summed(engine, units, _NO_CLIP) / count
    return weights - start


def _summed(engine: Engine, units: UnitTable, clip: float) -> Floats:
    total = np.zeros(engine.size)
    for start in range(0, len(units), UNITS_AT_ONCE):
        members = np.arange(start, min(start + UNITS_AT_ONCE, len(units)), dtype=np.int64)
        total += engine.clipped_sum(units.gather(members, UNITS_AT_ONCE), clip).total
    return total


def _shortened(update: Floats, clip: float) -> Floats:
    finite = np.where(np.isfinite(update), update, 0.0)
    length = float(np.linalg.norm(finite))
    return finite * min(1.0, clip / length) if length else finite


def _steps(plan: AveragingPlan, numbers: Floats, bound: int) -> list[int]:
    held = np.clip(np.where(np.isfinite(numbers), numbers, 0.0) / plan.quantum, -bound, bound)
    found: list[int] = np.rint(held).astype(np.int64).tolist()
    return found
