"""Where predictors lie within their declared ranges, from noisy counts: so a range may be declared wide.

Rules
-----
1. What is found moves and stretches the scale on which rows are read, and nothing else. A row beyond it weighs less, as
   every long row does, by its predictors alone: the estimate stays consistent whatever was found.
2. A number's values are counted in cells over a window: first its declared range, then about where the first count
   found them. A category's rows are counted. A row adds one for each column, so a unit adds at most sqrt(columns).
3. What does not stand out of the noise moves nothing: where nobody is seen, the scale stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from privacy.glm.design import CONSTANT, Design, Term

CELLS = 16
CATEGORY_HALF = 0.65
_TAIL, _SURE, _LEAST_SEEN, _WIDER = 0.1, 2.0, 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a term's values lie, in its declared unit range: a row is read as (value - middle) / half."""

    middle: float = 0.0
    half: float = 1.0

    @property
    def window(self) -> tuple[float, float]:
        """What is counted in cells: twice as wide, within the declared range."""
        return max(-1.0, self.middle - _WIDER * self.half), min(1.0, self.middle + _WIDER * self.half)

    @property
    def edges(self) -> tuple[float, ...]:
        """Where the cells begin, and the end of the last."""
        low, high = self.window
        return tuple(low + (high - low) * cell / CELLS for cell in range(CELLS + 1))


def counted(design: Design) -> int:
    """How many numbers say where all terms lie."""
    return sum(1 if term.category else CELLS for term in design.terms)


def most(design: Design) -> float:
    """The most, in Euclidean norm, that one unit adds to them."""
    return math.sqrt(design.columns)


def found(
    design: Design, places: Sequence[Place], numbers: Sequence[float], sigma: float, total: float
) -> tuple[Place, ...]:
    """Where terms lie, by counts with noise.

    Args:
        design: The model.
        places: Where they were thought to lie when the counts were made.
        numbers: The counts, with noise.
        sigma: The noise on each.
        total: How many there are, with noise.
    """
    parts = _parts(design.terms, numbers)
    return tuple(
        _share(term, part[0], total) if term.category else _range(place, part, sigma, total)
        for term, place, part in zip(design.terms, places, parts, strict=True)
    )


def placed(design: Design, places: Sequence[Place]) -> Design:
    """The design whose rows are read from where terms lie."""
    terms = zip(design.terms, places, strict=True)
    return replace(design, terms=tuple(_placed(term, place) for term, place in terms))


def _placed(term: Term, place: Place) -> Term:
    return replace(term, middle=term.middle + term.half * place.middle, half=term.half * place.half)


def moved(coefficients: Sequence[float], before: Sequence[Place], after: Sequence[Place]) -> tuple[float, ...]:
    """The same linear predictor on other places."""
    slopes = [value / place.half for value, place in zip(coefficients[1:], before, strict=True)]
    shifts = [slope * (b.middle - a.middle) for slope, a, b in zip(slopes, before, after, strict=True)]
    start = coefficients[0] + math.fsum(shifts) / CONSTANT
    return start, *(slope * place.half for slope, place in zip(slopes, after, strict=True))


def _parts(terms: Sequence[Term], numbers: Sequence[float]) -> Iterator[Sequence[float]]:
    first = 0
    for term in terms:
        last = first + (1 if term.category else CELLS)
        yield numbers[first:last]
        first = last


def _share(term: Term, count: float, total: float) -> Place:
    """A category lies about its share, and is read on a scale that makes it as long as a usual number."""
    share = min(max(count / max(total, 1.0), 0.0), 1.0)
    return Place(middle=share - term.middle, half=CATEGORY_HALF)


def _range(place: Place, counts: Sequence[float], sigma: float, total: float) -> Place:
    """All but a tail to either side of the cells in which counts stand out of the noise."""
    begin, end = _seen(counts, sigma)
    inside = math.fsum(counts[begin:end])
    if inside <= _SURE * sigma * math.sqrt(end - begin) or inside <= _LEAST_SEEN * total:
        return place
    low = begin + _tail(counts[begin:end], inside)
    high = end - _tail(counts[begin:end][::-1], inside)
    if low >= high:
        low, high = high - 1, low + 1
    edges = place.edges
    return Place(middle=(edges[low] + edges[high]) / 2, half=(edges[high] - edges[low]) / 2)


def _seen(counts: Sequence[float], sigma: float) -> tuple[int, int]:
    """The run of cells whose counts, less what may be noise in each, add up to most; an empty one if none do.

    Noise alone makes such a run short: it goes on only while cells are, on average, a deviation above nothing.
    """
    best, found_at, so_far, begin = 0.0, (0, 0), 0.0, 0
    for cell, count in enumerate(counts):
        if so_far <= 0:
            so_far, begin = 0.0, cell
        so_far += count - sigma
        if so_far > best:
            best, found_at = so_far, (begin, cell + 1)
    return found_at


def _tail(counts: Sequence[float], inside: float) -> int:
    """How many whole cells at the beginning are in the tail."""
    so_far = 0.0
    for cell, count in enumerate(counts):
        so_far += count
        if so_far >= _TAIL * inside:
            return cell
    return len(counts) - 1
