"""A synthetic table from released statistics: pay once, explore for ever.

Rules
-----
1. Everything follows from a released file and the caller's seed: noisy histograms that were paid for. Drawing rows
   looks at nobody and costs nothing, however many are drawn.
2. Columns hang together along a tree of pairs: the strongest ones that stand out of their noise, one way from each
   column to every other. What holds between columns beyond the tree, or among three at once, is not in the rows.
3. A job of kind `synthesis` counts less and chooses which pairs to count: `privgate.synthetic` draws from that.

Reference: McKenna, Miklau and Sheldon 2021 (MST) for a tree of noisy pairs; Chow and Liu 1968 for the tree. Form:
docs/formats/job-child.md, "Synthetic rows".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kernel.canonical import LARGEST_INTEGER, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.jobs.measurements import layout
from privacy.jobs.queries import Axis, Per, QueryKind
from privacy.schema import TableSchema
from privacy.synthesis.inference import Shares, conditional, shares_of, strength, sums_along
from privgate.drawing import MOST_ROWS, Drawing, Hanging
from privgate.statistics import Statistics

Pair: TypeAlias = tuple[str, str]
Singles: TypeAlias = "dict[str, list[tuple[list[int], float]]]"
"""For a column its histograms, each with the deviation of its noise."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A released histogram of two columns: noisy counts, the second column's cells side by side."""

    first: Axis
    second: Axis
    noisy: Sequence[int]
    deviation: float


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
    roots = {name: Hanging((), [shares[name]]) for name in axes if name not in tree}
    return Drawing(axes, roots | tree, schema).rows(key, rows)


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
            along = sums_along(table.noisy, table.second.cells, second=is_second)
            found.append((along, table.deviation**2 * other))
    return shares_of(found)


def _tree(
    names: Sequence[str], tables: Mapping[Pair, _Table], shares: Mapping[str, Shares], around: str | None
) -> dict[str, Hanging]:
    """For each column that depends on an earlier one: on which, and its distribution for each cell of that one."""
    strengths = {pair: strength(t.noisy, t.deviation, *(shares[name] for name in pair)) for pair, t in tables.items()}
    reached: list[str] = [] if around is None else [around]
    parents: dict[str, Hanging] = {}
    while len(reached) < len(names):
        leading = [p for p in tables if (p[0] in reached) != (p[1] in reached) and strengths[p] > 0]
        if not leading:
            # Nothing that stands out of its noise leads on: the next column starts a tree of its own.
            reached.append(next(name for name in names if name not in reached))
            continue
        first, second = max(sorted(leading), key=lambda pair: (around in pair, strengths[pair]))
        known, new = (first, second) if first in reached else (second, first)
        noisy = tables[first, second].noisy
        given = conditional(noisy, shares[first], shares[second], on_first=known == first)
        parents[new] = Hanging((known,), given)
        reached.append(new)
    return {name: parents[name] for name in reached if name in parents}
