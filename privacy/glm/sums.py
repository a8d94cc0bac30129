"""Rows to exact integer sums: what every unit adds, bounded, on a grid. Child only: exact sums never leave it.

Rules
-----
1. What a row adds depends on that row, the design and the settings alone. A dead row adds nothing.
2. The rows of a unit are added up, each with the weight that makes them count as one unit together; the whole is what
   is bounded.
3. A unit's vector is rounded to integers, and its norm is then checked in integers: one that is too long by a rounding
   or is no number adds zero. So the sensitivity is `GRID` exactly, whatever floating point did.
4. Sums are of integers: exact, and the same in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.glm.course import CENTRING, LOGISTIC_BOUND, Settings
from privacy.glm.design import CONSTANT, Design
from privacy.glm.families import Family
from privacy.glm.places import CELLS, Place, most
from privacy.glm.schedule import GRID, MARGIN, Statistic, cell_edges, sizes_of
from privacy.training.units import UnitTable

_ROWS_AT_ONCE = 4096
_KNOTS, _LEAST_EXPECTED, _POISSON = 2048, 1e-6, 1e-9
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Rows as a fit reads them, those of a unit side by side.

    Attributes:
        rows: Shape [n, coefficients], the constant first.
        outcomes: In unit range, 0 or 1, or counts.
        weights: What makes a unit's rows count as one; zero for a dead row.
        starts: First row of each unit, and the number of rows at the end.
    """

    rows: Floats
    outcomes: Floats
    weights: Floats
    starts: Integers

    @classmethod
    def of(cls, design: Design, units: UnitTable, per_row: bool) -> Cases:
        """Take the design's terms from encoded rows.

        Args:
            design: The model.
            units: Encoded rows by unit.
            per_row: Each row counts the same, rather than each unit.
        """
        places = np.arange(len(units.rows.alive)) - np.repeat(units.starts[:-1], np.diff(units.starts))
        counted = units.rows.alive & (places < units.rows_per_unit)
        owners = np.repeat(np.arange(len(units)), np.diff(units.starts))
        many = np.bincount(owners[counted], minlength=len(units)).astype(np.float64)
        divisor = np.full(len(units), float(units.rows_per_unit)) if per_row else np.maximum(many, 1.0)
        factors = np.array([term.factor for term in design.terms])
        terms = units.rows.features[:, [term.place for term in design.terms]].astype(np.float64) * factors
        terms += np.array([term.shift for term in design.terms])
        rows = np.concatenate([np.full((len(terms), 1), CONSTANT), terms], axis=1)
        targets = units.rows.targets.astype(np.float64)
        if design.family is Family.POISSON:
            targets = np.rint((targets + 1) / 2 * design.highest)
        return cls(
            rows=rows, outcomes=targets, weights=np.where(counted, 1 / divisor[owners], 0.0), starts=units.starts
        )

    def blocks(self) -> Iterator[Cases]:
        """Whole units, and about a fixed number of rows at a time."""
        first, units = 0, len(self.starts) - 1
        while first < units:
            last = int(np.searchsorted(self.starts, self.starts[first] + _ROWS_AT_ONCE, side="right")) - 1
            starts = self.starts[first : max(last, first + 1) + 1]
            first += len(starts) - 1
            part = slice(starts[0], starts[-1])
            yield Cases(
                rows=self.rows[part],
                outcomes=self.outcomes[part],
                weights=self.weights[part],
                starts=starts - starts[0],
            )

    def by_unit(self, values: Floats) -> Floats:
        """Weighted sums over the rows of each unit."""
        weighted = values * self.weights[:, None]
        if len(self.starts) == len(weighted) + 1:
            return weighted
        # Unit by unit: a running sum would make a unit's last bits depend on those before it.
        return np.asarray(np.add.reduceat(weighted, self.starts[:-1], axis=0))


