"""Answers from noisy measurements: counts, histograms, sums, means, quantiles. Pure; anybody can repeat it.

Rules
-----
1. Only noisy numbers, the deviation of their noise and the request go in. What comes out costs no privacy.
2. Each answer has its value and the interval that holds, at 95 %, the value that it would have without noise. An answer
   of many cells has an interval for each; one in twenty of them will miss.
3. A histogram's values are the nearest ones without negative cells that have the same sum; its intervals are those of
   the noisy numbers themselves.
4. Every figure that is written is rounded the same way everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from kernel.events import Parameter
from privacy.evaluation.counts import without_negatives
from privacy.jobs.queries import Query, QueryKind, Summed
from privacy.statistics.intervals import QUANTILE, ratio, reach, running, running_reaches, spread

_EXACT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN)
_TENTH: Final = Decimal("0.1")


def answer(query: Query, vectors: Sequence[Sequence[int]], deviations: Sequence[Parameter]) -> dict[str, Any]:
    """The answer to a query.

    Args:
        query: What was asked.
        vectors: The noisy numbers of its measurements: of a mean the sum's and the count's, else one vector.
        deviations: Standard deviation of the noise on each number of each.
    """
    numbers, deviation = vectors[0], float(deviations[0].number)
    match query.kind:
        case QueryKind.COUNT | QueryKind.HISTOGRAM:
            return _counts(numbers, deviation)
        case QueryKind.QUANTILES:
            return {"quantiles": [_quantile(query, numbers, deviation, at) for at in query.at]}
        case QueryKind.SUM:
            return _sums(_summed(query), numbers, deviation)
        case QueryKind.MEAN:
            return _means(_summed(query), numbers, vectors[1], deviation, float(deviations[1].number))


def _counts(numbers: Sequence[int], deviation: float) -> dict[str, Any]:
    far = reach(deviation)
    values = without_negatives(numbers) if len(numbers) > 1 else [max(numbers[0], 0)]
    return _listed(
        values=[_text(value, _TENTH) for value in values],
        low=[str(max(number - far, 0)) for number in numbers],
        high=[str(max(number + far, 0)) for number in numbers],
    )


def _sums(summed: Summed, numbers: Sequence[int], deviation: float) -> dict[str, Any]:
    far, quantum = reach(deviation), summed.quantum.number
    return _listed(
        values=[_exact(number, quantum) for number in numbers],
        low=[_exact(number - far, quantum) for number in numbers],
        high=[_exact(number + far, quantum) for number in numbers],
    )


def _means(
    summed: Summed, sums: Sequence[int], counts: Sequence[int], sum_deviation: float, count_deviation: float
) -> dict[str, Any]:
    values, lows, highs = [], [], []
    bound = float(summed.centred_bound)
    for total, count in zip(sums, counts, strict=True):
        ends = ratio(total, count, sum_deviation, count_deviation)
        low, high = (-bound, bound) if ends is None else (max(ends[0], -bound), min(ends[1], bound))
        values.append(None if ends is None else _mean(summed, min(max(total / count, -bound), bound)))
        # Ends that both lie beyond a bound say no more than the bound.
        lows.append(_mean(summed, min(low, bound)))
        highs.append(_mean(summed, max(high, -bound)))
    return _listed(values=values, low=lows, high=highs)


def _mean(summed: Summed, steps: float) -> str:
    """Steps from the middle as a value, to a hundredth of a step and within the bounds."""
    quantum = summed.quantum.number
    exact = _EXACT.add(summed.middle, _EXACT.multiply(_EXACT.create_decimal_from_float(steps), quantum))
    inside = min(max(exact, summed.low.number), summed.high.number)
    return _text(inside, Decimal(1).scaleb(quantum.adjusted() - 2))


def _quantile(query: Query, counts: Sequence[int], deviation: float, at: Parameter) -> dict[str, Any]:
    """One quantile: within its cell as if the cell's rows lay evenly.

    The lower end of the interval is that of the first cell up to which enough rows may lie; the upper end is that of
    the cell behind the last one up to which too few may lie.
    """
    limits, share = query.axes[0].limits, float(at.number)
    sums = running(counts)
    reaches = running_reaches(len(counts), deviation, share)
    over = [total - share * sums[-1] for total in sums[:-1]]
    first = next((place for place, (x, far) in enumerate(zip(over, reaches, strict=True)) if x + far >= 0), len(over))
    below = [place for place, (x, far) in enumerate(zip(over, reaches, strict=True)) if x - far < 0]
    last = below[-1] + 1 if below else 0
    nothing = sums[-1] <= QUANTILE * spread(deviation) * math.sqrt(len(counts))
    low, high = (limits[0], limits[-1]) if nothing else (limits[min(first, last)], limits[max(first, last) + 1])
    value = None if nothing else str(_between(limits, without_negatives(counts), share, low, high))
    return {"at": str(at), "value": value, "low": str(low), "high": str(high)}


def located(counts: Sequence[float], share: float) -> tuple[int, float]:
    """Where the running sum of counts without negatives reaches the share: the cell, and the part of it below."""
    wanted, below = share * math.fsum(counts), 0.0
    for cell, count in enumerate(counts):
        if count > 0 and below + count >= wanted:
            return cell, min(max((wanted - below) / count, 0.0), 1.0)
        below += count
    return len(counts) - 1, 1.0


def _between(
    limits: Sequence[Parameter], counts: Sequence[float], share: float, low: Parameter, high: Parameter
) -> Parameter:
    """Where the running sum reaches the share, in a straight line within its cell."""
    place, part = located(counts, share)
    left, right = limits[place].number, limits[place + 1].number
    width = _EXACT.subtract(right, left)
    exact = _EXACT.add(left, _EXACT.multiply(width, _EXACT.create_decimal_from_float(part)))
    inside = min(max(exact, low.number), high.number)
    return Parameter(_text(inside, Decimal(1).scaleb(width.adjusted() - 3)))


def _summed(query: Query) -> Summed:
    assert query.summed is not None  # a query of these kinds has it
    return query.summed


def _listed(**columns: Sequence[str | None]) -> dict[str, Any]:
    return {name: list(values) for name, values in columns.items()}


def _exact(steps: int, quantum: Decimal) -> str:
    return str(Parameter(_EXACT.multiply(Decimal(steps), quantum)))


def _text(value: float | Decimal, unit: Decimal) -> str:
    exact = value if isinstance(value, Decimal) else _EXACT.create_decimal_from_float(float(value))
    return str(Parameter(exact.quantize(unit, context=_EXACT)))
