"""From the short form of queries to their final form: cells and bounds follow from the schema, never from rows.

Form: docs/formats/job-spec.md, "Statistics".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from typing import Any, Final

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.jobs.labels import column_error
from privacy.jobs.queries import MOST_EDGES, Axis, Per, Query, QueryKind, Summed, list_of, parameter_of, texts_of
from privacy.jobs.strict import members_of, number_of, one_of, text_of
from privacy.schema import Column, ColumnKind, TableSchema

PROFILE: Final = "profile"
PAIRS: Final = "pairs"
DEFAULT_BINS: Final = {QueryKind.HISTOGRAM: 10, QueryKind.MEAN: 10, QueryKind.SUM: 10, QueryKind.QUANTILES: 64}
TABLE_BINS: Final = 16
DEFAULT_AT: Final = tuple(Parameter(point) for point in ("0.05", "0.25", "0.5", "0.75", "0.95"))
MOST_PAIRED = 32
GRID_DIGITS = 4
"""The default grid has 10^4 to 10^5 steps: rounding to it is far below any noise that a budget allows."""
_EXACT: Final = Context(prec=34)
_SHARED: Final = ("per", "weight")
_MEMBERS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "count": ((), ()),
    "histogram": (("columns",), ("bins", "edges")),
    "sum": (("column",), ("by", "bins", "edges", "low", "high", "quantum")),
    "mean": (("column",), ("by", "bins", "edges", "low", "high", "quantum")),
    "quantiles": (("column",), ("at", "bins", "edges")),
    PROFILE: ((), ("columns", "bins", "edges")),
    PAIRS: (("columns",), ("bins", "edges")),
}


def complete_query(body: Any, schema: TableSchema) -> Iterator[Query]:
    """The final form of one query, or the several that a profile or pairs are.

    Raises:
        InvalidError: A member that is unknown, missing, out of range or not of the schema.
        TooLargeError: Too many cells.
    """
    kind = body.get("kind") if isinstance(body, Mapping) else None
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise InvalidError("`kind` of a query must be one of " + ", ".join(_MEMBERS), field="kind")
    if "axes" in body or "summed" in body:
        final = Query.from_json(body)
        final.check(schema)
        yield final
        return
    needed, optional = _MEMBERS[kind]
    members = members_of(body, "query", ("kind", *needed), (*optional, *_SHARED))
    if kind == PROFILE:
        yield from _profile(members, schema)
    elif kind == PAIRS:
        yield from _pairs(members, schema)
    else:
        yield _written(QueryKind(kind), members, schema)


def _profile(members: Mapping[str, Any], schema: TableSchema) -> Iterator[Query]:
    """A histogram of every column that has cells, or of the chosen ones."""
    names = _names(members["columns"], "columns") if "columns" in members else _usable(schema)
    if not names:
        raise InvalidError("`columns` of a profile names none that can be counted", field="columns")
    for name in names:
        axis = _axis(schema.column(name, "columns"), members, DEFAULT_BINS[QueryKind.HISTOGRAM])
        yield Query(kind=QueryKind.HISTOGRAM, axes=(axis,), **_shared(members))


def _pairs(members: Mapping[str, Any], schema: TableSchema) -> Iterator[Query]:
    """A histogram of each two of some columns: what a synthetic table is drawn from."""
    axes = _axes(QueryKind.HISTOGRAM, "columns", members, schema)
    if not 2 <= len(axes) <= MOST_PAIRED:
        raise InvalidError(f"`columns` of pairs names 2 to {MOST_PAIRED}", field="columns")
    for pair in itertools.combinations(axes, 2):
        yield Query(kind=QueryKind.HISTOGRAM, axes=pair, **_shared(members))


def table_axes(members: Mapping[str, Any], schema: TableSchema) -> tuple[Axis, ...]:
    """The columns of a synthetic table with their cells: those that `columns` names, or all that have cells.

    Raises:
        InvalidError: A column that is not there or has no cells, or `bins` or `edges` that do not cut one.
    """
    names = _names(members["columns"], "columns") if "columns" in members else _usable(schema)
    return tuple(_axis(schema.column(name, "columns"), members, TABLE_BINS) for name in names)


def _usable(schema: TableSchema) -> list[str]:
    return [c.name for c in schema.columns if c.kind not in (ColumnKind.IDENTIFIER, ColumnKind.TENSOR)]


def _written(kind: QueryKind, members: Mapping[str, Any], schema: TableSchema) -> Query:
    match kind:
        case QueryKind.COUNT:
            return Query(kind=kind, **_shared(members))
        case QueryKind.HISTOGRAM:
            return Query(kind=kind, axes=_axes(kind, "columns", members, schema), **_shared(members))
        case QueryKind.QUANTILES:
            column = schema.column(text_of(members["column"], "column"))
            at = tuple(parameter_of(point, "at") for point in list_of(members.get("at", DEFAULT_AT), "at"))
            return Query(kind=kind, axes=(_axis(column, members, DEFAULT_BINS[kind]),), at=at, **_shared(members))
        case _:
            summed = _summed(schema.column(text_of(members["column"], "column")), members)
            axes = _axes(kind, "by", members, schema) if "by" in members else ()
            return Query(kind=kind, summed=summed, axes=axes, **_shared(members))


def _shared(members: Mapping[str, Any]) -> dict[str, Any]:
    per = one_of(Per, members.get("per", Per.ROW.value), "per")
    return {"per": per, "weight": members.get("weight", 1)}


def _axes(kind: QueryKind, member: str, members: Mapping[str, Any], schema: TableSchema) -> tuple[Axis, ...]:
    columns = [schema.column(name, member) for name in _names(members[member], member)]
    return tuple(_axis(column, members, DEFAULT_BINS[kind]) for column in columns)


def _axis(column: Column, members: Mapping[str, Any], bins: int) -> Axis:
    if column.kind is not ColumnKind.NUMERIC:
        return Axis(column=column.name, texts=texts_of(column))
    return Axis(column=column.name, edges=_edges(column, members, bins), low=column.low, high=column.high)


def _edges(column: Column, members: Mapping[str, Any], bins: int) -> tuple[Parameter, ...]:
    """Those that were written for this column, or of cells of one width."""
    written = members.get("edges", {})
    if isinstance(written, (list, tuple)):
        return tuple(parameter_of(edge, "edges") for edge in written)
    if not isinstance(written, Mapping):
        raise InvalidError("`edges` lists numbers, or has such a list for each of several columns", field="edges")
    if column.name in written:
        return tuple(parameter_of(edge, "edges") for edge in list_of(written[column.name], "edges"))
    count = whole(1, MOST_EDGES + 1, bins=members.get("bins", bins))
    low, high = _bounds(column)
    width = _EXACT.subtract(high.number, low.number)
    return tuple(_at(low.number, width, number, count) for number in range(1, count))


def _at(low: Decimal, width: Decimal, number: int, count: int) -> Parameter:
    """An edge, to eight digits of the cells' width: edges are to be read."""
    step = _EXACT.divide(width, Decimal(count))
    exact = _EXACT.add(low, _EXACT.multiply(step, Decimal(number)))
    return Parameter(exact.quantize(Decimal(1).scaleb(step.adjusted() - 8), context=_EXACT))


def _summed(column: Column, members: Mapping[str, Any]) -> Summed:
    low, high = _bounds(column)
    low, high = number_of(members.get("low"), "low") or low, number_of(members.get("high"), "high") or high
    width = _EXACT.subtract(high.number, low.number)
    if width <= 0:
        raise column_error(column.name, "`low` must lie below `high`")
    quantum = number_of(members.get("quantum"), "quantum")
    if quantum is None:
        quantum = Parameter(Decimal(1).scaleb(width.adjusted() - GRID_DIGITS))
    summed = Summed(column=column.name, low=low, high=high, quantum=quantum)
    summed.check(TableSchema((column,)))
    return summed


def _bounds(column: Column) -> tuple[Parameter, Parameter]:
    if column.kind is not ColumnKind.NUMERIC or column.low is None or column.high is None:
        raise column_error(column.name, "sums and means are for numeric columns")
    return column.low, column.high


def _names(value: Any, field: str) -> list[str]:
    return [text_of(name, field) for name in ([value] if isinstance(value, str) else list_of(value, field))]
