"""A site's whole numbers for a round of a federated model. At the site only; torch and numpy.

Rules
-----
1. `person`: the gradient of each person is shortened to the clip, rounded towards zero by itself, and its norm checked
   in whole numbers: one that is too long by a rounding, or is no number, adds zero. Whole numbers are added.
2. `update`: full steps over all persons, then the difference is shortened as a whole. Its norm after rounding is
   checked in the same way where there is noise.
3. Noise is added here, before anything leaves.

Form: docs/formats/he-averaging.md.
"""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from kernel.ids import Entropy
from privacy.homomorphic.averaging.course import asked_weights
from privacy.homomorphic.averaging.plan import Bounded, FederatedAverage
from privacy.homomorphic.noise import noised
from privacy.jobs.engines import EngineChoice, EngineName, engine_for
from privacy.jobs.plan import CLIP_MARGIN
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.engine import Engine, Floats
from privacy.training.units import UnitTable
from privacy.training.vmap_engine import VmapEngine

_AT_ONCE = 64
_MARGIN = float(CLIP_MARGIN)
_UNBOUNDED = 1e30
Whole: TypeAlias = NDArray[np.int64]


def site_numbers(
    plan: FederatedAverage, state: object, units: UnitTable, place: int, entropy: Entropy = os.urandom
) -> list[int]:
    """A site's numbers of one round, its noise included if the plan has any.

    Args:
        plan: What is trained.
        state: Of the round document.
        units: The site's persons.
        place: Which site it is, in the order's order.
        entropy: Where the noise's random bytes come from.

    Raises:
        InvalidError: The state does not belong to the plan, or there are more persons than a site may have.
    """
    if len(units) > plan.most_persons:
        raise InvalidError("a site has at most the declared number of persons", field="dataset")
    weights, engine = np.array(asked_weights(plan, state), dtype=np.float64), _engine(plan)
    if plan.bounded is Bounded.PERSON:
        found = _persons(plan, engine, weights, units)
    else:
        found = rounded(plan, plan.share(place) * _update(plan, engine, weights, units))
    numbers: list[int] = found.tolist()
    return numbers if plan.noise is None else noised(numbers, plan.additions(), plan.noise, entropy)


def _engine(plan: FederatedAverage) -> Engine:
    if engine_for(EngineChoice.AUTO, plan.checked) is EngineName.VMAP:
        return VmapEngine(plan.checked, plan.loss, False)
    return BookkeepingEngine(plan.checked, plan.loss, False, plan.rows_per_unit)


def _persons(plan: FederatedAverage, engine: Engine, weights: Floats, units: UnitTable) -> Whole:
    """The sum of each person's shortened gradient in whole steps."""
    engine.set_weights(weights)
    total, clip = np.zeros(plan.values, dtype=np.int64), float(plan.clip.number)
    for person in range(len(units)):
        batch = units.gather(np.array([person]), 1)
        total += rounded(plan, engine.clipped_sum(batch, clip * _MARGIN).total)
    return total


def _update(plan: FederatedAverage, engine: Engine, weights: Floats, units: UnitTable) -> Floats:
    """What the local steps moved, at most one clip long."""
    reached, rate = weights.copy(), float(plan.rate.number)
    for _ in range(plan.local_steps):
        engine.set_weights(reached)
        total = np.zeros(plan.values)
        for first in range(0, len(units), _AT_ONCE):
            members = np.arange(first, min(first + _AT_ONCE, len(units)))
            total += engine.clipped_sum(units.gather(members, _AT_ONCE), _UNBOUNDED).total
        reached = reached - rate * total / max(len(units), 1)
    moved = reached - weights
    length, clip = float(np.linalg.norm(moved)), float(plan.clip.number) * _MARGIN
    if not np.isfinite(length):
        return np.zeros(plan.values)
    return np.asarray(moved * min(1.0, clip / length) if length else moved)


def rounded(plan: FederatedAverage, vector: Floats) -> Whole:
    """A vector of at most one clip in whole steps; zero where it is longer or no number."""
    scaled = vector * (plan.unit / float(plan.clip.number))
    if not np.isfinite(scaled).all() or np.abs(scaled).max(initial=0.0) > plan.unit:
        return np.zeros(len(vector), dtype=np.int64)
    if plan.noise is None:
        return np.rint(scaled).astype(np.int64)
    whole = np.trunc(scaled).astype(np.int64)
    # Whole numbers wrap around: that the square is near enough for them is seen in floating point first.
    near = float(np.dot(whole.astype(np.float64), whole.astype(np.float64))) <= 2.0 * plan.unit**2
    fits = near and int(np.dot(whole, whole)) <= plan.unit**2
    return whole if fits else np.zeros(len(vector), dtype=np.int64)