def sum_first(design: Design, cases: Cases) -> dict[Statistic, Integers]:
    """The outcome's histogram and where terms lie in their declared ranges, each in units of its bound / GRID."""
    sizes, edges = sizes_of(design), np.asarray(cell_edges(design))
    totals = {one: np.zeros(sizes[one], dtype=np.int64) for one in (Statistic.OUTCOMES, Statistic.PLACES)}
    declared = (Place(),) * len(design.terms)
    for block in cases.blocks():
        cells = np.searchsorted(edges, block.outcomes, side="right")
        hot = _hot(cells, sizes[Statistic.OUTCOMES])
        totals[Statistic.OUTCOMES] += _bounded_sum(block.by_unit(hot), 1.0)
        totals[Statistic.PLACES] += _bounded_sum(_placed_counts(design, declared, block), most(design))
    return totals


def _placed_counts(design: Design, places: Sequence[Place], block: Cases) -> Floats:
    """Of each unit: its rows in each cell of a number's window, and in each category."""
    parts = []
    for number, (term, place) in enumerate(zip(design.terms, places, strict=True), start=1):
        values = block.rows[:, number]
        inner = np.asarray(place.edges[1:-1])
        in_cells = _hot(np.searchsorted(inner, values, side="right"), CELLS)
        parts.append((values > 0)[:, None].astype(np.float64) if term.category else in_cells)
    return block.by_unit(np.concatenate(parts, axis=1))


def _hot(cells: Integers, many: int) -> Floats:
    """One in each row's cell."""
    return np.asarray((cells[:, None] == np.arange(many)).astype(np.float64))


def sum_step(
    design: Design, settings: Settings, cases: Cases, wanted: tuple[Statistic, ...]
) -> dict[Statistic, Integers]:
    """All sums of one step, each in units of its bound / GRID.

    Args:
        design: The model.
        settings: Where the step stands.
        cases: All rows.
        wanted: Which sums.
    """
    residual = _RESIDUALS[design.family](design, settings)
    bounds = settings.bounds(design)
    sizes = sizes_of(design)
    totals = {statistic: np.zeros(sizes[statistic], dtype=np.int64) for statistic in wanted}
    for block in cases.blocks():
        with np.errstate(all="ignore"):
            found = dict(_statistics(design, settings, block, residual))
            if Statistic.PLACES in wanted:
                found[Statistic.PLACES] = _placed_counts(design, settings.places, block)
            for statistic in wanted:
                totals[statistic] += _bounded_sum(found[statistic], bounds[statistic])
    return totals


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a family makes of rows: bounded residuals, how they fall with the predictor, and what tells their spread."""

    bounded: Floats
    slopes: Floats
    spread: tuple[Floats, ...]


_Residual: TypeAlias = Callable[[Floats, Floats], _Seen]
"""From linear predictors and outcomes."""


def _statistics(design: Design, settings: Settings, block: Cases, residual: _Residual) -> Mapping[Statistic, Floats]:
    rows = _read(block.rows, settings.places)
    squares = np.einsum("ij,ij->i", rows, rows)
    weights = np.minimum(1.0, design.radius**2 / squares)
    seen = residual(_predicted(rows, settings), block.outcomes)
    bounded = np.clip(seen.bounded, -settings.bound, settings.bound)
    scores = block.by_unit(rows * (weights * bounded)[:, None])
    return {
        Statistic.SCORES: scores,
        Statistic.CURVATURE: block.by_unit(_packed(rows, rows * (weights * seen.slopes)[:, None])),
        Statistic.SPREAD: block.by_unit(np.stack(seen.spread, axis=1)),
        Statistic.PRODUCTS: _packed(scores, scores),
    }


def _read(rows: Floats, places: Sequence[Place]) -> Floats:
    """Rows as read from where terms lie."""
    middles, halves = np.array([0.0, *(one.middle for one in places)]), np.array([1.0, *(one.half for one in places)])
    return np.asarray((rows - middles) / halves)


def _predicted(rows: Floats, settings: Settings) -> Floats:
    """Column by column, so that a row's number does not depend on its company."""
    total = np.zeros(len(rows))
    for column, coefficient in zip(rows.T, settings.coefficients, strict=True):
        total += column * coefficient
    return total


def _linear(design: Design, settings: Settings) -> _Residual:  # noqa: ARG001 - one signature for all families
    def residual(predicted: Floats, outcomes: Floats) -> _Seen:
        error = np.clip(outcomes - predicted, -settings.bound, settings.bound)
        inside = (np.abs(error) < settings.bound).astype(np.float64)
        return _Seen(error, inside, ((error / settings.bound) ** 2,))

    return residual


