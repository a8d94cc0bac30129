"""Rows to a site's whole numbers. At the site only; what is computed here leaves encrypted or not at all.

Rules
-----
1. What a row adds depends on that row, the plan and the point. A dead row adds nothing, and neither does one whose
   numbers are not finite: nothing is raised because of a value.
2. Each row is rounded to the grid by itself and added as a 64-bit whole number, of which MOST_ROWS x GRID is the most.
3. Curvature is an upper triangle, row by row, without the factor that norms need: its entries are sums themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.glm.families import Family
from privacy.glm.sums import Cases
from privacy.homomorphic.glm.plan import GRID, LOWEST, MOST_ROWS, PSEUDO, ExactGlm, Kind
from privacy.training.rows import Rows
from privacy.training.units import UnitTable

_ROWS_AT_ONCE = 4096
Floats: TypeAlias = NDArray[np.float64]
_Found: TypeAlias = dict[Kind, Floats]


def cases_of(plan: ExactGlm, rows: Rows) -> Cases:
    """Encoded rows as the fit reads them; every living row counts once.

    Raises:
        InvalidError: More rows than a site may have.
    """
    if len(rows.alive) > MOST_ROWS:
        raise InvalidError(f"a site has at most {MOST_ROWS} rows", field="dataset")
    return Cases.of(plan.design, UnitTable.of_records(rows), per_row=True)


def site_sums(plan: ExactGlm, point: Sequence[float] | None, cases: Cases) -> list[int]:
    """A site's numbers of one round, in the order of `plan.kinds`.

    Args:
        plan: The model.
        point: Coefficients in unit ranges; none in the first round.
        cases: The site's rows.

    Raises:
        InvalidError: The point does not belong to the plan.
    """
    if point is not None and len(point) != plan.design.size:
        raise InvalidError("the point has another number of coefficients than the plan", field="point")
    totals = {kind: np.zeros(size, dtype=np.int64) for kind, size in plan.kinds()}
    for begin in range(0, len(cases.outcomes), _ROWS_AT_ONCE):
        part = slice(begin, begin + _ROWS_AT_ONCE)
        alive = cases.weights[part] > 0
        rows = np.clip(cases.rows[part][alive], -1.0, 1.0)
        with np.errstate(all="ignore"):
            found = _found(plan, point, rows, cases.outcomes[part][alive])
            _add(plan, point is None, found, totals)
    return [int(number) for kind, _ in plan.kinds() for number in totals[kind]]


def _add(plan: ExactGlm, first: bool, found: _Found, totals: dict[Kind, NDArray[np.int64]]) -> None:
    whole, fits = {}, np.ones(len(found[Kind.ROWS]), dtype=np.bool_)
    for kind, values in found.items():
        scale = 1 if kind in (Kind.ROWS, Kind.CUT) else GRID // plan.bound(kind, first)
        scaled = values * scale
        fits &= np.asarray((np.abs(scaled) <= GRID).all(axis=1))
        whole[kind] = scaled
    for kind, scaled in whole.items():
        totals[kind] += np.rint(np.where(fits[:, None], scaled, 0.0)).astype(np.int64).sum(axis=0)


def _found(plan: ExactGlm, point: Sequence[float] | None, rows: Floats, outcomes: Floats) -> _Found:
    """Of each row: its part of every sum."""
    if point is None:
        fit, pull, weight = _starting(plan.design.family, outcomes)
        cut = np.zeros(len(rows))
    else:
        predictor = (rows * np.asarray(point, dtype=np.float64)).sum(axis=1)
        within = np.clip(predictor, LOWEST, plan.highest)
        cut = (within != predictor).astype(np.float64)
        fit, pull, weight = _at(plan.design.family, within, outcomes)
    first, second = np.triu_indices(rows.shape[1])
    return {
        Kind.ROWS: np.ones((len(rows), 1)),
        Kind.CUT: cut[:, None],
        Kind.FIT: fit[:, None],
        Kind.PULL: pull[:, None] * rows,
        Kind.CURVATURE: weight[:, None] * rows[:, first] * rows[:, second],
    }


def _starting(family: Family, outcomes: Floats) -> tuple[Floats, Floats, Floats]:
    """Of a least-squares fit to start from: squared outcome, weighted outcome, weight.

    Reference: McCullagh and Nelder 1989, section 2.5.
    """
    match family:
        case Family.LINEAR:
            return outcomes**2, outcomes, np.ones(len(outcomes))
        case Family.LOGISTIC:
            return np.zeros(len(outcomes)), outcomes - 0.5, np.full(len(outcomes), 0.25)
        case Family.POISSON:
            weight = outcomes + PSEUDO
            return np.zeros(len(outcomes)), weight * np.log(weight) - PSEUDO, weight


def _at(family: Family, predictor: Floats, outcomes: Floats) -> tuple[Floats, Floats, Floats]:
    """At a point: log-likelihood without constants, residual, weight."""
    if family is Family.POISSON:
        expected = np.exp(predictor)
        return outcomes * predictor - expected, outcomes - expected, expected
    chance = 1 / (1 + np.exp(-predictor))
    return outcomes * predictor - np.logaddexp(0.0, predictor), outcomes - chance, chance * (1 - chance)
