"""Queries of a statistics job in their final form: what is counted or summed, over which cells, within which bounds.

Rules
-----
1. Cells and bounds are part of the request, and those of the schema or within them: none is derived from rows.
2. A row adds one to exactly one cell of a histogram, or its value in grid steps to one cell of a sum. That most is
   `row_bound`, and it is all that a price needs to know of a query.
3. A value is moved into its bounds; one that has no cell (a text that is not listed) counts nowhere.
4. Sums are sums of whole grid steps: no floating-point number is added up.

Form: docs/formats/job-spec.md, "Statistics".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from math import prod
from typing import Any, Final

from kernel.checks import text, whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.jobs.labels import column_error
from privacy.jobs.strict import members_of, number_of, one_of, text_of
from privacy.schema import LONGEST_NAME, Column, ColumnKind, TableSchema

MOST_WEIGHT = 1000
MOST_AXES = 4
MOST_EDGES = 1024
MOST_CELLS = 65_536
MOST_GRID_STEPS = 2**30
MOST_QUANTILES = 99
_EXACT: Final = Context(prec=80)
_UP: Final = Context(prec=80, rounding=ROUND_CEILING)
TRUTHS: Final = ("false", "true")
LISTED: Final = (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL)


class QueryKind(StrEnum):
    """What a query asks for."""

    COUNT = "count"
    HISTOGRAM = "histogram"
    SUM = "sum"
    MEAN = "mean"
    QUANTILES = "quantiles"


class Per(StrEnum):
    """Which rows count: all of a unit's, up to the declared number, or its first alone."""

    ROW = "row"
    UNIT = "unit"


