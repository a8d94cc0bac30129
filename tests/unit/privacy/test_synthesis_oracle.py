"""OpenDP as the oracle of a synthetic table: its maps for our noise and our choices cost what we charge."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from scipy import stats

from privacy.accounting.price import price
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.synthesis.choosing import choose
from tests.support import jobs, synthesis

dp: Any = pytest.importorskip("opendp.prelude", reason="OpenDP is in the extra `dev`")
dp.enable_features("contrib")
ALARM = 1e-9
SCORES = [6, 5, 3, 0, -4]


def noisy_max(steepness: float) -> Any:
    """OpenDP's private choice among whole scores; a score's distance is the most that it moves."""
    vectors, moved = dp.vector_domain(dp.atom_domain(T=int)), dp.linf_distance(T=int)
    return dp.m.make_noisy_max(vectors, moved, dp.zero_concentrated_divergence(), scale=1 / steepness)


def gaussian(deviation: float) -> Any:
    """OpenDP's discrete Gaussian on vectors of whole numbers."""
    return dp.m.make_gaussian(dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float), scale=deviation)


def asked(declared: Any, moved: int, **changes: Any) -> tuple[Decimal, Decimal]:
    """What OpenDP asks for all parts, and what is charged."""
    plan = synthesis.plan(declared, **changes)
    edges = len(plan.cells) - 1
    rho = math.fsum(
        (
            len(plan.cells) * gaussian(float(plan.column_deviation.number)).map(float(moved)),
            edges * gaussian(float(plan.pair_deviation.number)).map(float(moved)),
            edges * noisy_max(float(plan.steepness.number)).map(moved),
        )
    )
    return Decimal(rho) * plan.order, price(*plan.uses(), order=plan.order).value


@pytest.mark.parametrize("rows_per_unit", [1, 5, 40])
@pytest.mark.parametrize("epsilon", ["0.2", "1", "6"])
@pytest.mark.parametrize("around", [None, "ill"])
def test_opendp_asks_no_more_than_is_charged(epsilon: str, rows_per_unit: int, around: str | None) -> None:
    """Its rho for what one unit can move, over columns, choices and pairs (RULES 5)."""
    theirs, charged = asked(jobs.facts(rows_per_unit=rows_per_unit), rows_per_unit, epsilon=epsilon, around=around)
    # Theirs is rounded up in binary, deviation and scale included.
    assert theirs <= charged * (1 + Decimal("1e-12")) + Decimal("1e-9")
    assert theirs > charged * Decimal("0.99")


def test_opendp_would_notice_a_wrong_sensitivity() -> None:
    """The oracle is not blind: one row more for a unit, and it asks for more than is charged."""
    theirs, charged = asked(jobs.facts(rows_per_unit=4), 5)
    assert theirs > charged * Decimal("1.5")


@pytest.mark.parametrize("steepness", [Fraction(1, 4), Fraction(1)])
def test_their_choice_and_ours_have_one_distribution(steepness: Fraction) -> None:
    """Chi-square over the places; theirs adds Gumbel noise and takes the largest, ours keeps or rejects."""
    draws, source = 4000, ExactSource()
    choose_theirs = noisy_max(float(steepness))
    theirs = Counter(choose_theirs(SCORES) for _ in range(draws))
    ours = Counter(choose(SCORES, steepness, source) for _ in range(draws))
    frequent = [place for place in range(len(SCORES)) if theirs[place] + ours[place] >= 20]
    table = [[found[place] for place in frequent] for found in (theirs, ours)]
    assert stats.chi2_contingency(table).pvalue > ALARM
    other = Counter(choose(SCORES, steepness / 2, source) for _ in range(draws))
    assert stats.chi2_contingency([table[0], [other[place] for place in frequent]]).pvalue < ALARM
