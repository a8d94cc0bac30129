"""Rows as people have them to what an engine reads: as sealing would take them. Needs the extra `train`.

Rules
-----
1. A cell is read as an upload's is, with the same rules, and a broken one ends it: the gateway would refuse the file.
2. Columns that neither features nor unit need are not looked at.
3. A fifth of the units is kept back, every fifth that turns up, so that a model is judged on people it never saw.
4. Fewer units than are declared are met again and again up to that number, without a copy: signal and noise then stand
   to each other as they will, while what can be learnt is no more than these rows hold.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.ingest.formats import Rule
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.training.engine import MicroBatch
from privacy.training.rows import RowEncoder, Rows
from privacy.training.sampling import Indices
from privacy.training.units import UnitTable, joined
from privacy.units import PrivacyUnit
from privgate.cells import Cell, out_of_bounds, read_cell

Row: TypeAlias = Mapping[str, Any]
KEPT_BACK = 5
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class OwnRows:
    """Some rows with the number of the unit that each is about.

    Attributes:
        rows: As they were given.
        units: A number for each, from 0 in the order in which units turn up.
        named: Whether a column told the units; otherwise each row stands for one.
    """

    rows: Sequence[Row]
    units: NDArray[np.int64]
    named: bool

    @classmethod
    def of(cls, rows: Sequence[Row], schema: TableSchema, unit: PrivacyUnit) -> OwnRows:
        """Tell the units apart, by their column if the rows have it."""
        named = unit.column is not None and any(unit.column in row for row in rows)
        if unit.column is None or not named:
            return cls(rows, np.arange(len(rows), dtype=np.int64), named=False)
        texts = _cells(schema.column(unit.column), rows)
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        return cls(rows, np.array([numbers[text] for text in texts], dtype=np.int64), named=True)

    @property
    def kept_back(self) -> NDArray[np.bool_]:
        """Which rows are kept back: those of every fifth unit."""
        back: NDArray[np.bool_] = self.units % KEPT_BACK == KEPT_BACK - 1
        return back

    def where(self, mask: NDArray[np.bool_]) -> list[Row]:
        """Some of the rows."""
        return [self.rows[place] for place in np.flatnonzero(mask).tolist()]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as numbers, whose they are, and how long a row took to get there."""

    rows: Rows
    units: NDArray[np.int64]
    seconds_per_row: float

    def table(self, rows_per_unit: int, without: NDArray[np.bool_] | None = None) -> UnitTable:
        """The rows by unit, without some of them."""
        keep = np.ones(len(self.units), dtype=np.bool_) if without is None else ~without
        of = self.rows
        kept = Rows(features=of.features[keep], targets=of.targets[keep], alive=of.alive[keep])
        if rows_per_unit == 1 and len(np.unique(self.units[keep])) == int(keep.sum()):
            return UnitTable.of_records(kept)
        return UnitTable.by_unit(kept, self.units[keep], rows_per_unit)


def encoded(of: OwnRows, encoder: RowEncoder, schema: TableSchema) -> Encoded:
    """Encode rows as a job's child does.

    Raises:
        InvalidError: A cell breaks a rule of its column; row, column and rule are named.
    """
    parts, seconds = [], 0.0
    for start in range(0, len(of.rows), ROWS_AT_ONCE):
        rows = of.rows[start : start + ROWS_AT_ONCE]
        batch = pa.table({name: _column(schema.column(name), rows, start) for name in encoder.needs})
        begun = time.perf_counter()
        parts.append(encoder.encode(batch))
        seconds += time.perf_counter() - begun
    return Encoded(joined(parts, encoder.width), of.units, seconds / max(1, len(of.rows)))


def sealed_columns(schema: TableSchema, rows: Sequence[Row], needed: Collection[str]) -> dict[str, Any]:
    """What sealing makes of the columns that the rows have, by name; those that are needed have to be there.

    Raises:
        InvalidError: A needed column is missing, or a cell breaks a rule of its column.
    """
    there = {name for row in rows for name in row}
    return {c.name: _column(c, rows, 0) for c in schema.columns if c.name in there or c.name in needed}


class AsDeclared:
    """Units of a table under as many numbers as are declared: unit i is unit i modulo those that there are.

    Args:
        table: The units that there are.
        count: How many are declared.
    """

    def __init__(self, table: UnitTable, count: int) -> None:
        self._table, self._count = table, count

    def __len__(self) -> int:
        return self._count

    def gather(self, members: Indices, places: int, into: MicroBatch | None = None) -> MicroBatch:
        """The rows of some units; negative numbers stay empty places."""
        return self._table.gather(np.where(members < 0, members, members % len(self._table)), places, into)


def _column(column: Column, rows: Sequence[Row], start: int) -> Any:
    """An Arrow array of the sealed type."""
    cells = _cells(column, rows, start)
    match column.kind:
        case ColumnKind.NUMERIC:
            return pa.array(np.array(cells, dtype=np.float64))
        case ColumnKind.BOOLEAN:
            return pa.array(np.array(cells, dtype=np.bool_))
        case ColumnKind.TENSOR:
            flat = np.array(cells, dtype=np.float32).reshape(-1)
            return pa.FixedSizeListArray.from_arrays(pa.array(flat), column.elements)
        case _:
            return pa.array(cells, type=pa.string())


def _cells(column: Column, rows: Sequence[Row], start: int = 0) -> list[Cell]:
    if not any(column.name in row for row in rows):
        raise _broken(column, Rule.MISSING_COLUMN)
    found: list[Cell] = []
    for number, row in enumerate(rows, start + 1):
        cell = _numbers(column, row.get(column.name))
        if isinstance(cell, Rule) or (not isinstance(cell, np.ndarray) and out_of_bounds(column, cell)):
            raise _broken(column, cell if isinstance(cell, Rule) else Rule.OUT_OF_BOUNDS, number)
        found.append(cell)
    return found


def _numbers(column: Column, value: Any) -> Any:
    """A cell; of a tensor that is in order, quickly."""
    if column.kind is ColumnKind.TENSOR and isinstance(value, (list, tuple, np.ndarray)):
        try:
            flat = np.asarray(value, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            return read_cell(column, value)
        low, high = (float(bound.number) if bound is not None else 0.0 for bound in (column.low, column.high))
        if len(flat) == column.elements and bool(((flat >= low) & (flat <= high)).all()):
            return flat
    return read_cell(column, value)


def _broken(column: Column, rule: Rule, row: int | None = None) -> InvalidError:
    where = "the rows" if row is None else f"row {row}"
    return InvalidError(
        f"{where}, column `{column.name}`: {rule.value}; the gateway would refuse such an upload", field=column.name
    )
