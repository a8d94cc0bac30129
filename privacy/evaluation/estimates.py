"""Estimates with intervals: shares and means of noisy sums, and the gap between several of them. Pure.

Rules
-----
1. Only noisy sums, the variance of their noise and declared constants go in. What comes out costs no privacy.
2. An interval holds the truth with 95 %: it covers the noise and the sampling of the holdout from its population. It
   is Fieller's: all values which the noisy sums do not contradict, so that it stays honest where noise is large.
3. Rows of one unit may say the same thing many times. Sampling variance is multiplied by `rows_per_unit`, which bounds
   it whatever the rows of a unit have in common (Cauchy-Schwarz); with one row per unit nothing changes.
4. Nothing is raised because of a count: where nothing can be said, the interval is the whole range.

References: Fieller 1954 for ratios; Wilson 1927 for the sampling of a share; Zou and Donner 2008 for differences of
estimates from their intervals (MOVER).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import NormalDist
from typing import Protocol

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with the interval that holds the truth with `CONFIDENCE`."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, deviation: float, low: float = 0.0, high: float = 1.0) -> Estimate:
        """An interval of 1.96 deviations about `value`, both within the range [low, high]."""
        inside = min(max(value, low), high)
        reach = quantile(CONFIDENCE) * deviation
        return cls(value=inside, low=min(max(low, value - reach), inside), high=max(min(high, value + reach), inside))

    def scaled(self, by: float) -> Estimate:
        """The same in another unit."""
        return Estimate(value=self.value * by, low=self.low * by, high=self.high * by)


class Estimated(Protocol):
    """What can be estimated at any confidence."""

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """Value and interval."""


def quantile(confidence: float) -> float:
    """How many deviations a normal number stays within, with this confidence; rounded, to be the same everywhere."""
    return round(NormalDist().inv_cdf((1 + confidence) / 2), 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The share A / (A + B) of two noisy sums over different rows.

    Attributes:
        above, beside: A and B; where noise made them negative they are 0, which is nearer to any truth.
        above_noise, beside_noise: Variances of their noise.
        rows_per_unit: The most rows of one unit.
        rows: How many rows the share is taken of, for its sampling; A + B if nothing is said.
    """

    above: float
    beside: float
    above_noise: float
    beside_noise: float
    rows_per_unit: int
    rows: float | None = None

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """All shares p with (A (1 - p) - B p)^2 within the quantile of its variance.

        That variance is n p (1 - p) from sampling, and (1 - p)^2 and p^2 times the noise's. A + B near 0 says nothing.
        """
        above, beside = max(self.above, 0.0), max(self.beside, 0.0)
        total = above + beside
        sampled = self.rows_per_unit * (total if self.rows is None else max(self.rows, 0.0))
        square, noise = quantile(confidence) ** 2, self.above_noise + self.beside_noise
        second = total * total + square * (sampled - noise)
        first = -2 * above * total - square * (sampled - 2 * self.above_noise)
        last = above * above - square * self.above_noise
        return _solved(second, first, last, above / total if total > 0 else 0.5, (0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean S / n of a noisy sum of values over a noisy number of rows.

    Attributes:
        total, rows: S and n.
        total_noise, rows_noise: Variances of their noise.
        spread: Variance of the value from row to row.
        rows_per_unit: The most rows of one unit.
        bounds: Where the value lies in any row.
        shared_noise: Covariance of the two noises, where both are sums of the same counts.
    """

    total: float
    rows: float
    total_noise: float
    rows_noise: float
    spread: float
    rows_per_unit: int
    bounds: tuple[float, float]
    shared_noise: float = 0.0

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """All means m with (S - m n)^2 within the quantile of its variance: n x spread, and the noise of both."""
        square, (low, high) = quantile(confidence) ** 2, self.bounds
        rows = max(self.rows, 0.0)
        second = rows * rows - square * self.rows_noise
        first = -2 * self.total * rows + 2 * square * self.shared_noise
        last = self.total * self.total - square * (self.rows_per_unit * rows * self.spread + self.total_noise)
        value = self.total / rows if rows > 0 else (low + high) / 2
        return _solved(second, first, last, min(max(value, low), high), self.bounds)


def gap(of: Sequence[Estimated]) -> Estimate | None:
    """The largest difference between any two of several estimates over different rows; none of fewer than two.

    Every pair's interval is taken at a confidence with which all of them hold together (Bonferroni), so that it is
    conservative from three estimates on.
    """
    pairs = len(of) * (len(of) - 1) // 2
    if not pairs:
        return None
    found = [one.estimate(1 - (1 - CONFIDENCE) / pairs) for one in of]
    differences = [_difference(one, other) for one, other in permutations(found, 2)]
    return Estimate(
        value=max(d.value for d in differences),
        low=max(0.0, *(d.low for d in differences)),
        high=max(d.high for d in differences),
    )


def _difference(one: Estimate, other: Estimate) -> Estimate:
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value=value, low=value - down, high=value + up)


def _solved(second: float, first: float, last: float, value: float, bounds: tuple[float, float]) -> Estimate:
    """The x within bounds with second x^2 + first x + last <= 0; all of them where that is no single stretch."""
    low, high = bounds
    inside = first * first - 4 * second * last
    if second <= 0 or inside < 0:
        return Estimate(value=value, low=low, high=high)
    root = math.sqrt(inside)
    from_, upto = (-first - root) / (2 * second), (-first + root) / (2 * second)
    return Estimate(value=value, low=min(max(low, from_), value), high=max(min(high, upto), value))
