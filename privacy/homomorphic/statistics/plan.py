"""The plan of federated statistics: which whole numbers each site gives, how large they can be, and their noise. Pure.

Rules
-----
1. Vectors are those of `privacy.jobs.measurements`, then one for each covariance: rows, sums and products of the
   columns, upper triangle row by row, on a grid of 2^-20 of half a range.
2. A site counts at most MOST_ROWS rows. So a number has a bound that follows from the plan.
3. Vector m has the noise multiplier z sqrt(W / w_m), rounded up, w_m its weight and W the sum of all: together they
   cost what one Gaussian of multiplier z costs, as in `privacy.jobs.statistics_plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import cached_property
from math import isqrt
from typing import Any, Final, Self

from kernel.checks import whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.glm.matrices import packed_size
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, SiteNoise
from privacy.homomorphic.profiles import Profile
from privacy.jobs.labels import column_error
from privacy.jobs.measurements import Measurement, layout
from privacy.jobs.queries import Per, Query, list_of
from privacy.jobs.statistics_spec import MOST_CELLS_IN_ALL, MOST_QUERIES
from privacy.jobs.strict import members_of, text_of
from privacy.schema import ColumnKind, TableSchema
from privacy.units import LARGEST_ROWS_PER_UNIT

MOST_ROWS: Final = 2**20
GRID: Final = 2**20
LEAST_PERSONS: Final = 5
MOST_TOGETHER: Final = 32
COVARIANCE_WEIGHT: Final = 2
_UP = Context(prec=34, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector in the numbers that bounds and noise depend on.

    Attributes:
        cells: How many whole numbers it has.
        row_bound: The most that one row adds to one of them.
        row_norm: The most that one row moves it, in Euclidean norm.
        weight: Its part of the privacy.
        per: Which rows count.
    """

    cells: int
    row_bound: int
    row_norm: int
    weight: int
    per: Per


