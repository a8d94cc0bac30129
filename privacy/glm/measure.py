"""The measurements of one fit, each noised before the next is chosen. Child only.

Rules
-----
1. A step sees earlier noisy integers only.
2. Noise is an exact discrete Gaussian on integers; nothing here can be seeded.
3. What would not fit the released form is moved to its limit, after the noise: a form never refuses a number.

Reference: Canonne, Kamath and Steinke 2020, theorem 4: an integer vector of norm at most GRID for each unit, with noise
of variance (z GRID)^2 on each number, is 1/(2 z^2)-zCDP, also when later vectors depend on earlier noisy ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction

from kernel.canonical import LARGEST_INTEGER as _LARGEST
from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.glm.design import Design
from privacy.glm.readings import Readings
from privacy.glm.schedule import GRID, STEPS, Measurement, schedule
from privacy.glm.sums import Cases, Integers, sum_first, sum_step


def measure(
    design: Design, multipliers: Mapping[str, Parameter], cases: Cases, entropy: Entropy = os.urandom
) -> dict[str, tuple[int, ...]]:
    """All noisy sums of a fit, by name.

    Args:
        design: The model.
        multipliers: Noise multiplier of each measurement.
        cases: All rows.
        entropy: Where random bytes come from.

    Guarantee: Adaptive composition of one Gaussian mechanism for each measurement, with its multiplier, for one unit.
    """
    source = ExactSource(entropy)
    numbers: dict[str, tuple[int, ...]] = {}
    approximate = {name: float(value.number) for name, value in multipliers.items()}
    for step in range(STEPS[design.family] + 1):
        wanted = [one for one in schedule(design) if one.step == step]
        exact = _sums(design, wanted, step, Readings(design=design, multipliers=approximate, numbers=numbers), cases)
        for one in wanted:
            variance = Fraction(multipliers[one.name].number * GRID) ** 2
            drawn = source.gaussians(one.size, variance)
            pairs = zip(exact[one.name], drawn, strict=True)
            numbers[one.name] = tuple(max(-_LARGEST, min(_LARGEST, int(a) + b)) for a, b in pairs)
    return numbers


def _sums(design: Design, wanted: list[Measurement], step: int, so_far: Readings, cases: Cases) -> dict[str, Integers]:
    if step == 0:
        sums = sum_first(design, cases)
        return {one.name: sums[one.statistic] for one in wanted}
    sums = sum_step(design, so_far.settings(step), cases, tuple(one.statistic for one in wanted))
    return {one.name: sums[one.statistic] for one in wanted}
