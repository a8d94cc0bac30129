"""Drawing rows from distributions along a tree of columns: what synthetic tables of every origin share.

Rules
-----
1. Rows follow from the distributions and a key alone; drawing looks at nobody and costs nothing.
2. A row is nobody's: its values are drawn cell by cell, a number evenly within its cell.
3. Row i does not depend on how many are drawn: more rows of one key begin with the fewer.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from privacy.jobs.queries import Axis
from privacy.schema import ColumnKind, TableSchema
from privacy.synthesis.inference import Shares

MOST_ROWS = 10**6
GRID = 100
"""A number is drawn among so many places within its cell."""


@dataclass(frozen=True, slots=True)
class Hanging:
    """How a column is drawn.

    Attributes:
        on: The columns that it hangs on, which are drawn before it.
        shares: Its distribution for each combination of their cells, the last one's side by side.
    """

    on: tuple[str, ...]
    shares: Sequence[Shares]


class Drawing:
    """What a row is drawn from: each column's running distribution, by the cells of the columns that it hangs on.

    Args:
        axes: The columns with their cells.
        columns: How each is drawn, in the order of drawing.
        schema: The dataset's declared schema.
    """

    def __init__(self, axes: Mapping[str, Axis], columns: Mapping[str, Hanging], schema: TableSchema) -> None:
        self._axes, self._columns, self._schema = axes, columns, schema
        self._running = {name: [list(itertools.accumulate(row)) for row in of.shares] for name, of in columns.items()}

    def rows(self, key: bytes, count: int) -> Iterator[dict[str, Any]]:
        """So many rows; those of one key are the same for everybody."""
        for number in range(1, count + 1):
            yield self._row(_draws(key, number, 2 * len(self._columns)), number)

    def _row(self, draws: Iterator[float], number: int) -> dict[str, Any]:
        """One row, in the schema's order; a column that no distribution has is left out."""
        cells: dict[str, int] = {}
        values: dict[str, Any] = {}
        for name, of in self._columns.items():
            place = 0
            for other in of.on:
                place = place * self._axes[other].cells + cells[other]
            given = self._running[name][place]
            cell = min(bisect.bisect_right(given, next(draws) * given[-1]), len(given) - 1)
            cells[name], values[name] = cell, self._value(self._axes[name], cell, next(draws))
        names = {c.name: f"synthetic-{number:07d}" for c in self._schema.columns if c.kind is ColumnKind.IDENTIFIER}
        return {c.name: (names | values)[c.name] for c in self._schema.columns if c.name in names or c.name in values}

    def _value(self, axis: Axis, cell: int, draw: float) -> Any:
        if axis.texts:
            boolean = self._schema.column(axis.column).kind is ColumnKind.BOOLEAN
            return axis.texts[cell] == "true" if boolean else axis.texts[cell]
        low, high = (limit.number for limit in axis.limits[cell : cell + 2])
        inside = low + (high - low) * int(draw * GRID) / GRID
        return int(inside) if inside == int(inside) else float(inside)


def _draws(key: bytes, number: int, count: int) -> Iterator[float]:
    """Numbers in [0, 1), of 48 bits each."""
    stream = hashlib.shake_256(key + number.to_bytes(8, "big")).digest(6 * count)
    return (int.from_bytes(stream[6 * place : 6 * place + 6], "big") / 2**48 for place in range(count))
