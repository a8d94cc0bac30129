"""How far noise reaches, and what follows for sums of noisy numbers and for ratios. Pure; anybody can repeat it.

Rules
-----
1. An interval holds, at 95 %, what the answer would be without noise. Whom the rows stand for is not its business:
   sampling is not in it.
2. Nothing is raised because of a noisy number: where nothing can be said, the interval is all that is possible.
3. `math.fsum` everywhere: plain sums round differently from one Python to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

CONFIDENCE = "0.95"
QUANTILE = 1.959963984540054
_SMOOTH = 20.0
_TAIL = 0.05


@lru_cache(maxsize=4096)
def reach(deviation: float) -> int:
    """The least whole number that discrete Gaussian noise exceeds, up or down, at most once in twenty times.

    From a deviation of 20 on the normal quantile, rounded up: the distribution is then normal to many digits.
    """
    if deviation == 0:
        return 0
    if deviation >= _SMOOTH:
        return math.ceil(QUANTILE * deviation)
    far = math.ceil(12 * deviation) + 2
    weights = [math.exp(-(x * x) / (2 * deviation * deviation)) for x in range(far + 1)]
    total = weights[0] + 2 * math.fsum(weights[1:])
    inside = weights[0]
    for distance in range(far):
        if inside >= (1 - _TAIL) * total:
            return distance
        inside += 2 * weights[distance + 1]
    return far


def spread(deviation: float) -> float:
    """A deviation whose normal interval covers as much as the noise's own; for sums of several noisy numbers."""
    return max(deviation, reach(deviation) / QUANTILE)


def ratio(total: int, count: int, total_deviation: float, count_deviation: float) -> tuple[float, float] | None:
    """The 95 % interval of a ratio of two numbers with independent noise; nothing if it has no ends.

    Reference: Fieller 1954. No end where the count is within reach of 0.
    """
    total_reach, count_reach = QUANTILE * spread(total_deviation), QUANTILE * spread(count_deviation)
    squared = float(count) * count - count_reach * count_reach
    if count <= 0 or squared <= 0:
        return None
    middle = float(count) * total
    inner = middle * middle - squared * (float(total) * total - total_reach * total_reach)
    half = math.sqrt(max(inner, 0.0))
    return (middle - half) / squared, (middle + half) / squared


def running_reaches(cells: int, deviation: float, share: float) -> list[float]:
    """For each cell but the last: 1.96 deviations of (the cells up to it - share x all), for cells of one deviation."""
    own = spread(deviation)
    return [
        QUANTILE * own * math.sqrt(below * (1 - share) ** 2 + (cells - below) * share * share)
        for below in range(1, cells)
    ]


def running(counts: Sequence[int]) -> list[int]:
    """Sums up to each cell."""
    sums, total = [], 0
    for count in counts:
        total += count
        sums.append(total)
    return sums
