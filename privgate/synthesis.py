"""A synthetic table from released statistics: pay once, explore for ever.

Rules
-----
1. Everything follows from a released file and the caller's seed: noisy histograms that were paid for. Drawing rows
   looks at nobody and costs nothing, however many are drawn.
2. Columns hang together along a tree of pairs: the strongest ones that stand out of their noise, one way from each
   column to every other. What holds between columns beyond the tree, or among three at once, is not in the rows.
3. A row is nobody's: its values are drawn cell by cell, a number evenly within its cell.
4. Row i does not depend on how many are drawn: more rows of one seed begin with the fewer.

Reference: McKenna, Miklau and Sheldon 2021 (MST) for a tree of noisy pairs; Chow and Liu 1968 for the tree. Form:
docs/formats/job-child.md, "Synthetic rows".
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kernel.canonical import LARGEST_INTEGER, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.evaluation.counts import without_negatives
from privacy.jobs.measurements import layout
from privacy.jobs.queries import Axis, Per, QueryKind
from privacy.schema import ColumnKind, TableSchema
from privgate.statistics import Statistics

MOST_ROWS = 10**6
ROUNDS = 40
GRID = 100
"""A number is drawn among so many places within its cell."""
_EXPECTED: Final = math.sqrt(2 / math.pi)
"""The mean size of Gaussian noise over its deviation."""

Shares: TypeAlias = list[float]
Pair: TypeAlias = tuple[str, str]
Singles: TypeAlias = "dict[str, list[tuple[list[int], float]]]"
"""For a column its histograms, each with the deviation of its noise."""
Tree: TypeAlias = "dict[str, tuple[str, list[Shares]]]"
"""For a column on which it hangs, and its distribution for each cell of that one."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A released histogram of two columns: noisy counts, the second column's cells side by side."""

    first: Axis
    second: Axis
    noisy: Sequence[int]
    deviation: float

    def along(self, second: bool) -> list[int]:
        """Its sums for each cell of one column."""
        width = self.second.cells
        if second:
            return [sum(self.noisy[place::width]) for place in range(width)]
        return [sum(self.noisy[row * width : (row + 1) * width]) for row in range(self.first.cells)]


def synthetic_rows(
    told: Statistics, schema: TableSchema, rows: int, seed: int = 0, *, around: str | None = None
) -> Iterator[dict[str, Any]]:
    """Draw rows whose columns are distributed as the released histograms say, and in pairs along a tree.

    Args:
        told: Statistics of which histograms of pairs (`pairs`), or of single columns (`profile`), were asked, per row.
        schema: The dataset's declared schema.
        rows: How many.
        seed: The caller's own: another seed, other rows.
        around: The column to predict, if rows are drawn to learn it: each column then hangs on this one where their
            pair stands out of its noise, and on another only where it does not.

    Raises:
        InvalidError: No such histogram or column, two that cut one column differently, or a number out of range.
    """
    whole(1, MOST_ROWS, rows=rows)
    whole(0, LARGEST_INTEGER, seed=seed)
    axes, singles, tables = _histograms(told)
    shares = {name: _shares(axis, singles, tables) for name, axis in axes.items()}
    if around is not None and around not in axes:
        raise InvalidError("`around` names no column of the released histograms", field="around")
    tree = _tree(list(axes), tables, shares, around)
    key = digest_of("synthetic-rows/v1", {"noisy": [list(v) for v in told.body["noisy"]], "seed": seed}).raw
    return _drawn(_Drawing(axes, shares, tree, schema), key, rows)


def _histograms(told: Statistics) -> tuple[dict[str, Axis], Singles, dict[Pair, _Table]]:
    axes: dict[str, Axis] = {}
    singles: Singles = {}
    tables: dict[Pair, _Table] = {}
    sources = layout([answer.query for answer in told]).sources
    for answer, (place, *_) in zip(told, sources, strict=True):
        query = answer.query
        if query.kind is not QueryKind.HISTOGRAM or query.per is not Per.ROW or len(query.axes) > 2:
            continue
        for axis in query.axes:
            if axes.setdefault(axis.column, axis) != axis:
                raise InvalidError(f"`{axis.column}` was cut into cells in two ways", field=axis.column)
        noisy, deviation = list(told.body["noisy"][place]), float(told.body["deviations"][place])
        if len(query.axes) == 1:
            singles.setdefault(query.axes[0].column, []).append((noisy, deviation))
        else:
            first, second = query.axes
            tables[first.column, second.column] = _Table(first, second, noisy, deviation)
    if not axes:
        raise InvalidError("rows are drawn from histograms: ask `pairs` or `profile`, per row", field="queries")
    return axes, singles, tables


def _shares(axis: Axis, singles: Singles, tables: Mapping[Pair, _Table]) -> Shares:
    """The column's distribution: every released histogram that has it, the less noisy ones counting more."""
    found = [(noisy, deviation**2) for noisy, deviation in singles.get(axis.column, [])]
    for (first, second), table in tables.items():
        if axis.column in (first, second):
            is_second = axis.column == second
            other = table.first.cells if is_second else table.second.cells
            found.append((table.along(is_second), table.deviation**2 * other))
    weight = math.fsum(1 / variance for _, variance in found)
    mixed = [math.fsum(noisy[cell] / variance for noisy, variance in found) / weight for cell in range(axis.cells)]
    return _normal(without_negatives(mixed))


