"""What is measured for a list of queries: integer vectors, each once, however many queries it answers.

Rules
-----
1. A measurement is a vector of whole numbers, to whose one cell a row adds at most `row_bound` in absolute value. So
   one unit moves it by at most `rows x row_bound` in Euclidean norm, `rows` being the rows of one unit that count.
2. Queries that need the same vector share it and their weights add up: a mean is a sum and a count, and many means
   share the count.
3. Of a query's weight, a mean's sum and count get half each; so that halves stay whole, all weights are doubled.
4. Pure, and a function of the queries alone: child, gateway and verifier lay out the same vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from kernel.checks import whole
from kernel.events import Record
from privacy.jobs.queries import MOST_CELLS, MOST_GRID_STEPS, MOST_WEIGHT, Axis, Per, Query, QueryKind, Summed

LARGEST_WEIGHT = 2 * MOST_WEIGHT * 512


@dataclass(frozen=True, kw_only=True)
class MeasurementSize(Record):
    """A measurement in the numbers that noise and price depend on.

    Attributes:
        per: Which rows of a unit count.
        cells: How many whole numbers it has.
        row_bound: The most that one row adds to one of them.
        weight: Its part of the privacy, relative to the others'.
    """

    per: Per
    cells: int
    row_bound: int
    weight: int

    def __post_init__(self) -> None:
        whole(1, MOST_CELLS, cells=self.cells)
        whole(1, MOST_GRID_STEPS, row_bound=self.row_bound)
        whole(1, LARGEST_WEIGHT, weight=self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A vector over cells: of counts, or of sums in grid steps.

    Attributes:
        per: Which rows count.
        axes: Its cells, the last axis' side by side; none for a single number.
        summed: What is summed; nothing if rows are counted.
        centred: Whether values are counted from the middle of their bounds instead of from 0.
        weight: Its part of the privacy.
    """

    per: Per
    axes: tuple[Axis, ...] = ()
    summed: Summed | None = None
    centred: bool = False
    weight: int = 1

    @property
    def size(self) -> MeasurementSize:
        """In numbers."""
        bound = 1
        if self.summed is not None:
            bound = self.summed.centred_bound if self.centred else self.summed.plain_bound
        cells = prod(axis.cells for axis in self.axes)
        return MeasurementSize(per=self.per, cells=cells, row_bound=bound, weight=self.weight)


@dataclass(frozen=True, slots=True)
class Layout:
    """The measurements of some queries.

    Attributes:
        measurements: Each once.
        sources: For each query the numbers of its measurements: of a mean the sum's and the count's, else one.
    """

    measurements: tuple[Measurement, ...]
    sources: tuple[tuple[int, ...], ...]


def layout(queries: Sequence[Query]) -> Layout:
    """Lay out what the queries need."""
    places: dict[Measurement, int] = {}
    weights: list[int] = []
    sources = []
    for query in queries:
        needed = []
        for measurement in _needed(query):
            place = places.setdefault(replace(measurement, weight=1), len(places))
            weights += [0] * (place + 1 - len(weights))
            weights[place] += measurement.weight
            needed.append(place)
        sources.append(tuple(needed))
    found = (replace(measurement, weight=weight) for measurement, weight in zip(places, weights, strict=True))
    return Layout(tuple(found), tuple(sources))


def _needed(query: Query) -> tuple[Measurement, ...]:
    counted = Measurement(per=query.per, axes=query.axes, weight=2 * query.weight)
    match query.kind:
        case QueryKind.SUM:
            return (replace(counted, summed=query.summed),)
        case QueryKind.MEAN:
            total = replace(counted, summed=query.summed, centred=True, weight=query.weight)
            return total, replace(counted, weight=query.weight)
        case _:
            return (counted,)
