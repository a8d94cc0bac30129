"""What is measured, in which order and with which part of the privacy: fixed before any row is seen.

Rules
-----
1. A measurement is one vector, summed over all units. The number and size of measurements follow from family and number
   of coefficients alone.
2. First come a histogram of the outcome, which says where to start, and counts of where predictors lie, which are made
   again in the first step, closer by. Each step sums, at the coefficients so far, the scores (what moves them) and
   their curvature (how far); the last step also the products of scores, from which the sampling error follows,
   clustered by unit.
3. A measurement's noise is `sigma` = noise multiplier x bound in every coordinate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from privacy.glm import places
from privacy.glm.design import Design
from privacy.glm.families import Family
from privacy.glm.matrices import packed_size

LINEAR_CELLS = 16
GRID = 2**20
MARGIN = 1 - 2.0**-9
"""Sums are integers: a unit's vector at its bound has the norm GRID x MARGIN, and rounding leaves it below GRID.

Rounding takes at most 12 of the 2048 steps between. The rest pays for numbers of other units that round the other way
because a row's last bits may hang on its place in memory: dozens, where next to none are expected.
"""


class Statistic(StrEnum):
    """What is summed."""

    OUTCOMES = "outcomes"
    PLACES = "places"
    SCORES = "scores"
    CURVATURE = "curvature"
    SPREAD = "spread"
    PRODUCTS = "products"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One noisy sum.

    Attributes:
        step: 0 for the histogram, then from 1.
        statistic: What is summed.
        size: How many numbers.
        share: Its part of rho.
    """

    step: int
    statistic: Statistic
    size: int
    share: Decimal

    @property
    def name(self) -> str:
        """As it stands in the released file."""
        return f"{self.step}.{self.statistic}"


_O, _L, _S, _C = Statistic.OUTCOMES, Statistic.PLACES, Statistic.SCORES, Statistic.CURVATURE
_F, _P = Statistic.SPREAD, Statistic.PRODUCTS
_SHARES: Final[Mapping[Family, tuple[tuple[int, Statistic, str], ...]]] = {
    Family.LINEAR: (
        (0, _O, "0.02"),
        (0, _L, "0.03"),
        (1, _S, "0.03"),
        (1, _C, "0.03"),
        (1, _F, "0.02"),
        (1, _L, "0.03"),
        (2, _S, "0.05"),
        (2, _C, "0.04"),
        (2, _F, "0.02"),
        (3, _S, "0.20"),
        (3, _C, "0.12"),
        (3, _F, "0.02"),
        (4, _S, "0.23"),
        (4, _C, "0.10"),
        (4, _P, "0.06"),
    ),
    Family.LOGISTIC: (
        (0, _O, "0.02"),
        (0, _L, "0.03"),
        (1, _S, "0.03"),
        (1, _C, "0.03"),
        (1, _L, "0.03"),
        (2, _S, "0.05"),
        (2, _C, "0.04"),
        (3, _S, "0.10"),
        (3, _C, "0.06"),
        (4, _S, "0.20"),
        (4, _C, "0.08"),
        (5, _S, "0.20"),
        (5, _C, "0.07"),
        (5, _P, "0.06"),
    ),
    Family.POISSON: (
        (0, _O, "0.02"),
        (0, _L, "0.03"),
        (1, _S, "0.04"),
        (1, _C, "0.03"),
        (1, _F, "0.02"),
        (1, _L, "0.03"),
        (2, _S, "0.07"),
        (2, _C, "0.05"),
        (2, _F, "0.02"),
        (3, _S, "0.21"),
        (3, _C, "0.10"),
        (3, _F, "0.02"),
        (4, _S, "0.22"),
        (4, _C, "0.08"),
        (4, _P, "0.06"),
    ),
}
STEPS: Final[Mapping[Family, int]] = {family: max(step for step, _, _ in rows) for family, rows in _SHARES.items()}
FIRST_USED: Final[Mapping[Family, int]] = {Family.LINEAR: 3, Family.LOGISTIC: 4, Family.POISSON: 3}
"""The first step that counts for the final estimate: earlier ones lie too far off for a straight line."""


def shares_of(family: Family) -> tuple[Decimal, ...]:
    """The part of rho of each measurement, in order; they add up to one."""
    return tuple(Decimal(share) for _, _, share in _SHARES[family])


def used_share(family: Family, statistic: Statistic) -> Decimal:
    """The part of rho that a statistic has in the steps that count for the final estimate."""
    first = FIRST_USED[family]
    return sum(
        (Decimal(share) for step, one, share in _SHARES[family] if one is statistic and step >= first), Decimal(0)
    )


def schedule(design: Design) -> tuple[Measurement, ...]:
    """All measurements of a design, in order."""
    sizes = sizes_of(design)
    return tuple(
        Measurement(step=step, statistic=statistic, size=sizes[statistic], share=Decimal(share))
        for step, statistic, share in _SHARES[design.family]
    )


def cell_edges(design: Design) -> tuple[float, ...]:
    """Where the cells of the outcome's histogram begin, after the first."""
    match design.family:
        case Family.LOGISTIC:
            return (0.5,)
        case Family.LINEAR:
            return tuple(2 * cell / LINEAR_CELLS - 1 for cell in range(1, LINEAR_CELLS))
        case Family.POISSON:
            return _count_edges(design.highest)


def cell_middles(design: Design) -> tuple[float, ...]:
    """The outcome that stands for each cell."""
    match design.family:
        case Family.LOGISTIC:
            return (0.0, 1.0)
        case Family.LINEAR:
            return tuple((2 * cell + 1) / LINEAR_CELLS - 1 for cell in range(LINEAR_CELLS))
        case Family.POISSON:
            starts = (0.0, *cell_edges(design))
            ends = (*starts[1:], design.highest + 1.0)
            return tuple((start + end - 1) / 2 for start, end in zip(starts, ends, strict=True))


def _count_edges(highest: int) -> tuple[float, ...]:
    """Every count up to 4, then two cells for each doubling."""
    edges = [1, 2, 3, 4]
    while edges[-1] < highest:
        edges += [edges[-1] * 3 // 2, edges[-1] * 2]
    return tuple(float(edge) for edge in edges if edge <= highest)


def sizes_of(design: Design) -> dict[Statistic, int]:
    """How many numbers each statistic has."""
    packed = packed_size(design.size)
    return {
        Statistic.OUTCOMES: len(cell_middles(design)),
        Statistic.PLACES: places.counted(design),
        Statistic.SCORES: design.size,
        Statistic.CURVATURE: packed,
        Statistic.SPREAD: 3 if design.family is Family.POISSON else 1,
        Statistic.PRODUCTS: packed,
    }
