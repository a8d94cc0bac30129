"""The rehearsal: the whole way from rows to a result on made-up rows, before the child has a key. Child only.

Rules
-----
1. Rows are made from the schema alone: its bounds, its lists, and what no schema allows (nothing, not a number, huge).
2. No made-up row moves a measurement further than is priced, and the result can be written and read.
3. A rehearsal that fails ends the job before its envelope opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kernel.errors import CorruptError
from privacy.jobs.measurements import Measurement
from privacy.jobs.queries import TRUTHS
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.statistics.measuring import add_rows, columns_of

_HOSTILE: Final = (None, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324)
ROWS: Final = len(_HOSTILE) + 2


def rehearse(schema: TableSchema, measurements: Sequence[Measurement]) -> list[NDArray[np.int64]]:
    """Measure made-up rows one by one and together; return what they add up to.

    Raises:
        CorruptError: A row moved a measurement further than is priced.
    """
    columns = [schema.column(name) for name in sorted(columns_of(measurements))]
    made = {column.name: _made(column) for column in columns} or {"row": pa.nulls(ROWS)}
    batch = pa.RecordBatch.from_pydict(made)
    together = empty_totals(measurements)
    add_rows(together, batch, measurements)
    one_by_one = empty_totals(measurements)
    for number in range(ROWS):
        alone = empty_totals(measurements)
        add_rows(alone, batch.slice(number, 1), measurements)
        for measurement, moved, total in zip(measurements, alone, one_by_one, strict=True):
            if np.count_nonzero(moved) > 1 or np.abs(moved).max() > measurement.size.row_bound:
                raise CorruptError("a made-up row moves a measurement further than is priced")
            total += moved
    if any((a != b).any() for a, b in zip(together, one_by_one, strict=True)):
        raise CorruptError("made-up rows are felt by each other")
    return together


def empty_totals(measurements: Sequence[Measurement]) -> list[NDArray[np.int64]]:
    """One array of zeros for each measurement."""
    return [np.zeros(measurement.size.cells, dtype=np.int64) for measurement in measurements]


def _made(column: Column) -> Any:
    if column.kind is ColumnKind.NUMERIC and column.low is not None and column.high is not None:
        return pa.array([float(column.low.number), float(column.high.number), *_HOSTILE], type=pa.float64())
    if column.kind is ColumnKind.BOOLEAN:
        return pa.array([True, False] + [None] * len(_HOSTILE), type=pa.bool_())
    listed = column.categories or TRUTHS
    unlisted = ([None, "", "\u0000", "not listed"] * 2)[: len(_HOSTILE)]
    return pa.array([listed[0], listed[-1], *unlisted], type=pa.string())
