"""From noisy counts to distributions: of each column, and of a column given another. Pure, standard library only.

Rules
-----
1. Only noisy counts and the deviation of their noise go in. What comes out costs no privacy.
2. Every count that has a column says something of it; the less noisy ones count for more.
3. A pair whose counts do not stand out of their noise says nothing, and its columns are taken to be independent.
4. No distribution has a negative share, and each adds up to one.

A tree needs no more: the rows that fit the distributions along a tree of pairs best are those drawn along it (Chow and
Liu 1968), so that no general inference in a graph is needed (docs/adr/0020).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from privacy.evaluation.counts import without_negatives

ROUNDS = 40
_EXPECTED: Final = math.sqrt(2 / math.pi)
"""The mean size of Gaussian noise over its deviation."""

_SPREAD: Final = math.sqrt(1 - 2 / math.pi)
"""The deviation of the size of Gaussian noise over its own deviation."""

Shares: TypeAlias = list[float]


def sums_along(noisy: Sequence[int], cells: int, *, second: bool) -> list[int]:
    """The sums of a table of two columns for each cell of one; `cells` are the second column's, side by side."""
    if second:
        return [sum(noisy[place::cells]) for place in range(cells)]
    return [sum(noisy[start : start + cells]) for start in range(0, len(noisy), cells)]


def shares_of(found: Sequence[tuple[Sequence[int], float]]) -> Shares:
    """A column's distribution, from noisy histograms of it, each with the variance of its noise."""
    weight = math.fsum(1 / variance for _, variance in found)
    cells = range(len(found[0][0]))
    mixed = [math.fsum(noisy[cell] / variance for noisy, variance in found) / weight for cell in cells]
    return normal(without_negatives(mixed))


def strength(noisy: Sequence[int], deviation: float, first: Shares, second: Shares) -> float:
    """How far a pair is from independent, in rows, beyond what its noise alone would show but for one time in forty."""
    total = max(sum(noisy), 1)
    products = (a * b * total for a, b in itertools.product(first, second))
    apart = math.fsum(abs(count - product) for count, product in zip(noisy, products, strict=True))
    return apart - expected_noise(deviation, len(noisy)) - 2 * _SPREAD * deviation * math.sqrt(len(noisy))


def expected_noise(deviation: float, cells: int) -> float:
    """How far noise alone moves so many counts, added up."""
    return _EXPECTED * deviation * cells


def conditional(noisy: Sequence[int], first: Shares, second: Shares, *, on_first: bool) -> list[Shares]:
    """The pair's distribution, raked to both columns' own, as the shares of one column for each cell of the other."""
    width = len(second)
    flat = without_negatives(list(noisy))
    cells = [flat[row * width : (row + 1) * width] for row in range(len(first))]
    for _ in range(ROUNDS):
        cells = [_scaled(row, share) for row, share in zip(cells, first, strict=True)]
        columns = [_scaled(list(column), share) for column, share in zip(zip(*cells, strict=True), second, strict=True)]
        cells = [list(row) for row in zip(*columns, strict=True)]
    given = cells if on_first else [list(column) for column in zip(*cells, strict=True)]
    return [normal(row) if math.fsum(row) > 0 else (second if on_first else first) for row in given]


def normal(values: Shares) -> Shares:
    """The same, adding up to one; all alike if there is nothing."""
    total = math.fsum(values)
    return [value / total for value in values] if total > 0 else [1 / len(values)] * len(values)


def _scaled(values: Shares, wanted: float) -> Shares:
    total = math.fsum(values)
    return [value * wanted / total for value in values] if total > 0 else values
