"""What is printed: coefficients with standard errors and intervals that include the noise. Pure; anybody can repeat it.

Rules
-----
1. An error has three parts: of sampling, from the products of scores per unit (valid under overdispersion, unequal
   variances and several rows per unit); of noise on the scores; of noise on the curvature. They are added.
2. The noise's deviation is known exactly, so its part is not estimated.
3. Where the curvature cannot be told from noise, nothing is printed but that: no number is better than a wrong one.
4. A p-value stands beside predictors only. An intercept of zero is no hypothesis: it depends on units.

Reference: Huber 1967 and White 1982 for the sandwich; Liang and Zeger 1986 for clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privacy.glm.course import Fit, Step, fitted
from privacy.glm.design import Design
from privacy.glm.matrices import Matrix, applied, dot, sandwich, spectrum, unpacked
from privacy.glm.places import placed
from privacy.glm.schedule import Statistic

CONFIDENCE = 0.95
QUANTILE = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """One line of the table, in the column's own unit.

    Attributes:
        name: Of the term.
        value: The estimate.
        error: Its standard error, noise included.
        noise_share: The part of the squared error that the noise is.
        p_value: Of the hypothesis that the value is zero; absent for an intercept.
    """

    name: str
    value: float
    error: float
    noise_share: float
    p_value: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval that holds the truth with `CONFIDENCE`."""
        return self.value - QUANTILE * self.error, self.value + QUANTILE * self.error


def coefficients_of(design: Design, steps: Sequence[Step]) -> tuple[Coefficient, ...] | None:
    """The table, or none if the rows do not tell the coefficients from noise."""
    fit = fitted(design, steps)
    if min(fit.curvature.values) <= fit.floor:
        return None
    inverse = fit.curvature.inverse(fit.floor)
    outer, added = placed(design, steps[-1].settings.places).own_units()
    values = [a + b for a, b in zip(applied(outer, fit.coefficients), added, strict=True)]
    sampling = _diagonal(sandwich(outer, sandwich(inverse, _sampling(design, steps[-1]))))
    noise = _diagonal(sandwich(outer, sandwich(inverse, _noise(design, steps, fit))))
    lines = zip(design.names, values, sampling, noise, strict=True)
    return tuple(_line(number, *line) for number, line in enumerate(lines))


def _line(number: int, name: str, value: float, sampling: float, noise: float) -> Coefficient:
    error = math.sqrt(sampling + noise)
    p_value = math.erfc(abs(value) / error / math.sqrt(2)) if number else None
    return Coefficient(name=name, value=value, error=error, noise_share=noise / (sampling + noise), p_value=p_value)


def _sampling(design: Design, last: Step) -> Matrix:
    """The products of scores per unit, without what noise made negative."""
    return spectrum(unpacked(last.sums[Statistic.PRODUCTS], design.size)).positive()


def _noise(design: Design, steps: Sequence[Step], fit: Fit) -> Matrix:
    """The noise on the averaged scores, and that on the curvature times how far the steps moved."""
    used = steps[-len(fit.weights) :]
    scores = math.fsum(
        (weight * step.sigmas[Statistic.SCORES]) ** 2 for weight, step in zip(fit.weights, used, strict=True)
    )
    move = [dot(fit.weights, column) for column in zip(*fit.moves, strict=True)]
    half = fit.curvature_sigma**2 / 2
    length = dot(move, move)
    size = range(design.size)
    return [
        [half * (move[i] * move[j] + (length if i == j else 0.0)) + (scores if i == j else 0.0) for j in size]
        for i in size
    ]


def _diagonal(matrix: Matrix) -> list[float]:
    return [matrix[i][i] for i in range(len(matrix))]
