"""Figures of an evaluation: what they are without noise, and how often their intervals hold the truth with it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from privacy.evaluation.calibration import Histograms, brier_score, calibration_error, reliability
from privacy.evaluation.confusion import Confusion
from privacy.evaluation.counts import estimate_accuracy, estimate_auc
from privacy.evaluation.estimates import Estimate, Ratio, gap
from privacy.evaluation.regression import ErrorSums, mean_absolute_error, r_squared, root_mean_squared_error
from privacy.evaluation.subgroups import gaps, groups
from privacy.jobs.evaluation_measures import ERROR_SCALES, GROUP_SCALES, Part, sensitivity
from privacy.jobs.labels import Target

ALARM = 1e-9
RUNS = 1000
DRAW = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))


def _noise(deviation: float, cells: int) -> Any:
    return np.rint(DRAW.normal(0, deviation, cells)).astype(np.int64)


def _held(found: Sequence[tuple[Estimate, float]]) -> int:
    return sum(one.low - 1e-9 <= truth <= one.high + 1e-9 for one, truth in found)


def _covers(found: Sequence[tuple[Estimate, float]], most: float | None = None) -> None:
    """At least 93 %, and, where the interval is to be exact, not more than `most`; wrong alarms below 1e-9."""
    held = _held(found)
    assert held >= stats.binom.ppf(ALARM, len(found), 0.935), held / len(found)
    if most is not None:
        assert held <= stats.binom.isf(ALARM, len(found), most), held / len(found)


# --- confusion -------------------------------------------------------------------------------------------------------

TABLE = np.array([0.55, 0.1, 0.08, 0.27])
TRUTHS = {"precision": 0.27 / 0.37, "recall": 0.27 / 0.35, "specificity": 0.55 / 0.65, "f1": 0.54 / 0.72}


def test_without_noise_the_figures_are_those_of_the_table() -> None:
    """Precision, recall, specificity and F1 of each class, and the accuracy, as everybody computes them."""
    cells = (DRAW.integers(1, 200, (3, 3)) * 10).tolist()
    flat = [count for row in cells for count in row]
    table, total = Confusion(cells=flat, classes=3, deviation=1e-9, rows_per_unit=1), sum(flat)
    assert table.accuracy().estimate().value == pytest.approx(sum(cells[i][i] for i in range(3)) / total)
    for one in range(3):
        hits, actual, told = cells[one][one], sum(cells[one]), sum(row[one] for row in cells)
        rest = total - actual - told + hits
        expected = {
            "precision": hits / told,
            "recall": hits / actual,
            "specificity": rest / (rest + told - hits),
            "f1": 2 * hits / (actual + told),
        }
        for name, ratio in table.figures(one).items():
            assert ratio.estimate().value == pytest.approx(expected[name])


@pytest.mark.parametrize(("people", "deviation"), [(300, 8.0), (1000, 6.0), (20_000, 12.0)])
def test_intervals_of_a_confusion_matrix_hold_the_truth_as_often_as_they_say(people: int, deviation: float) -> None:
    """95 %, and no more than 97 %, at holdouts of usual sizes."""
    found: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in (*TRUTHS, "accuracy")}
    for _ in range(RUNS):
        cells = (DRAW.multinomial(people, TABLE) + _noise(deviation, 4)).tolist()
        table = Confusion(cells=cells, classes=2, deviation=deviation, rows_per_unit=1)
        found["accuracy"].append((table.accuracy().estimate(), 0.82))
        for name, ratio in table.figures(1).items():
            found[name].append((ratio.estimate(), TRUTHS[name]))
    for name, estimates in found.items():
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one, _ in estimates), name
        _covers(estimates, 0.97)


def test_where_noise_is_larger_than_the_group_nothing_is_claimed() -> None:
    """A rare class: the interval still holds the truth, and an empty one has the whole range."""
    rare, truth = np.array([0.95, 0.03, 0.01, 0.01]), 0.5
    found = []
    for _ in range(RUNS):
        cells = (DRAW.multinomial(500, rare) + _noise(8, 4)).tolist()
        table = Confusion(cells=cells, classes=2, deviation=8, rows_per_unit=1)
        found.append((table.figures(1)["recall"].estimate(), truth))
    _covers(found)
    nothing = Ratio(above=-5, beside=1, above_noise=4, beside_noise=4, rows_per_unit=1).estimate()
    assert (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize("rows_per_unit", [5, 20])
def test_several_rows_of_one_unit_are_allowed_for(rows_per_unit: int) -> None:
    """Rows of a unit that all say the same: the interval holds, and one that took them as independent would not."""
    units, truth, honest, naive = 400, 0.8, [], []
    for _ in range(RUNS):
        right = int(DRAW.binomial(units, truth)) * rows_per_unit
        noise = _noise(6.0, 2)
        counts = right + int(noise[0]), units * rows_per_unit - right + int(noise[1])
        honest.append((estimate_accuracy(*counts, 6.0, rows_per_unit), truth))
        naive.append((estimate_accuracy(*counts, 6.0, 1), truth))
    _covers(honest, 0.97)
    assert _held(naive) < 0.8 * RUNS


# --- calibration -----------------------------------------------------------------------------------------------------


def _scores(shape: tuple[float, float], bins: int, power: float) -> dict[str, Any]:
    """A world of scores that are off by a power, as shares of cells, with its true figures by a fine grid."""
    grid = (np.arange(400_000) + 0.5) / 400_000
    density = stats.beta.pdf(grid, *shape)
    density /= density.sum()
    chance, cell = grid**power, np.minimum((grid * bins).astype(int), bins - 1)
    positive = np.bincount(cell, weights=density * chance, minlength=bins)
    negative = np.bincount(cell, weights=density * (1 - chance), minlength=bins)
    said = np.bincount(cell, weights=density * grid, minlength=bins)
    below = np.cumsum(negative) - negative / 2
    return {
        "shares": np.concatenate([negative, positive]),
        "error": float(np.abs(positive - said).sum()),
        "brier": float((density * (chance * (1 - grid) ** 2 + (1 - chance) * grid**2)).sum()),
        "auc": float((positive * below).sum() / (positive.sum() * negative.sum())),
        "rates": positive / (positive + negative),
    }


@pytest.mark.parametrize(
    ("people", "deviation", "bins", "shape", "power"),
    [
        (400, 4.0, 8, (2, 4), 1.3),
        (2000, 8.0, 8, (0.6, 6), 1.0),
        (5000, 6.0, 32, (2, 4), 1.3),
        (20_000, 4.0, 64, (2, 2), 1.0),
    ],
)
def test_what_follows_from_the_histogram_holds_the_truth(
    people: int, deviation: float, bins: int, shape: tuple[float, float], power: float
) -> None:
    """Calibration error, Brier score and AUC, wherever in their cells the scores lie; a cell's rate at 95 %."""
    world = _scores(shape, bins, power)
    fullest = int(np.argmax(world["shares"][:bins] + world["shares"][bins:]))
    found: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in ("error", "brier", "auc", "rate")}
    for _ in range(RUNS // 3):
        noisy = (DRAW.multinomial(people, world["shares"]) + _noise(deviation, 2 * bins)).tolist()
        of = Histograms(first=noisy[:bins], second=noisy[bins:], deviation=deviation, rows_per_unit=1)
        found["error"].append((calibration_error(of), world["error"]))
        found["brier"].append((brier_score(of), world["brier"]))
        auc, rate = estimate_auc(of.first, of.second, deviation), reliability(of, 0)[fullest]
        assert auc is not None
        assert rate is not None
        found["auc"].append((auc.estimate, world["auc"]))
        found["rate"].append((rate, float(world["rates"][fullest])))
    for estimates in found.values():
        assert all(0 <= one.low <= one.value <= one.high <= 1 for one, _ in estimates)
        _covers(estimates)


def test_a_finer_histogram_tells_the_calibration_better() -> None:
    """With little noise the interval is about one cell wide: a model that is off by a tenth is caught with 64 cells."""
    for bins, caught in ((4, False), (64, True)):
        grid = np.arange(bins) / bins + 0.5 / bins
        second = np.rint(10_000 * np.clip(grid - 0.1, 0, 1)).astype(int)
        of = Histograms(first=(10_000 - second).tolist(), second=second.tolist(), deviation=3.0, rows_per_unit=1)
        found = calibration_error(of)
        assert found.high - found.low < 1 / bins + 0.01
        assert (found.low > 0.05) == caught


def test_calibration_of_nobody_is_the_whole_range() -> None:
    """No error, no division; and a cell of too few noisy rows has no rate."""
    of = Histograms(first=[1, -4], second=[0, 2], deviation=3.0, rows_per_unit=1)
    assert (calibration_error(of).low, calibration_error(of).high) == (0, 1)
    assert brier_score(of).low == 0
    assert reliability(of, 5) == [None, None]


# --- numbers ---------------------------------------------------------------------------------------------------------


def _people(count: int) -> tuple[Any, Any]:
    label = np.clip(DRAW.normal(0.1, 0.45, count), -1, 1)
    return label, 0.7 * label + DRAW.normal(0, 0.22, count)


def _errors(label: Any, predicted: Any, bound: float) -> Any:
    return np.minimum(np.abs(label - predicted) / 2 / bound, 1)


@pytest.mark.parametrize(("people", "multiplier", "bound"), [(300, 2.0, 0.5), (2000, 6.0, 0.5), (20_000, 2.0, 1.0)])
def test_intervals_of_errors_hold_the_truth(people: int, multiplier: float, bound: float) -> None:
    """MAE and RMSE, and R squared where it is told."""
    label, predicted = _people(1_000_000)
    error = _errors(label, predicted, bound) * bound
    truths = {
        "mae": float(error.mean()),
        "rmse": math.sqrt(float((error**2).mean())),
        "r2": 1 - 4 * float((error**2).mean() / label.var()),
    }
    deviation = multiplier * sensitivity(Part.ERRORS, Target.REAL)
    found: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in truths}
    for _ in range(RUNS // 2):
        label, predicted = _people(people)
        e = _errors(label, predicted, bound)
        powers = (np.ones(people), e, e * e, e**4, label, label * label)
        exact = [int(np.rint(p * scale).sum()) for p, scale in zip(powers, ERROR_SCALES, strict=True)]
        sums = ErrorSums.of((np.array(exact) + _noise(deviation, 6)).tolist(), deviation, bound, 1)
        found["mae"].append((mean_absolute_error(sums, 1.0), truths["mae"]))
        found["rmse"].append((root_mean_squared_error(sums, 1.0), truths["rmse"]))
        squared = r_squared(sums)
        if squared is not None:
            found["r2"].append((squared, truths["r2"]))
    assert len(found["r2"]) > RUNS // 4
    for estimates in found.values():
        assert all(one.low <= one.value <= one.high for one, _ in estimates)
        _covers(estimates)


def test_without_noise_errors_are_those_of_the_rows() -> None:
    """In the label's own unit; R squared as everybody computes it."""
    label, predicted = _people(5000)
    e = _errors(label, predicted, 1.0)
    powers = (np.ones(5000), e, e * e, e**4, label, label * label)
    numbers = [int(np.rint(p * scale).sum()) for p, scale in zip(powers, ERROR_SCALES, strict=True)]
    sums = ErrorSums.of(numbers, 1e-6, 1.0, 1)
    assert mean_absolute_error(sums, 50.0).value == pytest.approx(50 * np.abs(label - predicted).mean() / 2, rel=1e-3)
    rmse = math.sqrt(((label - predicted) ** 2).mean()) / 2
    assert root_mean_squared_error(sums, 50.0).value == pytest.approx(50 * rmse, rel=1e-3)
    squared = r_squared(sums)
    assert squared is not None
    assert squared.value == pytest.approx(1 - ((label - predicted) ** 2).mean() / label.var(), rel=1e-3)


def test_of_nobody_no_error_is_told() -> None:
    """The whole range, and no R squared."""
    sums = ErrorSums.of([0, 5000, -700, 0, 0, 0], 90_000.0, 0.5, 1)
    assert (mean_absolute_error(sums, 10.0).low, mean_absolute_error(sums, 10.0).high) == (0, 5)
    assert r_squared(sums) is None


# --- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "people", "deviation"), [(2, 1000, 6.0), (2, 10_000, 6.0), (5, 2000, 6.0)])
def test_gaps_between_groups_hold_the_truth(count: int, people: int, deviation: float) -> None:
    """Of two groups at 95 %; of more the interval is conservative. A group's own figures at 95 %."""
    shift = np.array([-0.02, 0.02, 0.02, -0.02])
    tables = [TABLE + place * shift for place in range(count)]
    rates = {
        "demographic_parity_difference": [t[1] + t[3] for t in tables],
        "equal_opportunity_difference": [t[3] / (t[2] + t[3]) for t in tables],
        "accuracy_difference": [t[0] + t[3] for t in tables],
    }
    found: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in (*rates, "own")}
    for _ in range(RUNS // 2):
        sizes = DRAW.multinomial(people, np.ones(count) / count)
        cells = np.concatenate([DRAW.multinomial(size, t) for size, t in zip(sizes, tables, strict=True)])
        noisy = (cells + _noise(deviation, 4 * count)).tolist()
        told = groups([str(place) for place in range(count)], noisy, Target.BINARY, deviation, 1, 5)
        for name, estimate in gaps(told).items():
            found[name].append((estimate, max(rates[name]) - min(rates[name])))
        figures = told[0].figures
        assert figures is not None
        found["own"].append((figures["true_positive_rate"].estimate(), rates["equal_opportunity_difference"][0]))
    for estimates in found.values():
        _covers(estimates)


def test_without_noise_a_gap_is_the_largest_difference() -> None:
    """And fewer than two groups have none."""
    ratios = [
        Ratio(above=above, beside=1000 - above, above_noise=1e-12, beside_noise=1e-12, rows_per_unit=1)
        for above in (200, 700, 450)
    ]
    found = gap(ratios)
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert gap(ratios[:1]) is None


def test_groups_of_a_number_have_their_mean_error() -> None:
    """In units of the error's bound; the count is told in rows."""
    rows, error = 400, 0.25
    numbers = [rows * GROUP_SCALES[0], int(rows * error * GROUP_SCALES[1]), 3 * GROUP_SCALES[0], 0]
    many, few = groups(["many", "few"], numbers, Target.REAL, 1000.0, 1, 5)
    assert many.rows.value == rows
    assert many.figures is not None
    assert many.figures["mean_absolute_error"].estimate().value == pytest.approx(error)
    assert few.figures is None
