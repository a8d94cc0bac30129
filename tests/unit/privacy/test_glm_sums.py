"""What a row adds to a fit: bounded, centred under its model, and independent of its company."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privacy.glm import sums
from privacy.glm.course import Settings, Start, clipped_count_square, count_settings, first_settings, matched
from privacy.glm.design import CONSTANT, Design, Term
from privacy.glm.families import Family
from privacy.glm.places import Place
from privacy.glm.schedule import GRID, MARGIN, STEPS, Statistic, cell_middles, schedule
from privacy.glm.sums import _RESIDUALS, Cases, sum_first, sum_step  # the residuals are what is tested
from privacy.training.rows import Rows
from privacy.training.units import UnitTable

FAMILIES = list(Family)
WANTED = (Statistic.PLACES, Statistic.SCORES, Statistic.CURVATURE, Statistic.SPREAD, Statistic.PRODUCTS)


PLACES = (Place(-0.6, 0.05), Place(-0.4, 0.65))


def design_for(family: Family, highest: int = 30) -> Design:
    """A model of two terms."""
    terms = (
        Term(name="age", place=0, middle=50.0, half=30.0),
        Term(name="sex=male", place=2, middle=0.5, half=1.0, column=1, category=True, shift=-0.5),
    )
    most = highest if family is Family.POISSON else 1
    return Design(family=family, terms=terms, radius=1.1, highest=most)


def settings_for(design: Design, coefficients: tuple[float, ...] = (0.4, 0.3, -0.5)) -> Settings:
    """Where a step might stand."""
    counts = [20.0 + 5 * cell for cell in range(len(cell_middles(design)))][::-1]
    start = first_settings(design, Start(outcomes=counts, places=PLACES))
    return Settings(coefficients=coefficients, places=PLACES, bound=start.bound, level=start.level)


def cases_of(design: Design, features: NDArray[np.float64], targets: NDArray[np.float64]) -> Cases:
    """Rows as the child reads them."""
    rows = Rows(
        features=features.astype(np.float32),
        targets=targets.astype(np.float32),
        alive=np.ones(len(targets), dtype=np.bool_),
    )
    return Cases.of(design, UnitTable.of_records(rows), per_row=False)


def hostile_rows(family: Family, count: int, source: np.random.Generator) -> Cases:
    """Corners of the declared ranges and extreme outcomes."""
    features = np.stack(
        [source.choice([-1.0, 0.0, 1.0], count), source.random(count), source.choice([0.0, 1.0], count)], axis=1
    )
    targets = source.choice([-1.0, 1.0], count) if family is not Family.LOGISTIC else source.choice([0.0, 1.0], count)
    return cases_of(design_for(family), features, targets)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_unit_moves_no_sum_by_more_than_the_grid(family: Family) -> None:
    """At any coefficients and for the most extreme rows: the sensitivity that is priced, in whole numbers."""
    source = np.random.default_rng(1)
    design = design_for(family)
    for _ in range(25):
        settings = settings_for(design, tuple(source.uniform(-12, 12, design.size)))
        alone = hostile_rows(family, 1, source)
        for numbers in (*sum_step(design, settings, alone, WANTED).values(), *sum_first(design, alone).values()):
            assert sum(int(number) ** 2 for number in numbers) <= GRID**2


@pytest.mark.parametrize("family", FAMILIES)
def test_no_row_is_dropped_by_its_bound(family: Family) -> None:
    """The bounds are proven, so that the check in whole numbers never silences an honest row."""
    source = np.random.default_rng(2)
    design = design_for(family)
    settings = settings_for(design)
    cases = hostile_rows(family, 400, source)
    total = sum_step(design, settings, cases, (Statistic.CURVATURE,))[Statistic.CURVATURE]
    parts = [sum_step(design, settings, one, (Statistic.CURVATURE,))[Statistic.CURVATURE] for one in _singles(cases)]
    assert np.array_equal(total, np.sum(parts, axis=0))
    if family is not Family.LINEAR:  # of a linear model, rows with a clipped residual have no slope
        assert all(part.any() for part in parts)


def _singles(cases: Cases) -> list[Cases]:
    return [
        Cases(
            rows=cases.rows[i : i + 1],
            outcomes=cases.outcomes[i : i + 1],
            weights=cases.weights[i : i + 1],
            starts=np.array([0, 1]),
        )
        for i in range(len(cases.outcomes))
    ]


def test_rows_of_a_unit_count_as_one() -> None:
    """Forty equal rows add what one adds; as rows, each adds its share of the declared most."""
    design = design_for(Family.LOGISTIC)
    settings = settings_for(design)
    rows = Rows(
        features=np.full((40, 3), 0.5, dtype=np.float32),
        targets=np.ones(40, dtype=np.float32),
        alive=np.ones(40, dtype=np.bool_),
    )
    many = UnitTable.by_unit(rows, np.zeros(40, dtype=np.int64), rows_per_unit=40)
    one = Rows(features=rows.features[:1], targets=rows.targets[:1], alive=rows.alive[:1])
    few = UnitTable.by_unit(one, np.zeros(1, dtype=np.int64), rows_per_unit=40)
    scores = [
        sum_step(design, settings, Cases.of(design, units, per_row=per_row), WANTED)[Statistic.SCORES]
        for units, per_row in ((many, False), (few, False), (many, True), (few, True))
    ]
    assert np.abs(scores[0] - scores[1]).max() <= 1
    assert np.abs(scores[0] - scores[2]).max() <= 1
    assert np.abs(scores[3] * 40 - scores[2]).max() <= 40


@pytest.mark.parametrize("family", FAMILIES)
def test_sums_are_those_of_single_units_however_they_are_cut(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks hold whole units, all of them, and add up to the same whole numbers."""
    source = np.random.default_rng(8)
    design = design_for(family)
    sizes = source.integers(1, 9, 60)
    rows = Rows(
        features=source.uniform(0, 1, (sizes.sum(), 3)).astype(np.float32),
        targets=source.integers(0, 2, sizes.sum()).astype(np.float32),
        alive=source.random(sizes.sum()) < 0.9,
    )
    units = UnitTable.by_unit(rows, np.repeat(np.arange(60), sizes), rows_per_unit=5)
    cases, settings = Cases.of(design, units, per_row=False), settings_for(design)
    whole = sum_step(design, settings, cases, WANTED)
    for at_once in (1, 7, 50):
        monkeypatch.setattr(sums, "_ROWS_AT_ONCE", at_once)
        cut = sum_step(design, settings, cases, WANTED)
        assert all(np.array_equal(cut[statistic], whole[statistic]) for statistic in WANTED)
        assert sum(len(block.starts) - 1 for block in cases.blocks()) == 60


