"""The key holder's course: from the added numbers of a round to the next point, or to the fit. Pure.

Rules
-----
1. The first round's sums give a least-squares fit, which for a linear model is the fit and for others where to start.
2. Each later round is a Newton step at its point, shortened so that the weighted mean square of how far it moves linear
   predictors is at most LONGEST^2. A point at which the penalised log-likelihood is lower than at the one before is
   given up: the next lies half way back.
3. It has converged when a step's length in the metric of the curvature is at most STILL: no coefficient then moves by
   more than STILL of its standard error. That step is still made. Neither rule depends on how wide ranges are declared.
4. Where the curvature does not tell the coefficients apart, or the rounds run out, there is no fit, and no table.
5. Everything follows from the plan and the added numbers; each point that leaves for the sites is kept in `points`.

Reference: McCullagh and Nelder 1989, section 2.5; Hoerl and Kennard 1970 for the ridge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias

from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError
from privacy.glm.design import CONSTANT, MOST_TERMS
from privacy.glm.families import Family
from privacy.glm.matrices import Matrix, Vector, applied, dot, spectrum
from privacy.homomorphic.glm.plan import GRID, MOST_ROUNDS, MOST_ROWS, ExactGlm, Kind
from privacy.jobs.strict import members_of

STILL: Final = 2.0**-16
LONGEST: Final = 8.0
_LEAST_RATIO: Final = 1e-10
_SLACK: Final = 1e-9
Point: TypeAlias = tuple[float, ...]


class Why(StrEnum):
    """Why there is no fit."""

    SINGULAR = "singular"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where the course stands.

    Attributes:
        round: Of which the sums come next, from 1.
        points: At which the rounds so far summed, the next included; the first round has none.
        best: The last point that was not given up, and its penalised log-likelihood.
    """

    round: int
    points: tuple[Point, ...] = ()
    best: tuple[Point, float] | None = None

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, round=self.round)
        if len(self.points) != self.round - 1:
            raise InvalidError("every round but the first has a point", field="points")

    @classmethod
    def first(cls) -> Self:
        """Before the first round."""
        return cls(round=1)

    @property
    def point(self) -> Point | None:
        """At which the sites sum next."""
        return self.points[-1] if self.points else None

    def to_json(self) -> dict[str, Any]:
        """For the key holder's own disk."""
        best = None if self.best is None else {"point": point_json(self.best[0]), "fit": self.best[1].hex()}
        return {"round": self.round, "points": [point_json(point) for point in self.points], "best": best}

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "state", ("round", "points", "best"))
        points, best = members["points"], members["best"]
        if not isinstance(points, Sequence) or isinstance(points, str) or len(points) >= MOST_ROUNDS:
            raise InvalidError("`points` lists one point for each round but the first", field="points")
        read = None
        if best is not None:
            best = members_of(best, "best", ("point", "fit"))
            read = (_point(best["point"]), _hex(best["fit"]))
        return cls(round=members["round"], points=tuple(_point(point) for point in points), best=read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Where the course ended.

    Attributes:
        coefficients: In unit ranges, the constant's first.
        curvature: Of the log-likelihood, penalty not included, at the last point.
        rows: How many rows were counted at all sites.
        cut: How many rows' linear predictors were cut in the last round; 0 if the fit is the pooled one.
        residual: Sum of squared residuals of a linear model, in unit range; 0 for others.
        rounds: How many rounds it took.
        points: At which the rounds summed.
    """

    coefficients: Point
    curvature: Matrix
    rows: int
    cut: int
    residual: float
    rounds: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """There is no fit.

    Attributes:
        why: Singular: the rows do not tell the coefficients apart. Unfinished: no convergence in the planned rounds.
        rounds: How many rounds were made.
        points: At which they summed.
    """

    why: Why
    rounds: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class _Sums:
    rows: int
    cut: int
    fit: float
    pull: Vector
    curvature: Matrix


def advance(plan: ExactGlm, state: State, sums: Sequence[int], sites: int) -> State | Fit | Unfit:
    """Read a round's added numbers.

    Args:
        plan: The model.
        state: Where the course stands: the sums are those at its point.
        sums: Of all sites, in the order of `plan.kinds`.
        sites: How many were added.

    Raises:
        CorruptError: Numbers that so many sites cannot have given.
    """
    read = _read(plan, state.point is None, sums, sites)
    if state.point is None:
        return _started(plan, state, read)
    point, penalty = state.point, plan.penalty
    reached = read.fit - math.fsum(weight * value * value for weight, value in zip(penalty, point, strict=True)) / 2
    if state.best is not None and reached < state.best[1] - _SLACK * (1 + abs(state.best[1])):
        halfway = tuple((a + b) / 2 for a, b in zip(point, state.best[0], strict=True))
        return _next(plan, state, halfway)
    score = [a - weight * value for a, weight, value in zip(read.pull, penalty, point, strict=True)]
    move = _solved(read.curvature, penalty, score)
    if move is None:
        return _unfit(state, Why.SINGULAR)
    # The square of a step's length, and of how far it moves linear predictors on average: the constant's square is 1/4.
    length = max(dot(move, score), 0.0)
    spread = length * CONSTANT**2 / read.curvature[0][0] if read.curvature[0][0] > 0 else 0.0
    factor = min(1.0, LONGEST / math.sqrt(spread)) if spread else 1.0
    following = tuple(a + factor * b for a, b in zip(point, move, strict=True))
    if length <= STILL**2:
        return _fit(state, read, following, residual=0.0)
    return _next(plan, replace(state, best=(point, reached)), following)


def _started(plan: ExactGlm, state: State, read: _Sums) -> State | Fit | Unfit:
    solved = _solved(read.curvature, plan.penalty, read.pull)
    if solved is None:
        return _unfit(state, Why.SINGULAR)
    point = tuple(solved)
    if plan.design.family is not Family.LINEAR:
        return _next(plan, state, point)
    if read.rows <= plan.design.size:
        return _unfit(state, Why.SINGULAR)
    residual = math.fsum([read.fit, -2 * dot(read.pull, point), dot(point, applied(read.curvature, point))])
    return _fit(state, read, point, max(residual, 0.0))


def _next(plan: ExactGlm, state: State, point: Point) -> State | Unfit:
    if state.round >= plan.most_rounds:
        return _unfit(state, Why.UNFINISHED)
    return State(round=state.round + 1, points=(*state.points, point), best=state.best)


def _fit(state: State, read: _Sums, coefficients: Point, residual: float) -> Fit:
    if read.rows < 1:
        raise CorruptError("a fit of no rows at all")
    return Fit(
        coefficients=coefficients,
        curvature=read.curvature,
        rows=read.rows,
        cut=read.cut,
        residual=residual,
        rounds=state.round,
        points=state.points,
    )


def _unfit(state: State, why: Why) -> Unfit:
    return Unfit(why=why, rounds=state.round, points=state.points)


def _solved(curvature: Matrix, penalty: Vector, right: Vector) -> Vector | None:
    """The step that a penalised curvature gives, or none where it does not tell the coefficients apart."""
    matrix = penalised(curvature, penalty)
    values = spectrum(matrix)
    if min(values.values) <= _LEAST_RATIO * max(values.values):
        return None
    inverse = values.inverse(min(values.values))
    once = applied(inverse, right)
    rest = [a - b for a, b in zip(right, applied(matrix, once), strict=True)]
    return [a + b for a, b in zip(once, applied(inverse, rest), strict=True)]


def penalised(curvature: Matrix, penalty: Vector) -> Matrix:
    """The curvature with the penalty on its diagonal."""
    return [[value + (penalty[i] if i == j else 0.0) for j, value in enumerate(row)] for i, row in enumerate(curvature)]


def _read(plan: ExactGlm, first: bool, sums: Sequence[int], sites: int) -> _Sums:
    whole(1, 2**16, sites=sites)
    if len(sums) != plan.values or any(abs(number) > sites * MOST_ROWS * GRID for number in sums):
        raise CorruptError("the decrypted sums are not those of so many sites")
    read: dict[Kind, list[float]] = {}
    place = 0
    for kind, size in plan.kinds():
        scale = plan.bound(kind, first)
        read[kind] = [number * scale / GRID for number in sums[place : place + size]]
        place += size
    if not 0 <= sums[1] <= sums[0] <= sites * MOST_ROWS:
        raise CorruptError("the decrypted counts are not those of so many sites")
    curvature = _symmetric(read[Kind.CURVATURE], plan.design.size)
    return _Sums(sums[0], sums[1], read[Kind.FIT][0], read[Kind.PULL], curvature)


def _symmetric(upper: Sequence[float], size: int) -> Matrix:
    matrix, numbers = [[0.0] * size for _ in range(size)], iter(upper)
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = next(numbers)
    return matrix


def ask_json(state: State) -> dict[str, Any]:
    """What the sites need for the next round: the `state` of a round document, coefficients as hexadecimal floats."""
    return {"point": None if state.point is None else point_json(state.point)}


def asked_point(plan: ExactGlm, body: Any) -> Point | None:
    """Read what `ask_json` writes: the point, or nothing for the first round; raise `InvalidError` otherwise."""
    written = members_of(body, "state", ("point",))["point"]
    point = None if written is None else _point(written)
    if point is not None and len(point) != plan.design.size:
        raise InvalidError("the point has another number of coefficients than the plan", field="point")
    return point


def point_json(point: Sequence[float]) -> list[str]:
    """Coefficients as they are written: exact, as hexadecimal floats."""
    return [float(value).hex() for value in point]


def _point(body: Any) -> Point:
    if not isinstance(body, Sequence) or isinstance(body, str) or not 2 <= len(body) <= MOST_TERMS + 1:
        raise InvalidError(f"a point lists 2 to {MOST_TERMS + 1} coefficients", field="point")
    return tuple(_hex(value) for value in body)


def _hex(value: Any) -> float:
    try:
        number = float.fromhex(value) if isinstance(value, str) and len(value) <= 32 else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number.hex() != value:
        raise InvalidError("a coefficient is a hexadecimal float in its shortest form", field="point")
    return number
