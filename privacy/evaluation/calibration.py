"""How far scores can be taken at their word: reliability, calibration error and Brier score, from noisy histograms.

Rules
-----
1. All of it follows from the histograms that the AUC is paid for with, and costs nothing more.
2. Where in its cell a score lies is not known. Values take the cell's middle; intervals hold whatever lies in the cell,
   so that they are never narrower than a cell: ask for more `bins` where that matters.
3. The sum of distances |noisy - expected| is too large in the mean. The value has the variance taken off cell by cell;
   the interval's lower end allows for the mean of all distances that noise and sampling make (half-normal).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from privacy.evaluation.counts import without_negatives
from privacy.evaluation.estimates import CONFIDENCE, Estimate, Mean, Ratio, quantile

_LEAST_TOTAL = 2.0
_HALF_NORMAL_MEAN = math.sqrt(2 / math.pi)
_HALF_NORMAL_VARIANCE = 1 - 2 / math.pi


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Scores of two halves of the rows, in the same cells of rising score.

    Attributes:
        first, second: Noisy counts of negatives and positives; of several classes, of wrong and right predictions.
        deviation: Of the noise on each.
        rows_per_unit: The most rows of one unit.
    """

    first: Sequence[int]
    second: Sequence[int]
    deviation: float
    rows_per_unit: int

    @property
    def bins(self) -> int:
        """Cells."""
        return len(self.first)

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.first) + sum(self.second)


def reliability(of: Histograms, least: int) -> list[Estimate | None]:
    """For each cell of score, the share of the second half in it; nothing where it holds fewer than `least` rows."""
    noise = of.deviation**2
    found: list[Estimate | None] = []
    for first, second in zip(of.first, of.second, strict=True):
        share = Ratio(above=second, beside=first, above_noise=noise, beside_noise=noise, rows_per_unit=of.rows_per_unit)
        found.append(None if first + second < least else share.estimate())
    return found


def calibration_error(of: Histograms) -> Estimate:
    """The expected calibration error: the mean distance, over rows, between a cell's score and its true share."""
    total, reach = of.total, quantile(CONFIDENCE)
    total_reach = reach * of.deviation * math.sqrt(2 * of.bins)
    if total < max(_LEAST_TOTAL, total_reach):
        return Estimate(value=0.5, low=0.0, high=1.0)
    cells = [
        _distance(place, first, second, of)
        for place, (first, second) in enumerate(zip(of.first, of.second, strict=True))
    ]
    summed = math.fsum(abs(distance) for distance, _ in cells)
    spread = math.fsum(variance for _, variance in cells)
    mean = _HALF_NORMAL_MEAN * math.fsum(math.sqrt(variance) for _, variance in cells)
    by_total, within = total_reach * summed / total, 0.5 / of.bins
    down = math.hypot(mean + reach * math.sqrt(_HALF_NORMAL_VARIANCE * spread), by_total)
    up = math.hypot(reach * math.sqrt(spread), by_total)
    likely = math.fsum(math.sqrt(max(distance**2 - variance, 0.0)) for distance, variance in cells)
    value = min(1.0, likely / total)
    low, high = (summed - down) / total - within, (summed + up) / total + within
    return Estimate(value=value, low=max(0.0, min(low, value)), high=min(1.0, max(high, value)))


def brier_score(of: Histograms) -> Estimate:
    """The mean squared distance between a score and what came true, as 0 or 1."""
    middle = _brier(of, 0.5, 0.5).estimate()
    least, most = _brier(of, 0.0, 1.0).estimate(), _brier(of, 1.0, 0.0).estimate()
    return replace(middle, low=min(least.low, middle.value), high=max(most.high, middle.value))


def _brier(of: Histograms, first_place: float, second_place: float) -> Mean:
    """As if each score lay at these places of its cell, from 0 to 1, for either half."""
    bins, noise = of.bins, of.deviation**2
    values = [((cell + first_place) / bins) ** 2 for cell in range(bins)]
    values += [(1 - (cell + second_place) / bins) ** 2 for cell in range(bins)]
    counts = [*of.first, *of.second]
    likely = without_negatives(counts)
    weight = math.fsum(likely)
    mean = math.fsum(value * count for value, count in zip(values, likely, strict=True)) / weight
    return Mean(
        total=math.fsum(value * count for value, count in zip(values, counts, strict=True)),
        rows=of.total,
        total_noise=noise * math.fsum(value * value for value in values),
        rows_noise=noise * len(values),
        shared_noise=noise * math.fsum(values),
        spread=math.fsum(count * (value - mean) ** 2 for value, count in zip(values, likely, strict=True)) / weight,
        rows_per_unit=of.rows_per_unit,
        bounds=(0.0, 1.0),
    )


def _distance(place: int, first: int, second: int, of: Histograms) -> tuple[float, float]:
    """How many more rows of the second half a cell has than its middle says, and the variance of that.

    The variance is the noise's and that of sampling, with a row added to either half.
    """
    middle = (place + 0.5) / of.bins
    noise = of.deviation**2 * ((1 - middle) ** 2 + middle**2)
    share = (max(second, 0) + 1) / (max(first, 0) + max(second, 0) + 2)
    sampled = of.rows_per_unit * max(first + second, 0) * share * (1 - share)
    return second * (1 - middle) - first * middle, noise + sampled
