"""What is printed: coefficients in the columns' own units with standard errors, intervals and p-values. Pure.

Rules
-----
1. Errors are those of the model: the inverse curvature, for a linear model times its residual variance. With a ridge
   they say how the estimate scatters about its own expectation, which the penalty moves: `inverse curvature inverse`.
2. Intervals and p-values are of the normal distribution; of Student's for a linear model without ridge.
3. A p-value stands beside predictors only. An intercept of zero is no hypothesis: it depends on units.
4. Nothing here accounts for several rows of one person: rows count as independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.glm.families import Family
from privacy.glm.inference import CONFIDENCE, QUANTILE
from privacy.glm.matrices import applied, sandwich, spectrum
from privacy.homomorphic.glm import student
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.steps import Fit, penalised


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table, in the column's own unit.

    Attributes:
        term: Its name.
        value: The estimate.
        error: Its standard error.
        low, high: Ends of the interval at `CONFIDENCE`.
        p_value: Of the hypothesis that the value is zero; absent for an intercept.
    """

    term: str
    value: float
    error: float
    low: float
    high: float
    p_value: float | None


def table_of(plan: ExactGlm, fit: Fit) -> tuple[Line, ...]:
    """The table of a fit."""
    outer, added = plan.design.own_units()
    values = [a + b for a, b in zip(applied(outer, fit.coefficients), added, strict=True)]
    values_of = spectrum(penalised(fit.curvature, plan.penalty))
    inverse = values_of.inverse(min(values_of.values))
    spread = sandwich(outer, sandwich(inverse, fit.curvature))
    freedom = fit.rows - plan.design.size
    linear = plan.design.family is Family.LINEAR
    factor = fit.residual / freedom if linear else 1.0
    exact = freedom if linear and not plan.ridge.number else None
    reach = QUANTILE if exact is None else student.quantile(CONFIDENCE, exact)
    errors = [math.sqrt(max(factor * spread[i][i], 0.0)) for i in range(len(values))]
    return tuple(
        _line(number, *line, reach, exact)
        for number, line in enumerate(zip(plan.design.names, values, errors, strict=True))
    )


def _line(number: int, term: str, value: float, error: float, reach: float, freedom: int | None) -> Line:
    p_value = None
    if number:
        ratio = abs(value) / error if error else math.inf
        p_value = math.erfc(ratio / math.sqrt(2)) if freedom is None else student.tail(ratio, freedom)
    return Line(
        term=term, value=value, error=error, low=value - reach * error, high=value + reach * error, p_value=p_value
    )
