"""Rows to exact measurements. Child only: the numbers computed here never leave without noise.

Rules
-----
1. At most the declared rows of a unit count, its first ones, and for `per: unit` its first alone, whatever the file
   holds. A row without a unit counts nowhere.
2. A value is moved into its bounds and rounded to a grid step by itself; one without a cell, or not finite, counts
   nowhere. Nothing is raised because of a value.
3. Sums are of 64-bit whole numbers; no floating-point number is added up.
4. Parts are read twice where a unit has rows: once for the units, once for the values, batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privacy.jobs.assignment import PartFile
from privacy.jobs.measurements import Measurement
from privacy.jobs.queries import TRUTHS, Axis, Per, Summed
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartReader
from privacy.training.loading import ROWS_AT_ONCE, address_of, numbered_units
from privacy.units import PrivacyUnit

Mask: TypeAlias = NDArray[np.bool_]
Whole: TypeAlias = NDArray[np.int64]
Exact: TypeAlias = list[Whole]


def measure(
    parts: Sequence[PartFile], key: SecretBytes, unit: PrivacyUnit, measurements: Sequence[Measurement]
) -> Exact:
    """Measure every row that counts.

    Args:
        parts: The files of the block, in their order.
        key: The dataset version's data key.
        unit: Who is protected; its rows are bounded here.
        measurements: What to measure.

    Raises:
        CorruptError: A part is not what it must be.
    """
    counting = _counting(parts, key, unit)
    totals = [np.zeros(measurement.size.cells, dtype=np.int64) for measurement in measurements]
    columns = sorted(columns_of(measurements))
    # Where no column is read, any one tells how many rows a batch has.
    read = columns or ([unit.column] if unit.column is not None else None)
    start = 0
    for batch in _batches(parts, key, read):
        end = start + batch.num_rows
        used = None if counting is None else {per: mask[start:end] for per, mask in counting.items()}
        add_rows(totals, batch, measurements, used)
        start = end
    return totals


def add_rows(
    totals: Exact, batch: Any, measurements: Sequence[Measurement], used: dict[Per, Mask] | None = None
) -> None:
    """Add the rows of a batch to the totals.

    Args:
        totals: One array for each measurement; changed.
        batch: Arrow columns.
        measurements: What to measure.
        used: Which rows count; all, if every row is a unit of its own.
    """
    seen = _Batch(batch)
    for total, measurement in zip(totals, measurements, strict=True):
        place, alive = seen.cells(measurement.axes)
        if used is not None:
            alive = alive & used[measurement.per]
        if measurement.summed is None:
            total += np.bincount(place[alive], minlength=len(total))
        else:
            steps, finite = seen.steps(measurement.summed, centred=measurement.centred)
            np.add.at(total, place[alive & finite], steps[alive & finite])


def cells_of(batch: Any, axes: Sequence[Axis]) -> tuple[Whole, Mask]:
    """The number of each row's cell, the last axis' side by side, and whether it has one."""
    return _Batch(batch).cells(axes)


class _Batch:
    """The columns of a batch as cells and grid steps, each worked out once."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self._cells: dict[Axis, Whole] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}

    def cells(self, axes: Sequence[Axis]) -> tuple[Whole, Mask]:
        """The number of each row's cell, the last axis' side by side, and whether it has one."""
        place = np.zeros(self._batch.num_rows, dtype=np.int64)
        alive = np.ones(self._batch.num_rows, dtype=np.bool_)
        for axis in axes:
            along = self._along(axis)
            place = place * axis.cells + np.maximum(along, 0)
            alive &= along >= 0
        return place, alive

    def steps(self, summed: Summed, *, centred: bool) -> tuple[Whole, Mask]:
        """Each row's value in grid steps, within the bound that is priced, and whether it is finite."""
        values = self._floats(summed.column)
        finite = np.isfinite(values)
        origin = float(summed.middle) if centred else 0.0
        bound = summed.centred_bound if centred else summed.plain_bound
        with np.errstate(all="ignore"):
            inside = np.clip(np.where(finite, values, 0.0), float(summed.low.number), float(summed.high.number))
            steps = np.rint((inside - origin) / float(summed.quantum.number))
        # The bound again, on whole numbers: it is what the price rests on, however the division rounded.
        return np.clip(np.where(np.isfinite(steps), steps, 0.0), -bound, bound).astype(np.int64), finite

    def _along(self, axis: Axis) -> Whole:
        if axis not in self._cells:
            self._cells[axis] = self._listed(axis) if axis.texts else self._between(axis)
        return self._cells[axis]

    def _listed(self, axis: Axis) -> Whole:
        values = _plain(self._batch.column(axis.column))
        if pa.types.is_boolean(values.type):
            values = pc.if_else(values, pa.scalar(TRUTHS[1]), pa.scalar(TRUTHS[0]))
        listed = pa.array(axis.texts, type=pa.string())
        places = pc.fill_null(pc.index_in(pc.cast(values, pa.string()), value_set=listed), -1)
        return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)

    def _between(self, axis: Axis) -> Whole:
        values = self._floats(axis.column)
        places = np.searchsorted(np.array([float(edge.number) for edge in axis.edges]), values, side="right")
        return np.where(np.isfinite(values), places, -1).astype(np.int64)

    def _floats(self, column: str) -> NDArray[np.float64]:
        if column not in self._numbers:
            values = pc.fill_null(pc.cast(_plain(self._batch.column(column)), pa.float64(), safe=False), np.nan)
            self._numbers[column] = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
        return self._numbers[column]


def _counting(parts: Sequence[PartFile], key: SecretBytes, unit: PrivacyUnit) -> dict[Per, Mask] | None:
    """Which rows count, in the order of the parts; nothing if every row is a unit of its own."""
    if unit.column is None:
        return None
    names = [batch.column(unit.column) for batch in _batches(parts, key, [unit.column])]
    if not names:
        return {per: np.zeros(0, dtype=np.bool_) for per in Per}
    numbers, known = numbered_units(names)
    return counting_rows(numbers, known, unit.rows_per_unit)


def counting_rows(units: Whole, known: Mask, rows_per_unit: int) -> dict[Per, Mask]:
    """The first rows of each unit, as many as are declared, and the first alone.

    Args:
        units: Number of the unit of each row, in the order of the file.
        known: Whether the row names one.
        rows_per_unit: The most rows of a unit.
    """
    order = np.argsort(units, kind="stable")
    sorted_units = units[order]
    first = np.concatenate([[True], sorted_units[1:] != sorted_units[:-1]]) if len(units) else np.zeros(0, np.bool_)
    place = np.arange(len(units)) - np.maximum.accumulate(np.where(first, np.arange(len(units)), 0))
    rank = np.empty(len(units), dtype=np.int64)
    rank[order] = place
    return {Per.ROW: known & (rank < rows_per_unit), Per.UNIT: known & (rank < 1)}


def columns_of(measurements: Sequence[Measurement]) -> set[str]:
    """The columns that must be read."""
    axes = {axis.column for measurement in measurements for axis in measurement.axes}
    return axes | {measurement.summed.column for measurement in measurements if measurement.summed is not None}


def _batches(parts: Sequence[PartFile], key: SecretBytes, columns: list[str] | None) -> Iterator[Any]:
    for part in parts:
        with PartReader(Path(part.path), key, address_of(part.aad)) as reader:
            yield from reader.batches(columns, rows=ROWS_AT_ONCE)


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
