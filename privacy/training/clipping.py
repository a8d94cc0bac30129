"""Clipping that adapts from step to step, inside the same price. Child only.

Rules
-----
1. The next clip is a function of a noised count: how many sampled units were not shortened. Nothing else is looked at.
2. The count shares the noise of the step's vector, so that both together are one Gaussian mechanism with the noise
   multiplier z of the plan, whatever the clip is.
3. The share of the count follows from declared numbers (`TrainingPlan.count_noise`): its noise has a standard deviation
   of a twentieth of the declared batch, or 2 z where that is more.

Why the price is unchanged. Let C be a step's clip, m the engine's margin, b = 1 for a unit that was not shortened and 0
otherwise. A sampled unit adds to the vector its clipped gradient g, |g| <= m C, and (b - 1/2) w C in one more
coordinate, with w = m z_g / sigma_b. Noise of deviation z_g C is added to each coordinate. One unit moves the vector by
at most

    C m sqrt(1 + (z_g / (2 sigma_b))^2) = C m z_g / z,   because   z_g = (z^-2 - (2 sigma_b)^-2)^(-1/2),

so the noise multiplier of the whole vector is at least (z_g C) / (C z_g / z) = z, with the margin m still there for
rounding. C itself is a function of earlier noisy vectors; a run is therefore an adaptive composition of mechanisms of
one noise multiplier, which is what the plan prices. sigma_b >= 2 z keeps z_g below 1.04 z.

Reference: Andrew, Thakkar, McMahan and Ramaswamy 2021 (arXiv 1905.03871), theorem 1 and algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.jobs.plan import CLIP_MARGIN, TrainingPlan
from privacy.jobs.recipe import Clipping

MARGIN = float(CLIP_MARGIN)
_SPEED = 0.2
_FURTHEST = 2.0**10
_ROUND_UP = 1 + 2.0**-40
"""More than all roundings of these few multiplications."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRule:
    """How a run clips; derived from declared numbers alone.

    Attributes:
        start: The first step's clip.
        noise: Standard deviation of the noise over the clip: z, or z_g where a count is paid for too.
        weight: What a unit's place in the count weighs, over the clip; 0 if the clip stays.
        batch: The declared batch.
    """

    start: float
    noise: float
    weight: float
    batch: float

    @classmethod
    def of(cls, plan: TrainingPlan) -> ClipRule:
        """The rule of a plan."""
        start, noise = float(plan.recipe.clip.number), float(plan.gradient_noise)
        adapts = plan.recipe.clipping is Clipping.ADAPTIVE
        weight = MARGIN * noise / float(plan.count_noise) if adapts else 0.0
        return cls(start=start, noise=noise * _ROUND_UP, weight=weight, batch=float(plan.normaliser.number))

    @property
    def coordinates(self) -> int:
        """How many coordinates the count takes: one or none."""
        return int(self.weight > 0)

    def mark(self, clip: float, counted: int, within: int) -> float:
        """What the units add to the count's coordinate: (b - 1/2) weighed, over all of them."""
        return clip * self.weight * (within - counted / 2)

    def following(self, clip: float, averaged: float) -> float:
        """The next step's clip, from the count's coordinate after noise and division by the batch.

        The clip moves towards the median of the norms, and stays within 2^10 of the first one.
        """
        if not self.weight:
            return clip
        above_half = min(1.0, max(-1.0, averaged / (clip * self.weight)))
        moved = clip * math.exp(-_SPEED * above_half)
        return min(self.start * _FURTHEST, max(self.start / _FURTHEST, moved))
