"""How far a number is off: mean absolute error, root mean squared error and R squared from six noisy sums. Pure.

Rules
-----
1. An error counts at most `error_bound` of the declared range of the label: figures are of errors so clamped.
2. Variances that are not known better are taken as large as they can be: of bounded values at a mean (Bhatia and Davis
   2000), and of two sums over the same rows as if these moved together. Intervals of R squared are conservative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privacy.evaluation.estimates import CONFIDENCE, Estimate, Mean, quantile
from privacy.jobs.evaluation_measures import ERROR_SCALES, GROUP_SCALES

_LARGEST_SPREAD = 0.25
"""The largest variance of a value between 0 and 1 (Popoviciu)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSums:
    """Noisy sums over rows, each in its own unit, with the deviation of its noise.

    Attributes:
        rows, absolute, squared, fourth: How many rows, and powers of their errors, in units of the error's bound.
        label, label_squared: Of the label, scaled to -1 to 1.
        noise: Deviations, in this order.
        bound: The error's bound, as a part of the label's range.
        rows_per_unit: The most rows of one unit.
    """

    rows: float
    absolute: float
    squared: float
    fourth: float
    label: float
    label_squared: float
    noise: tuple[float, ...]
    bound: float
    rows_per_unit: int

    @classmethod
    def of(cls, numbers: Sequence[int], deviation: float, bound: float, rows_per_unit: int) -> ErrorSums:
        """Read the numbers of the measure."""
        rows, absolute, squared, fourth, label, label_squared = (
            number / scale for number, scale in zip(numbers, ERROR_SCALES, strict=True)
        )
        return cls(
            rows=rows,
            absolute=absolute,
            squared=squared,
            fourth=fourth,
            label=label,
            label_squared=label_squared,
            noise=tuple(deviation / scale for scale in ERROR_SCALES),
            bound=bound,
            rows_per_unit=rows_per_unit,
        )

    def absolute_mean(self) -> Mean:
        """The mean error, in units of its bound."""
        return self._mean(self.absolute, self.noise[1], self.squared, self.noise[2])

    def squared_mean(self) -> Mean:
        """The mean squared error, in units of its bound."""
        return self._mean(self.squared, self.noise[2], self.fourth, self.noise[3])

    def _mean(self, total: float, noise: float, squares: float, squares_noise: float) -> Mean:
        """The mean of a value between 0 and 1, of whose squares there is a sum, too; its noise is allowed for."""
        rows = max(self.rows, 1.0)
        spread = (squares + squares_noise) / rows - (total / rows) ** 2
        return Mean(
            total=total,
            rows=self.rows,
            total_noise=noise**2,
            rows_noise=self.noise[0] ** 2,
            spread=min(max(spread, 0.0), _LARGEST_SPREAD),
            rows_per_unit=self.rows_per_unit,
            bounds=(0.0, 1.0),
        )


def mean_absolute_error(sums: ErrorSums, span: float) -> Estimate:
    """In the label's own unit, whose declared range is `span` wide."""
    return sums.absolute_mean().estimate().scaled(sums.bound * span)


def root_mean_squared_error(sums: ErrorSums, span: float) -> Estimate:
    """In the label's own unit, whose declared range is `span` wide."""
    squared = sums.squared_mean().estimate()
    root = Estimate(value=math.sqrt(squared.value), low=math.sqrt(squared.low), high=math.sqrt(squared.high))
    return root.scaled(sums.bound * span)


def r_squared(sums: ErrorSums) -> Estimate | None:
    """One minus the mean squared error over the label's variance; nothing where that may as well be 0.

    The ratio's interval is Fieller's, with the sampling of both taken as if it moved together.
    """
    square = quantile(CONFIDENCE) ** 2
    if sums.rows <= quantile(CONFIDENCE) * sums.noise[0]:
        return None
    error, error_noise, error_sampled = _error(sums)
    variance, label_noise, label_sampled = _label(sums)
    second = variance * variance - square * (label_noise + label_sampled**2)
    if variance <= 0 or second <= 0:
        return None
    first = -2 * error * variance - 2 * square * error_sampled * label_sampled
    last = error * error - square * (error_noise + error_sampled**2)
    root = math.sqrt(max(first * first - 4 * second * last, 0.0))
    value = 1 - error / variance
    low, high = 1 - (-first + root) / (2 * second), 1 - (-first - root) / (2 * second)
    return Estimate(value=value, low=min(low, value), high=max(min(high, 1.0), value))


def group_error(numbers: Sequence[int], deviation: float, rows_per_unit: int) -> Mean:
    """A group's mean absolute error, in units of the error's bound."""
    rows, absolute = (number / scale for number, scale in zip(numbers, GROUP_SCALES, strict=True))
    rows_noise, absolute_noise = ((deviation / scale) ** 2 for scale in GROUP_SCALES)
    share = min(max(absolute / rows, 0.0), 1.0) if rows > 0 else 0.5
    return Mean(
        total=absolute,
        rows=rows,
        total_noise=absolute_noise,
        rows_noise=rows_noise,
        spread=share * (1 - share),
        rows_per_unit=rows_per_unit,
        bounds=(0.0, 1.0),
    )


def _error(sums: ErrorSums) -> tuple[float, float, float]:
    """The mean squared error of the scaled label, the variance of its noise, the deviation of its sampling."""
    mean, factor = sums.squared_mean(), 4 * sums.bound**2
    share = max(sums.squared, 0.0) / sums.rows
    noise = (mean.total_noise + share**2 * mean.rows_noise) / sums.rows**2
    sampled = math.sqrt(sums.rows_per_unit * mean.spread / sums.rows)
    return factor * share, factor**2 * noise, factor * sampled


def _label(sums: ErrorSums) -> tuple[float, float, float]:
    """The scaled label's variance, to first order the variance of its noise, at most the deviation of its sampling."""
    mean, squares = sums.label / sums.rows, sums.label_squared / sums.rows
    variance = squares - mean * mean
    by_rows, by_label = (2 * mean * mean - squares) * sums.noise[0], 2 * mean * sums.noise[4]
    noise = (by_rows**2 + by_label**2 + sums.noise[5] ** 2) / sums.rows**2
    spread = max((1 + abs(mean)) ** 2 - variance, 0.0) * max(variance, 0.0)
    return variance, noise, math.sqrt(spread * sums.rows_per_unit / sums.rows)