class Side(StrEnum):
    """Whose rows: of the units that train, or of those held out."""

    TRAIN = "train"
    HOLDOUT = "holdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A column cut into cells: its listed texts, or the intervals between edges.

    Attributes:
        column: Its name.
        texts: Every category, or `false` and `true`.
        edges: Of k + 1 cells, the k numbers between them; a number belongs to the cell above it when it equals one.
        low, high: The column's bounds, where there are edges.
    """

    column: str
    texts: tuple[str, ...] = ()
    edges: tuple[Parameter, ...] = ()
    low: Parameter | None = None
    high: Parameter | None = None

    def __post_init__(self) -> None:
        text(LONGEST_NAME, column=self.column)
        numeric = self.low is not None and self.high is not None
        if bool(self.texts) == numeric or (self.low is None) != (self.high is None):
            raise column_error(self.column, "an axis has `texts`, or `low`, `high` and `edges`")
        if self.low is not None and self.high is not None:
            whole(0, MOST_EDGES, edges=len(self.edges))
            numbers = [edge.number for edge in (self.low, *self.edges, self.high)]
            if any(not a < b for a, b in itertools.pairwise(numbers)):
                raise column_error(self.column, "`edges` must rise, between `low` and `high`")
        elif self.edges:
            raise column_error(self.column, "`edges` are for numeric columns")

    @property
    def cells(self) -> int:
        """How many cells."""
        return len(self.texts) or len(self.edges) + 1

    @property
    def limits(self) -> tuple[Parameter, ...]:
        """The ends of the cells of a numeric axis: `low`, the edges, `high`."""
        if self.low is None or self.high is None:
            raise column_error(self.column, "this axis has texts, not edges")
        return (self.low, *self.edges, self.high)

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless the axis is the declared column's."""
        column = schema.column(self.column)
        if column.kind is ColumnKind.NUMERIC:
            if self.texts or (self.low, self.high) != (column.low, column.high):
                raise column_error(self.column, "an axis of a numeric column has its declared `low` and `high`")
        elif self.texts != texts_of(column):
            raise column_error(self.column, "an axis lists the declared categories, all of them and in their order")

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        if self.texts:
            return {"column": self.column, "texts": list(self.texts)}
        edges = [str(edge) for edge in self.edges]
        return {"column": self.column, "edges": edges, "low": str(self.low), "high": str(self.high)}

    @classmethod
    def from_json(cls, body: Any) -> Axis:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "axis", ("column",), ("texts", "edges", "low", "high"))
        return cls(
            column=text_of(members["column"], "column"),
            texts=tuple(text_of(value, "texts") for value in list_of(members.get("texts", []), "texts")),
            edges=tuple(parameter_of(value, "edges") for value in list_of(members.get("edges", []), "edges")),
            low=number_of(members.get("low"), "low"),
            high=number_of(members.get("high"), "high"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """A numeric column in whole steps of a grid.

    Attributes:
        column: Its name.
        low, high: Values are moved into these bounds, which lie within the declared ones.
        quantum: The step.
    """

    column: str
    low: Parameter
    high: Parameter
    quantum: Parameter

    def __post_init__(self) -> None:
        text(LONGEST_NAME, column=self.column)
        if not self.low.number < self.high.number:
            raise column_error(self.column, "`low` must lie below `high`")
        if not self.quantum.number > 0:
            raise InvalidError("`quantum` must be above 0", field="quantum")
        if self.centred_bound > MOST_GRID_STEPS:
            raise InvalidError("`quantum` is too fine for these bounds: make it larger", field="quantum")

    @property
    def middle(self) -> Decimal:
        """Half way between the bounds."""
        return _EXACT.divide(_EXACT.add(self.low.number, self.high.number), Decimal(2))

    @property
    def centred_bound(self) -> int:
        """The most steps that a value can lie away from the middle."""
        return _steps(_EXACT.subtract(self.high.number, self.middle), self.quantum.number)

    @property
    def plain_bound(self) -> int:
        """The most steps that a value can lie away from 0."""
        return _steps(max(abs(self.low.number), abs(self.high.number)), self.quantum.number)

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless the column is numeric and its declared bounds hold these."""
        column = schema.column(self.column)
        if column.kind is not ColumnKind.NUMERIC or column.low is None or column.high is None:
            raise column_error(self.column, "sums and means are for numeric columns")
        if self.low.number < column.low.number or self.high.number > column.high.number:
            raise column_error(self.column, "`low` and `high` must lie within the declared bounds")

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        return {
            "column": self.column,
            "low": str(self.low),
            "high": str(self.high),
            "quantum": str(self.quantum),
        }

    @classmethod
    def from_json(cls, body: Any) -> Summed:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "summed", ("column", "low", "high", "quantum"))
        return cls(
            column=text_of(members["column"], "column"),
            **{name: parameter_of(members[name], name) for name in ("low", "high", "quantum")},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question.

    Attributes:
        kind: What is asked.
        per: Which rows count.
        axes: The cells: of a count none, of quantiles one numeric column, else up to four columns.
        summed: What is summed or averaged.
        at: Which quantiles, between 0 and 1.
        weight: Its part of the privacy, relative to the others'.
    """

    kind: QueryKind
    per: Per = Per.ROW
    axes: tuple[Axis, ...] = ()
    summed: Summed | None = None
    at: tuple[Parameter, ...] = ()
    weight: int = 1

    def __post_init__(self) -> None:
        whole(1, MOST_WEIGHT, weight=self.weight)
        if len(self.axes) > MOST_AXES or len({axis.column for axis in self.axes}) != len(self.axes):
            raise InvalidError(f"a query has at most {MOST_AXES} axes, each of another column", field="axes")
        if (self.kind is QueryKind.COUNT) != (not self.axes) and self.kind in _COUNTS:
            raise InvalidError("a count has no axes, a histogram at least one", field="axes")
        if (self.kind in (QueryKind.SUM, QueryKind.MEAN)) != (self.summed is not None):
            raise InvalidError("`summed` is for sums and means, which need it", field="summed")
        if self.kind is QueryKind.SUM and self.summed is not None and self.summed.plain_bound > MOST_GRID_STEPS:
            raise InvalidError("`quantum` is too fine for bounds so far from 0: make it larger", field="quantum")
        if self.cells > MOST_CELLS:
            raise TooLargeError(f"a query may have at most {MOST_CELLS} cells: use fewer columns or bins", field="axes")
        self._check_quantiles()

    def _check_quantiles(self) -> None:
        if self.kind is not QueryKind.QUANTILES:
            if self.at:
                raise InvalidError("`at` is for quantiles", field="at")
            return
        if len(self.axes) != 1 or self.axes[0].texts:
            raise InvalidError("quantiles need one axis, of a numeric column", field="axes")
        whole(1, MOST_QUANTILES, at=len(self.at))
        numbers = [point.number for point in self.at]
        if numbers != sorted(set(numbers)) or not all(0 < number < 1 for number in numbers):
            raise InvalidError("`at` must rise, between 0 and 1", field="at")

    @property
    def cells(self) -> int:
        """How many cells: the product of the axes', or one."""
        return prod(axis.cells for axis in self.axes)

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless the query fits the schema."""
        for axis in self.axes:
            axis.check(schema)
        if self.summed is not None:
            self.summed.check(schema)

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body: dict[str, Any] = {"kind": self.kind.value, "per": self.per.value, "weight": self.weight}
        if self.axes:
            body["axes"] = [axis.to_json() for axis in self.axes]
        if self.summed is not None:
            body["summed"] = self.summed.to_json()
        return body | ({"at": [str(point) for point in self.at]} if self.at else {})

    @classmethod
    def from_json(cls, body: Any) -> Query:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "query", ("kind", "per", "weight"), ("axes", "summed", "at"))
        summed = members.get("summed")
        return cls(
            kind=one_of(QueryKind, members["kind"], "kind"),
            per=one_of(Per, members["per"], "per"),
            axes=tuple(Axis.from_json(axis) for axis in list_of(members.get("axes", []), "axes")),
            summed=None if summed is None else Summed.from_json(summed),
            at=tuple(parameter_of(point, "at") for point in list_of(members.get("at", []), "at")),
            weight=members["weight"],
        )


_COUNTS: Final = (QueryKind.COUNT, QueryKind.HISTOGRAM)


def texts_of(column: Column) -> tuple[str, ...]:
    """The cells of a column that lists its values; raise `InvalidError` if it lists none."""
    if column.kind is ColumnKind.BOOLEAN:
        return TRUTHS
    if column.kind in LISTED:
        return column.categories
    raise column_error(column.name, "statistics are for numeric, categorical, ordinal and boolean columns")


def list_of(value: Any, field: str) -> Sequence[Any]:
    """Return a list."""
    if not isinstance(value, (list, tuple)):
        raise InvalidError(f"`{field}` must be a list", field=field)
    return value


def parameter_of(value: Any, field: str) -> Parameter:
    """Return decimal text as the number it writes."""
    return Parameter.of(text_of(value, field), field)


def _steps(distance: Decimal, quantum: Decimal) -> int:
    """How many steps reach as far, rounded up; past every limit if the number would be too long to be written."""
    quotient = _UP.divide(distance, quantum)
    if quotient.adjusted() > 30:
        return 2 * MOST_GRID_STEPS
    return int(quotient.to_integral_value(ROUND_CEILING))