@dataclass(frozen=True, kw_only=True)
class FederatedStatistics:
    """What is asked of all sites.

    Attributes:
        queries: As ordinary statistics have them.
        covariances: Lists of numeric columns, each list a matrix.
        schema: The columns, the same at every site.
        rows_per_unit: The most rows of one person that count.
        least_persons: Fewer persons, but none at all, may no cell of a site have; of exact results.
        noise: What the sites add; nothing for an exact result.
    """

    queries: tuple[Query, ...]
    covariances: tuple[tuple[str, ...], ...]
    schema: TableSchema
    rows_per_unit: int = 1
    least_persons: int = LEAST_PERSONS
    noise: SiteNoise | None = None

    def __post_init__(self) -> None:
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        whole(LEAST_PERSONS, MOST_ROWS, least_persons=self.least_persons)
        if not 1 <= len(self.queries) + len(self.covariances) <= MOST_QUERIES:
            raise InvalidError(f"there are 1 to {MOST_QUERIES} queries and covariances", field="queries")
        for query in self.queries:
            query.check(self.schema)
        for columns in self.covariances:
            self._check_together(columns)
        if self.values > MOST_CELLS_IN_ALL:
            raise TooLargeError(f"all queries together may have at most {MOST_CELLS_IN_ALL} cells", field="queries")

    def _check_together(self, columns: tuple[str, ...]) -> None:
        whole(1, MOST_TOGETHER, covariances=len(columns))
        if len(set(columns)) != len(columns):
            raise InvalidError("a covariance names each column once", field="covariances")
        for name in columns:
            if self.schema.column(name, "covariances").kind is not ColumnKind.NUMERIC:
                raise column_error(name, "a covariance is of numeric columns")

    @cached_property
    def measurements(self) -> tuple[Measurement, ...]:
        """What the queries need, each once."""
        return layout(self.queries).measurements if self.queries else ()

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """All vectors in order: of the queries, then of the covariances."""
        sizes = [one.size for one in self.measurements]
        asked = [Vector(size.cells, size.row_bound, size.row_bound, size.weight, size.per) for size in sizes]
        return (*asked, *(_together(len(columns)) for columns in self.covariances))

    @property
    def rounds(self) -> int:
        """One: nothing that is asked depends on what came before."""
        return 1

    @property
    def values(self) -> int:
        """How many numbers a site gives."""
        return sum(vector.cells for vector in self.vectors)

    def deviation(self, vector: Vector) -> Parameter:
        """The priced deviation of the noise on each number of a vector.

        Raises:
            InvalidError: The plan has no noise.
        """
        if self.noise is None:
            raise InvalidError("an exact result has no noise", field="noise")
        total = Decimal(sum(each.weight for each in self.vectors))
        part = _UP.sqrt(_UP.divide(total, Decimal(vector.weight)))
        multiplier = _UP.quantize(_UP.multiply(self.noise.noise_multiplier.number, part), NOISE_QUANTUM)
        rows = self.rows_per_unit if vector.per is Per.ROW else 1
        return Parameter(_UP.multiply(multiplier, Decimal(vector.row_norm * rows)))

    def refinement(self, vector: Vector) -> int:
        """How many steps a unit of a vector has."""
        return 1 if self.noise is None else self.noise.refinement(self.deviation(vector))

    def additions(self, number: int = 1) -> tuple[Addition, ...]:  # noqa: ARG002 - there is one round
        """Which noise the numbers get, vector by vector; nothing for an exact result."""
        if self.noise is None:
            return ()
        return tuple(
            Addition(
                count=vector.cells,
                deviation=self.deviation(vector),
                bound=MOST_ROWS * vector.row_bound,
                refined=self.refinement(vector),
            )
            for vector in self.vectors
        )

    def uses(self) -> tuple[MechanismUse, ...]:
        """What is priced; nothing for an exact result, which has no price but a disclosure."""
        return () if self.noise is None else (Gaussian(noise_multiplier=self.noise.noise_multiplier, count=1),)

    def layout(self, profile: Profile, sites: int) -> Layout:
        """Where a site's numbers lie; raise `InvalidError` if the profile cannot add so many sites' sums."""
        bound = tail = 0
        for vector in self.vectors:
            steps = self.refinement(vector)
            bound = max(bound, MOST_ROWS * vector.row_bound * steps)
            if self.noise is not None:
                tail = max(tail, self.noise.tail(self.deviation(vector), steps))
        return Layout(profile=profile, values=self.values, bound=bound, summands=sites, tail=tail)

    def to_json(self) -> dict[str, Any]:
        """What every party computes by."""
        return {
            "covariances": [list(columns) for columns in self.covariances],
            "least_persons": self.least_persons,
            "noise": None if self.noise is None else self.noise.to_json(),
            "queries": [query.to_json() for query in self.queries],
            "rows_per_unit": self.rows_per_unit,
            "schema": self.schema.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        needed = ("covariances", "least_persons", "noise", "queries", "rows_per_unit", "schema")
        members = members_of(body, "plan", needed)
        return cls(
            queries=tuple(Query.from_json(query) for query in list_of(members["queries"], "queries")),
            covariances=tuple(
                tuple(text_of(name, "covariances") for name in list_of(columns, "covariances"))
                for columns in list_of(members["covariances"], "covariances")
            ),
            schema=TableSchema.from_json(members["schema"]),
            rows_per_unit=members["rows_per_unit"],
            least_persons=members["least_persons"],
            noise=None if members["noise"] is None else SiteNoise.from_json(members["noise"]),
        )


def _together(columns: int) -> Vector:
    """Rows count GRID^2 each, so that all numbers of a covariance are in one unit of 2^-40."""
    cells = 1 + columns + packed_size(columns)
    return Vector(cells, GRID**2, _root(cells) * GRID**2, COVARIANCE_WEIGHT, Per.ROW)


def _root(number: int) -> int:
    """The square root, rounded up."""
    return isqrt(number - 1) + 1