def test_rows_beyond_the_declared_most_and_dead_rows_add_nothing() -> None:
    """Whatever the file holds."""
    design = design_for(Family.POISSON)
    rows = Rows(
        features=np.full((5, 3), 0.5, dtype=np.float32),
        targets=np.array([0, 0, 1, 1, 1], dtype=np.float32),
        alive=np.array([True, False, True, True, True]),
    )
    units = UnitTable.by_unit(rows, np.zeros(5, dtype=np.int64), rows_per_unit=3)
    assert Cases.of(design, units, per_row=False).weights.tolist() == [0.5, 0.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("chance", [0.02, 0.3, 0.5, 0.93])
def test_a_logistic_residual_has_mean_zero_and_the_stated_slope(chance: float) -> None:
    """Over the two outcomes, at the true chance."""
    design = design_for(Family.LOGISTIC)
    residual = _RESIDUALS[Family.LOGISTIC](design, settings_for(design))
    predicted = np.full(2, math.log(chance / (1 - chance)))
    seen = residual(predicted, np.array([0.0, 1.0]))
    values, slopes = seen.bounded, seen.slopes
    weights = np.array([1 - chance, chance])
    assert abs(float(weights @ values)) < 1e-12
    assert np.abs(values).max() <= 0.5 + 1e-12
    assert slopes[0] == pytest.approx(float(weights @ (values * (np.array([0.0, 1.0]) - chance))))


@pytest.mark.parametrize("dispersion", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("expected", [0.05, 0.7, 2.0, 6.0, 15.0, 26.0])
def test_a_count_residual_has_mean_zero_and_the_stated_slope(expected: float, dispersion: float) -> None:
    """Over all counts of the settings' dispersion, those above the declared most counting as it."""
    design = design_for(Family.POISSON)
    settings = count_settings((0.4, 0.3, -0.5), PLACES, settings_for(design).level, dispersion)
    counts = np.arange(3000.0)
    chances = stats.nbinom.pmf(counts, 1 / dispersion, 1 / (1 + dispersion * expected)) if dispersion else None
    chances = stats.poisson.pmf(counts, expected) if chances is None else chances
    seen = _RESIDUALS[Family.POISSON](design, settings)(
        np.full(len(counts), math.log(expected)), np.minimum(counts, design.highest)
    )
    assert float(chances @ seen.bounded) == pytest.approx(0, abs=1e-3)
    assert np.abs(seen.bounded).max() <= settings.bound
    slope = float(chances @ (seen.bounded * (counts - expected))) / (1 + dispersion * expected)
    assert seen.slopes[0] == pytest.approx(slope, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("dispersion", [0.0, 0.3, 1.5])
def test_a_dispersion_is_found_from_its_own_clipped_square(dispersion: float) -> None:
    """Against scipy's negative binomial."""
    expected, clip, highest = 1.7, 4.0, 30
    counts = np.arange(3000.0)
    chances = stats.nbinom.pmf(counts, 1 / dispersion, 1 / (1 + dispersion * expected)) if dispersion else None
    chances = stats.poisson.pmf(counts, expected) if chances is None else chances
    square = float(chances @ np.minimum((np.minimum(counts, highest) - expected) ** 2, clip**2))
    assert clipped_count_square(expected, dispersion, clip, highest) == pytest.approx(square, rel=1e-9)
    assert matched(expected, square, clip, highest) == pytest.approx(dispersion, abs=1e-6)


def test_sums_are_in_units_of_their_bound() -> None:
    """Read back, the curvature of a linear model is the weighted product of rows."""
    design = design_for(Family.LINEAR)
    settings = Settings(coefficients=(0.0, 0.0, 0.0), places=(Place(), Place()), bound=10.0)
    source = np.random.default_rng(3)
    cases = cases_of(design, source.uniform(-1, 1, (50, 3)), source.uniform(-1, 1, 50))
    found = sum_step(design, settings, cases, (Statistic.CURVATURE,))[Statistic.CURVATURE]
    scale = settings.bounds(design)[Statistic.CURVATURE] / (GRID * MARGIN)
    weights = np.minimum(1, design.radius**2 / np.sum(cases.rows**2, axis=1))
    exact = (cases.rows * weights[:, None]).T @ cases.rows
    assert found[0] * scale == pytest.approx(exact[0, 0], abs=1e-3)
    assert found[1] * scale == pytest.approx(exact[0, 1] * math.sqrt(2), abs=1e-3)
    assert cases.rows[0, 0] == CONSTANT


@pytest.mark.parametrize("family", FAMILIES)
def test_the_schedule_spends_all_of_its_share(family: Family) -> None:
    """Every measurement once, the histogram first, products in the last step only."""
    measurements = schedule(design_for(family))
    assert sum(one.share for one in measurements) == 1
    assert measurements[0].statistic is Statistic.OUTCOMES
    assert [one.step for one in measurements if one.statistic is Statistic.PRODUCTS] == [STEPS[family]]
    assert len({one.name for one in measurements}) == len(measurements)