def _tree(
    names: Sequence[str], tables: Mapping[Pair, _Table], shares: Mapping[str, Shares], around: str | None
) -> Tree:
    """For each column that depends on an earlier one: on which, and its distribution for each cell of that one."""
    strengths = {pair: _strength(table, shares[pair[0]], shares[pair[1]]) for pair, table in tables.items()}
    reached: list[str] = [] if around is None else [around]
    parents: Tree = {}
    while len(reached) < len(names):
        leading = [p for p in tables if (p[0] in reached) != (p[1] in reached) and strengths[p] > 0]
        if not leading:
            # Nothing that stands out of its noise leads on: the next column starts a tree of its own.
            reached.append(next(name for name in names if name not in reached))
            continue
        first, second = max(sorted(leading), key=lambda pair: (around in pair, strengths[pair]))
        known, new = (first, second) if first in reached else (second, first)
        parents[new] = (known, _conditional(tables[first, second], shares[first], shares[second], known == first))
        reached.append(new)
    return {name: parents[name] for name in reached if name in parents}


def _strength(table: _Table, first: Shares, second: Shares) -> float:
    """How far the pair is from independent, in rows, beyond what its noise alone would show."""
    total = max(sum(table.noisy), 1)
    products = (a * b * total for a, b in itertools.product(first, second))
    apart = math.fsum(abs(count - product) for count, product in zip(table.noisy, products, strict=True))
    return apart - _EXPECTED * table.deviation * len(table.noisy)


def _conditional(table: _Table, first: Shares, second: Shares, from_first: bool) -> list[Shares]:
    """The pair's distribution, raked to both columns' own, as rows of one column given the other."""
    width = len(second)
    flat = without_negatives(list(table.noisy))
    cells = [flat[row * width : (row + 1) * width] for row in range(len(first))]
    for _ in range(ROUNDS):
        cells = [_scaled(row, share) for row, share in zip(cells, first, strict=True)]
        columns = [_scaled(list(column), share) for column, share in zip(zip(*cells, strict=True), second, strict=True)]
        cells = [list(row) for row in zip(*columns, strict=True)]
    given = cells if from_first else [list(column) for column in zip(*cells, strict=True)]
    return [_normal(row) if math.fsum(row) > 0 else (second if from_first else first) for row in given]


def _scaled(values: Shares, wanted: float) -> Shares:
    total = math.fsum(values)
    return [value * wanted / total for value in values] if total > 0 else values


def _normal(values: Shares) -> Shares:
    total = math.fsum(values)
    return [value / total for value in values] if total > 0 else [1 / len(values)] * len(values)


class _Drawing:
    """What a row is drawn from: each column's running distribution, by the cell of the column that it hangs on."""

    def __init__(
        self,
        axes: Mapping[str, Axis],
        shares: Mapping[str, Shares],
        tree: Tree,
        schema: TableSchema,
    ) -> None:
        self.axes, self.schema = axes, schema
        self.order = [name for name in axes if name not in tree] + list(tree)
        self.parents = {name: parent for name, (parent, _) in tree.items()}
        rows = {name: tree[name][1] if name in tree else [shares[name]] for name in axes}
        self.running = {name: [list(itertools.accumulate(row)) for row in given] for name, given in rows.items()}

    def row(self, draws: Iterator[float], number: int) -> dict[str, Any]:
        """One row, in the schema's order; a column that no histogram has is left out."""
        cells: dict[str, int] = {}
        values: dict[str, Any] = {}
        for name in self.order:
            given = self.running[name][cells[self.parents[name]] if name in self.parents else 0]
            cell = min(bisect.bisect_right(given, next(draws) * given[-1]), len(given) - 1)
            cells[name], values[name] = cell, self._value(self.axes[name], cell, next(draws))
        names = {c.name: f"synthetic-{number:07d}" for c in self.schema.columns if c.kind is ColumnKind.IDENTIFIER}
        return {c.name: (names | values)[c.name] for c in self.schema.columns if c.name in names or c.name in values}

    def _value(self, axis: Axis, cell: int, draw: float) -> Any:
        if axis.texts:
            boolean = self.schema.column(axis.column).kind is ColumnKind.BOOLEAN
            return axis.texts[cell] == "true" if boolean else axis.texts[cell]
        low, high = (limit.number for limit in axis.limits[cell : cell + 2])
        inside = low + (high - low) * int(draw * GRID) / GRID
        return int(inside) if inside == int(inside) else float(inside)


def _drawn(drawing: _Drawing, key: bytes, rows: int) -> Iterator[dict[str, Any]]:
    for number in range(1, rows + 1):
        yield drawing.row(_draws(key, number, 2 * len(drawing.order)), number)


def _draws(key: bytes, number: int, count: int) -> Iterator[float]:
    """Numbers in [0, 1), of 48 bits each."""
    stream = hashlib.shake_256(key + number.to_bytes(8, "big")).digest(6 * count)
    return (int.from_bytes(stream[6 * place : 6 * place + 6], "big") / 2**48 for place in range(count))
