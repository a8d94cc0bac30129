"""How noisy each figure of an answer is: the deviation of its noise, in the unit that the figure is told in. Pure.

Rules
-----
1. Only noisy numbers, the deviation of their noise and the request go in, as for the answers. Nothing of this is in the
   released file: anybody works it out again.
2. Of counts and sums the deviation is the noise's own. Of a mean and of a quantile, which bend the noise, it is that of
   the straight line through the answer; where no answer is given, there is none. Intervals come from the exact form
   (`privacy.statistics.answers`): where counts are large beside their noise, a mean's reaches 1.96 of these deviations.

    count, histogram:  sigma
    sum:               q sigma_s
    mean S/N:          q sqrt(sigma_s^2 + (S/N)^2 sigma_n^2) / N
    quantile p:        sigma sqrt(below (1-p)^2 + (t-p)^2 + above p^2) width / n

with q the grid step; n and width of the cell in which the quantile lies, t the part of it that lies below the quantile;
below and above count the other cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from kernel.events import Parameter
from privacy.evaluation.counts import without_negatives
from privacy.jobs.queries import Query, QueryKind, Summed
from privacy.statistics.answers import located
from privacy.statistics.intervals import ratio

_DIGITS: Final = 3


def deviations(
    query: Query, vectors: Sequence[Sequence[int]], noises: Sequence[Parameter], answered: Sequence[bool]
) -> list[str | None]:
    """The deviation of the noise in each figure of an answer, as text of three digits.

    Args:
        query: What was asked.
        vectors: The noisy numbers of its measurements, as for `answer`.
        noises: Standard deviation of the noise on each number of each.
        answered: Whether a figure was given at all.
    """
    numbers, noise = vectors[0], float(noises[0].number)
    match query.kind:
        case QueryKind.COUNT | QueryKind.HISTOGRAM:
            found: list[float | None] = [noise] * len(numbers)
        case QueryKind.SUM:
            found = [noise * _step(_summed(query))] * len(numbers)
        case QueryKind.MEAN:
            of_counts = float(noises[1].number)
            found = [of_mean(_summed(query), s, n, noise, of_counts) for s, n in zip(numbers, vectors[1], strict=True)]
        case QueryKind.QUANTILES:
            found = [of_quantile(query, numbers, noise, float(at.number)) for at in query.at]
    return [None if each is None or not given else short(each) for each, given in zip(found, answered, strict=True)]


def of_mean(summed: Summed, total: int, count: int, of_sum: float, of_count: float) -> float | None:
    """The deviation of a mean in the column's unit; nothing where the count is within reach of 0."""
    if ratio(total, count, of_sum, of_count) is None:
        return None
    bound = float(summed.centred_bound)
    steps = min(max(total / count, -bound), bound)
    return _step(summed) * math.hypot(of_sum, steps * of_count) / count


def of_quantile(query: Query, counts: Sequence[int], noise: float, share: float) -> float | None:
    """The deviation of a quantile in the column's unit; nothing where its cell is empty."""
    positive, limits = without_negatives(counts), query.axes[0].limits
    place, part = located(positive, share)
    if positive[place] <= 0:
        return None
    above = len(counts) - 1 - place
    of_place = noise * math.sqrt(place * (1 - share) ** 2 + (part - share) ** 2 + above * share * share)
    return of_place * float(limits[place + 1].number - limits[place].number) / positive[place]


def _step(summed: Summed) -> float:
    return float(summed.quantum.number)


def _summed(query: Query) -> Summed:
    assert query.summed is not None  # a query of these kinds has it
    return query.summed


def short(value: float) -> str:
    """A deviation as text of three digits."""
    exact = Decimal(value)
    return f"{round(exact, _DIGITS - 1 - exact.adjusted()):f}"
