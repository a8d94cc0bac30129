"""Estimates from noisy counts: accuracy and AUC, each with an interval. Pure; anybody can repeat it.

Rules
-----
1. Only noisy counts, their noise and nothing else go in. What comes out costs no privacy.
2. An interval covers the noise and the sampling of the holdout, at 95 %: of the accuracy by Fieller, of the AUC by
   first-order error propagation. Several rows of one unit are allowed for (`privacy.evaluation.estimates`).
3. Noisy counts that are negative are not set to zero one by one, which would add people that are not there: the
   histogram is moved to the nearest one without negative cells that has the same total. How many cells were negative
   is reported.
4. Nothing is raised because of a count: where nothing can be said, the interval is [0, 1] or the estimate absent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from privacy.evaluation.estimates import Estimate, Ratio

_LEAST_TOTAL = 2.0

Counts: TypeAlias = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AucEstimate:
    """An estimate of the area under the curve, and how many histogram cells were negative."""

    estimate: Estimate
    clipped: int


def estimate_accuracy(correct: int, wrong: int, deviation: float, rows_per_unit: int = 1) -> Estimate:
    """Accuracy from noisy counts of correct and wrong rows.

    Args:
        correct: Noisy count of rows that the model got right.
        wrong: Noisy count of the others.
        deviation: Standard deviation of the noise on each.
        rows_per_unit: The most rows of one unit.
    """
    noise = deviation * deviation
    share = Ratio(above=correct, beside=wrong, above_noise=noise, beside_noise=noise, rows_per_unit=rows_per_unit)
    return share.estimate()


def estimate_auc(
    negative: Sequence[int], positive: Sequence[int], deviation: float, rows_per_unit: int = 1
) -> AucEstimate | None:
    """AUC from noisy histograms of scores, per class; ties in a cell count one half.

    Args:
        negative: Noisy counts of the negative class in cells of rising score.
        positive: Those of the positive class in the same cells.
        deviation: Standard deviation of the noise on each cell.
        rows_per_unit: The most rows of one unit.

    Returns:
        None if one class looks empty.

    Reference: DeLong, DeLong and Clarke-Pearson 1988 for the sampling variance.
    """
    clipped = sum(count < 0 for count in (*negative, *positive))
    if sum(negative) < _LEAST_TOTAL or sum(positive) < _LEAST_TOTAL:
        return None
    low_class, high_class = without_negatives(negative), without_negatives(positive)
    below = placements(low_class)
    above = [1 - place for place in placements(high_class)]
    area = _mean(high_class, below)
    # fsum: the plain sum rounds differently from one Python to the next, and estimates are recomputed elsewhere.
    variance = math.fsum(
        rows_per_unit * _sampling(counts, places, area) + _noise(counts, places, area, deviation)
        for counts, places in ((high_class, below), (low_class, above))
    )
    return AucEstimate(estimate=Estimate.around(area, math.sqrt(variance)), clipped=clipped)


def without_negatives(counts: Counts) -> list[float]:
    """The nearest counts, in squares, that are not negative and have the same sum.

    Reference: Duchi et al. 2008, figure 1 (projection onto the simplex).
    """
    total = max(math.fsum(counts), _LEAST_TOTAL)
    shift, running = 0.0, 0.0
    for rank, count in enumerate(sorted(counts, reverse=True), start=1):
        running += count
        if count <= (running - total) / rank:
            break
        shift = (running - total) / rank
    return [max(count - shift, 0.0) for count in counts]


def placements(counts: Counts) -> list[float]:
    """For each cell: the share of `counts` below it, and half of what lies in it."""
    total, below, places = math.fsum(counts), 0.0, []
    for count in counts:
        places.append((below + count / 2) / total)
        below += count
    return places


def _mean(counts: Counts, values: Sequence[float]) -> float:
    return math.fsum(count * value for count, value in zip(counts, values, strict=True)) / math.fsum(counts)


def _sampling(counts: Counts, values: Sequence[float], mean: float) -> float:
    """Variance of a class's mean placement over its rows; at least that of one row half way off."""
    total = math.fsum(counts)
    spread = _mean(counts, _squares(values, mean))
    return (spread + 0.25 / total) / total


def _noise(counts: Counts, values: Sequence[float], mean: float, deviation: float) -> float:
    """Variance from noise on each cell of a class, to first order."""
    relative = deviation / math.fsum(counts)
    return relative * relative * math.fsum(_squares(values, mean))


def _squares(values: Sequence[float], mean: float) -> list[float]:
    return [(value - mean) * (value - mean) for value in values]
