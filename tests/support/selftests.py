"""Self-tests of runs that were never run: noise and samples as the plan says, or with a fault."""

from __future__ import annotations

import numpy as np

from privacy.jobs.plan import TrainingPlan
from privacy.selftest.claims import Claims
from privacy.selftest.report import REHEARSED, SelfTest
from privacy.selftest.witness import Witness

LIVE = 10


def watched(plan: TrainingPlan, *, scale: float = 1.0, steps: int | None = None, seed: int = 3) -> SelfTest:
    """What a witness reports of a run whose noise is `scale` times what it must be."""
    draw, claims = np.random.default_rng(seed), Claims.of(plan)
    witness = Witness(claims, entropy=draw.bytes)
    for _ in range(plan.recipe.steps if steps is None else steps):
        noise = scale * draw.standard_normal(LIVE + witness.units)
        drawn = np.flatnonzero(draw.random(witness.units) < claims.rate)
        dead = (witness.moves(drawn) + claims.noise * noise[LIVE:]) / claims.normaliser
        witness.hear(noise, 0, len(noise))
        witness.observe(dead=dead, canaries=drawn)
    return witness.report(REHEARSED)
