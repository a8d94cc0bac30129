"""The course of a fit: where each step stands, and what the noisy sums say so far. Pure; anybody can repeat it.

Rules
-----
1. A step's settings follow from earlier noisy sums and from declared ranges, never from a row.
2. Each row's residual is bounded so that its mean stays zero under the model: by weights that depend on its expected
   outcome (logistic, Poisson), by clipping with its own mean taken off (Poisson), or by clipping alone, which a
   symmetric error needs (linear: Huber's regression).
3. Every step is one Newton step on scores; steps near the end are averaged by their precision, so that splitting the
   privacy over them loses next to nothing.

Reference: Huber 1964; Cantoni and Ronchetti 2001 for bounded scores of counts; Avella-Medina, Bradshaw and Loh 2021
(arXiv 2103.11003) for noisy Newton steps on bounded scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from privacy.evaluation.counts import without_negatives
from privacy.glm.design import CONSTANT, Design
from privacy.glm.families import Family
from privacy.glm.matrices import Matrix, Spectrum, Vector, applied, dot, spectrum, unpacked, weighted
from privacy.glm.places import Place, found, most, moved
from privacy.glm.schedule import FIRST_USED, LINEAR_CELLS, Statistic, cell_middles, sizes_of

HUBER = 1.345
LOGISTIC_BOUND, CHANCES = 0.5, 1.6
COUNT_CLIP, LEVELS, CENTRING = 2.0, 1.3, 1.125
_LEAST_SHARE, _LEAST_SPREAD, _LEAST_COUNT = 0.002, 0.0005, 0.05
_LONGEST_STEP, _LARGEST = 2.0, 12.0
_LEAST_RATIO, _MOST_RATIO, _HALVINGS = 0.5, 20.0, 60
_MOST_DISPERSION, _DISPERSION_HALVINGS, _POISSON = 5.0, 30, 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a step stands.

    Attributes:
        coefficients: Of rows as read, the constant's first.
        bound: The most that one row's bounded residual can be.
        level: Of counts: from this expected count on a row weighs less; of yes and no: from this chance of the rarer
            answer on; of a linear model 1.
        places: Where the terms lie, as far as is known; coefficients and sums are of rows as read from there.
        dispersion: Of counts: d in the variance mean + d mean^2 under which bounded residuals have mean zero.
    """

    coefficients: tuple[float, ...]
    places: tuple[Place, ...]
    bound: float
    level: float = 1.0
    dispersion: float = 0.0

    def bounds(self, design: Design) -> Mapping[Statistic, float]:
        """The most, in Euclidean norm, that one unit adds to each sum at this step."""
        score = self.bound * design.radius
        return {
            Statistic.PLACES: most(design),
            Statistic.SCORES: score,
            Statistic.CURVATURE: steepest(design, self) * design.radius**2,
            Statistic.SPREAD: math.sqrt(sizes_of(design)[Statistic.SPREAD]),
            Statistic.PRODUCTS: score**2,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step's settings, its noisy sums and the noise on each of their numbers."""

    settings: Settings
    sums: Mapping[Statistic, Sequence[float]]
    sigmas: Mapping[Statistic, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What some steps say together.

    Attributes:
        coefficients: Of rows as read in the last step.
        weights: Of each step in the average.
        moves: How far each step moved.
        curvature: The averaged curvature.
        curvature_sigma: The noise on its packed numbers.
    """

    coefficients: Vector
    weights: Vector
    moves: Matrix
    curvature: Spectrum
    curvature_sigma: float

    @property
    def floor(self) -> float:
        """The least eigenvalue that is told from noise."""
        return _floor(self.curvature_sigma, len(self.coefficients))


def steepest(design: Design, settings: Settings) -> float:
    """The most that one row's bounded residual changes with its linear predictor."""
    match design.family:
        case Family.LINEAR:
            return 1.0
        case Family.LOGISTIC:
            return LOGISTIC_BOUND * settings.level
        case Family.POISSON:
            return settings.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What the first counts say.

    Attributes:
        outcomes: The outcome's histogram, with noise.
        places: Where the terms lie.
    """

    outcomes: Sequence[float]
    places: tuple[Place, ...]

    @classmethod
    def of(cls, design: Design, outcomes: Sequence[float], counts: Sequence[float], sigma: float) -> Start:
        """Read the first counts: of outcomes, and of terms in cells over their whole ranges, with noise `sigma`."""
        declared = (Place(),) * len(design.terms)
        return cls(outcomes=outcomes, places=found(design, declared, counts, sigma, math.fsum(outcomes)))


def first_settings(design: Design, start: Start) -> Settings:
    """Where the first step stands: a constant, and residuals as wide as the outcome."""
    counts = without_negatives(start.outcomes)
    total = math.fsum(counts)
    shares = [count / total for count in counts]
    middles = cell_middles(design)
    mean = dot(shares, middles)
    rest = [0.0] * (design.size - 1)
    match design.family:
        case Family.LINEAR:
            spread = math.sqrt(dot(shares, [(middle - mean) * (middle - mean) for middle in middles]))
            bound = HUBER * max(spread, 1 / LINEAR_CELLS)
            return Settings(coefficients=(mean / CONSTANT, *rest), places=start.places, bound=bound)
        case Family.LOGISTIC:
            share = min(max(mean, _LEAST_SHARE), 1 - _LEAST_SHARE)
            first = (math.log(share / (1 - share)) / CONSTANT, *rest)
            level = min(0.5, CHANCES * min(share, 1 - share))
            return Settings(coefficients=first, places=start.places, bound=LOGISTIC_BOUND, level=level)
        case Family.POISSON:
            mean = max(mean, _LEAST_COUNT)
            level = LEVELS * mean
            return count_settings((math.log(mean) / CONSTANT, *rest), start.places, level, 0.0)


def next_settings(design: Design, start: Start, steps: Sequence[Step]) -> Settings:
    """Where the next step stands, given all before."""
    last = steps[-1]
    fit = fitted(design, steps, cautious=True)
    places = _places(design, start, last)
    reached = moved(fit.coefficients, last.settings.places, places)
    coefficients = tuple(min(max(value, -_LARGEST), _LARGEST) for value in reached)
    match design.family:
        case Family.LINEAR:
            share = last.sums[Statistic.SPREAD][0] / math.fsum(without_negatives(start.outcomes))
            deviation = max(last.settings.bound / _clipped_ratio(share), _LEAST_SPREAD)
            return Settings(coefficients=coefficients, places=places, bound=HUBER * deviation)
        case Family.LOGISTIC:
            return replace(last.settings, coefficients=coefficients, places=places)
        case Family.POISSON:
            return count_settings(coefficients, places, last.settings.level, _dispersion(design, steps))


def _places(design: Design, start: Start, last: Step) -> tuple[Place, ...]:
    """Where terms lie after a step that counted them again; else where they lay."""
    if Statistic.PLACES not in last.sums:
        return last.settings.places
    sigma = last.sigmas[Statistic.PLACES]
    return found(design, last.settings.places, last.sums[Statistic.PLACES], sigma, math.fsum(start.outcomes))


def fitted(design: Design, steps: Sequence[Step], *, cautious: bool = False) -> Fit:
    """The average of the steps that count, each a Newton step with the curvature of all of them.

    Args:
        design: The model.
        steps: All so far.
        cautious: Move less where noise might lead astray, as on the way; the result then leans to where steps stand.
    """
    used = steps[min(FIRST_USED[design.family], len(steps)) - 1 :]
    curvature, sigma = _pooled(design, used)
    floor = _floor(sigma, design.size)
    moves = [
        _careful(design, step, curvature, sigma)
        if cautious
        else applied(curvature.inverse(floor), step.sums[Statistic.SCORES])
        for step in used
    ]
    precise = [step.sigmas[Statistic.SCORES] ** -2 for step in used]
    weights = [value / math.fsum(precise) for value in precise]
    reached = [
        [a + b for a, b in zip(step.settings.coefficients, move, strict=True)]
        for step, move in zip(used, moves, strict=True)
    ]
    return Fit(
        coefficients=[dot(weights, column) for column in zip(*reached, strict=True)],
        weights=weights,
        moves=moves,
        curvature=curvature,
        curvature_sigma=sigma,
    )


def _careful(design: Design, step: Step, curvature: Spectrum, sigma: float) -> Vector:
    """A Newton step that is shrunk where the curvature, or the move that is to be expected, is not far above noise."""
    usual = step.settings.bound if design.family is Family.LINEAR else 1.0
    noise = math.hypot(sigma, step.sigmas[Statistic.SCORES] / usual)
    move = applied(curvature.damped(noise), step.sums[Statistic.SCORES])
    return _shortened(move, _LONGEST_STEP * usual)


def _floor(sigma: float, size: int) -> float:
    """A third of the largest eigenvalue that noise alone has, about.

    Reference: Bai and Yin 1988 for the largest eigenvalue of a symmetric matrix of noise.
    """
    return max(sigma * math.sqrt(2 * size) / 3, 1e-9)


def _pooled(design: Design, used: Sequence[Step]) -> tuple[Spectrum, float]:
    """The curvature averaged by precision, and the noise on it."""
    precise = [step.sigmas[Statistic.CURVATURE] ** -2 for step in used]
    total = math.fsum(precise)
    matrices = [unpacked(step.sums[Statistic.CURVATURE], design.size) for step in used]
    return spectrum(weighted(matrices, [value / total for value in precise])), math.sqrt(1 / total)


def _shortened(move: Vector, longest: float) -> Vector:
    length = math.sqrt(dot(move, move))
    return move if length <= longest else [value * longest / length for value in move]


def count_settings(
    coefficients: tuple[float, ...], places: tuple[Place, ...], level: float, dispersion: float
) -> Settings:
    """The settings of counts: the bound is two deviations at the level, and room for the mean that is taken off."""
    bound = COUNT_CLIP * CENTRING * math.sqrt(level * (1 + dispersion * level))
    return Settings(coefficients=coefficients, places=places, bound=bound, level=level, dispersion=dispersion)


def _dispersion(design: Design, steps: Sequence[Step]) -> float:
    """How far counts vary beyond Poisson ones, from all squared residuals so far: d of mean + d mean^2.

    At the average expected count, the clipped square under such counts is matched to the one that was measured, less
    one deviation of the noise on it: what does not stand out from noise is small against the errors of the table.
    """
    found = []
    for step in steps:
        level, clip = step.settings.level, step.settings.bound / CENTRING
        squares, means, mean_squares = step.sums[Statistic.SPREAD]
        if min(means, mean_squares) > 0:
            expected = min(level * mean_squares / means, float(design.highest))
            least = squares - step.sigmas[Statistic.SPREAD] / math.sqrt(len(steps))
            found.append(matched(expected, least * clip * clip * expected / (means * level), clip, design.highest))
    return math.fsum(found) / len(found) if found else 0.0


def matched(expected: float, wanted: float, clip: float, highest: int) -> float:
    """The dispersion under which the clipped square about the expected count has the wanted mean."""
    low, high = 0.0, _MOST_DISPERSION
    if clipped_count_square(expected, low, clip, highest) >= wanted:
        return low
    for _ in range(_DISPERSION_HALVINGS):
        middle = (low + high) / 2
        below = clipped_count_square(expected, middle, clip, highest) < wanted
        low, high = (middle, high) if below else (low, middle)
    return low


def clipped_count_square(expected: float, dispersion: float, clip: float, highest: int) -> float:
    """The mean of min((count - expected)^2, clip^2) of a negative binomial count, those above `highest` as it."""
    growth = expected / (1 + dispersion * expected)
    log_chance = -expected if dispersion < _POISSON else -math.log1p(dispersion * expected) / dispersion
    chance, rest, total = math.exp(log_chance), 1.0, []
    for count in range(highest):
        total.append(chance * min((count - expected) ** 2, clip * clip))
        rest -= chance
        chance *= growth * (1 + dispersion * count) / (count + 1)
    return math.fsum(total) + max(rest, 0.0) * min((highest - expected) ** 2, clip * clip)


def _clipped_ratio(share: float) -> float:
    """How many deviations of a normal error the bound is, if clipped squares are this share of the bound's square."""
    low, high = _LEAST_RATIO, _MOST_RATIO
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _clipped_square(middle) / (middle * middle) > share else (low, middle)
    return high


def _clipped_square(ratio: float) -> float:
    """The mean of min(z^2, ratio^2) of a standard normal z."""
    inside = math.erf(ratio / math.sqrt(2))
    density = math.exp(-ratio * ratio / 2) * math.sqrt(2 / math.pi)
    return inside - ratio * density + ratio * ratio * (1 - inside)
