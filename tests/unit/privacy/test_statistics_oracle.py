"""OpenDP as the oracle: its measurements with our sensitivity and deviation cost what we charge and make such noise."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from privacy.accounting.price import price
from privacy.evaluation.discrete_gaussian import ExactSource
from tests.support import jobs, statistics

dp: Any = pytest.importorskip("opendp.prelude", reason="OpenDP is in the extra `dev`")
dp.enable_features("contrib")
ALARM = 1e-9


def gaussian(deviation: float) -> Any:
    """OpenDP's discrete Gaussian on vectors of whole numbers, which takes Euclidean distances."""
    return dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float), scale=deviation)


@pytest.mark.parametrize("rows_per_unit", [1, 5, 40])
@pytest.mark.parametrize("epsilon", ["0.2", "1", "6"])
def test_openDP_asks_no_more_than_is_charged(epsilon: str, rows_per_unit: int) -> None:
    """Its rho for what one unit can move, d_in = rows per unit x what a row adds, over all measurements (RULES 5)."""
    plan = statistics.plan(declared=jobs.facts(rows_per_unit=rows_per_unit), epsilon=epsilon)
    rho = math.fsum(
        gaussian(float(plan.deviation(measurement).number)).map(float(plan.sensitivity(measurement)))
        for measurement in plan.measurements
    )
    charged = price(*plan.uses(), order=plan.order).value
    theirs = Decimal(rho) * plan.order
    # Theirs is rounded up in binary, deviation included.
    assert theirs <= charged * (1 + Decimal("1e-12")) + Decimal("1e-9")
    assert theirs > charged * Decimal("0.99")


def test_openDP_would_notice_a_wrong_sensitivity() -> None:
    """The oracle is not blind: one row more for a unit, and it asks for more than is charged."""
    plan = statistics.plan([{"kind": "count"}], jobs.facts(rows_per_unit=4))
    (measurement,) = plan.measurements
    charged = price(*plan.uses(), order=plan.order).value
    wrong = gaussian(float(plan.deviation(measurement).number)).map(float(plan.sensitivity(measurement) + 1))
    assert Decimal(wrong) * plan.order > charged * Decimal("1.5")


@pytest.mark.parametrize("deviation", ["0.7", "41.5"])
def test_their_noise_and_ours_have_one_distribution(deviation: str) -> None:
    """Chi-square over the frequent values; a deviation that is a fifth off is noticed."""
    count = 6000
    theirs = np.array(gaussian(float(deviation))([0] * count))
    source = ExactSource(os.urandom)

    def alike(ours: Any) -> float:
        edges = np.unique(np.quantile(np.concatenate([theirs, ours]), np.linspace(0, 1, 24)))
        cells = np.concatenate([[-np.inf], edges[1:-1] + 0.5, [np.inf]])
        table = np.array([np.histogram(sample, cells)[0] for sample in (theirs, ours)])
        return float(stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue)

    assert alike(np.array([*source.gaussians(count, Fraction(deviation) ** 2)])) > ALARM
    assert alike(np.array([*source.gaussians(count, (Fraction(deviation) * Fraction(6, 5)) ** 2)])) < 1e-4