def _logistic(design: Design, settings: Settings) -> _Residual:  # noqa: ARG001 - one signature for all families
    """Weighted so that it is at most the bound, and at the level's slope; with two outcomes nothing need be clipped."""

    def residual(predicted: Floats, outcomes: Floats) -> _Seen:
        chance = 1 / (1 + np.exp(-predicted))
        rarer = np.minimum(chance, 1 - chance)
        weight = LOGISTIC_BOUND / (1 - rarer) * np.minimum(1.0, settings.level / np.maximum(rarer, _LEAST_EXPECTED))
        return _Seen(weight * (outcomes - chance), weight * chance * (1 - chance), (np.zeros(len(chance)),))

    return residual


def _poisson(design: Design, settings: Settings) -> _Residual:
    knots = np.linspace(math.log(_LEAST_EXPECTED), math.log(design.highest), _KNOTS)
    means, slopes = _clipped_counts(np.exp(knots), design.highest, settings)
    clip = settings.bound / CENTRING

    def residual(predicted: Floats, outcomes: Floats) -> _Seen:
        place = np.clip(predicted, knots[0], knots[-1])
        expected = np.exp(place)
        weight = np.minimum(1.0, settings.level / expected)
        error = np.clip(weight * (outcomes - expected), -clip, clip)
        weighted = weight * expected / settings.level
        return _Seen(
            error - np.interp(place, knots, means),
            np.interp(place, knots, slopes),
            ((error / clip) ** 2, weight * weighted, weighted**2),
        )

    return residual


def _clipped_counts(expected: Floats, highest: int, settings: Settings) -> tuple[Floats, Floats]:
    """At each expected count: the mean of the clipped residual, and how the residual falls with the predictor.

    The count is the smaller of a negative binomial number of the settings' dispersion (Poisson without any) and
    `highest`. The fall is the covariance with the score of such a number, (count - mean) / (1 + dispersion x mean).
    """
    excess = 1 + settings.dispersion * expected
    logs = -expected if settings.dispersion < _POISSON else -np.log(excess) / settings.dispersion
    chance, growth, clip = np.exp(logs), expected / excess, settings.bound / CENTRING
    weight = np.minimum(1.0, settings.level / expected)
    means, slopes, rest, pull = (np.zeros(len(expected)) for _ in range(4))
    for count in range(highest):
        error = count - expected
        clipped = np.clip(weight * error, -clip, clip)
        means += chance * clipped
        slopes += chance * clipped * error
        rest += chance
        pull += chance * error
        chance = chance * growth * (1 + settings.dispersion * count) / (count + 1)
    # Counts from `highest` on count as it. Errors of all counts have mean zero, which gives those of the rest.
    top = np.clip(weight * (highest - expected), -clip, clip)
    means += np.maximum(1 - rest, 0.0) * top
    slopes = (slopes - pull * top) / excess
    return means, np.clip(slopes, 0.0, settings.level)


_RESIDUALS: Mapping[Family, Callable[[Design, Settings], _Residual]] = {
    Family.LINEAR: _linear,
    Family.LOGISTIC: _logistic,
    Family.POISSON: _poisson,
}


def _packed(left: Floats, right: Floats) -> Floats:
    """Of each row: the upper triangle of left times right, off-diagonal numbers times sqrt(2)."""
    first, second = np.triu_indices(left.shape[1])
    factor = np.where(first == second, 1.0, math.sqrt(2))
    return left[:, first] * right[:, second] * factor


def _bounded_sum(vectors: Floats, bound: float) -> Integers:
    """The sum of all vectors on the grid; one that is longer than its bound or not finite counts as zero."""
    with np.errstate(all="ignore"):
        scaled = vectors * (GRID * MARGIN / bound)
        fits: NDArray[np.bool_] = np.asarray((np.abs(scaled) <= GRID).all(axis=1))
        whole = np.rint(np.where(fits[:, None], scaled, 0.0)).astype(np.int64)
    short = np.einsum("ij,ij->i", whole, whole) <= GRID * GRID
    return np.asarray(whole[short].sum(axis=0), dtype=np.int64)
