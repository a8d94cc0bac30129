"""A site's noisy whole numbers for one step of a federated model. At the site only.

Rules
-----
1. What a person adds is bounded and rounded as in an ordinary GLM job (`privacy.glm.sums`): at most GRID in Euclidean
   norm for each measurement, whatever the rows are.
2. Noise is added here: exact sums never leave this function.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from kernel.ids import Entropy
from privacy.glm.schedule import Statistic
from privacy.glm.sums import Cases, Integers, sum_first, sum_step
from privacy.homomorphic.glm.noised import MOST_UNITS, NoisedGlm, Sums, asked_sums, readings_of, step_of
from privacy.homomorphic.noise import noised
from privacy.jobs.glm_spec import Counted
from privacy.training.rows import Rows
from privacy.training.units import UnitTable


def noised_cases(plan: NoisedGlm, rows: Rows, units: NDArray[np.int64]) -> Cases:
    """Encoded rows by person.

    Args:
        plan: The model.
        rows: Encoded, in the order of the file.
        units: The number of each row's person.

    Raises:
        InvalidError: More persons than a site may have.
    """
    table = UnitTable.by_unit(rows, units, plan.rows_per_unit)
    if len(table) > MOST_UNITS:
        raise InvalidError(f"a site has at most {MOST_UNITS} persons", field="dataset")
    return Cases.of(plan.design, table, plan.counted is Counted.ROW)


def noised_site_sums(plan: NoisedGlm, state: Any, cases: Cases, entropy: Entropy = os.urandom) -> list[int]:
    """A site's numbers of one round, its noise included.

    Args:
        plan: The model.
        state: Of the round document.
        cases: The site's persons.
        entropy: Where the noise's random bytes come from.

    Raises:
        InvalidError: The state does not belong to the plan, or all rounds were made.
    """
    so_far = asked_sums(plan, state)
    step = step_of(plan, so_far)
    if step == plan.rounds:
        raise InvalidError("all rounds of this model were made", field="state")
    exact: list[int] = []
    found = sum_first(plan.design, cases) if step == 0 else _step(plan, so_far, step, cases)
    for one in plan.measurements(step):
        exact += [int(number) for number in found[one.statistic]]
    numbers = noised(exact, plan.additions(step + 1), plan.noise, entropy)
    return numbers + [0] * (plan.values - len(numbers))


def _step(plan: NoisedGlm, so_far: Sums, step: int, cases: Cases) -> Mapping[Statistic, Integers]:
    # Exactly as the file will be read: settings that differ in a last bit may put a term elsewhere.
    settings = readings_of(plan, so_far).settings(step)
    return sum_step(plan.design, settings, cases, tuple(one.statistic for one in plan.measurements(step)))
