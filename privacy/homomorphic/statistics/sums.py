"""Rows to a site's whole numbers for statistics. At the site only: it leaves encrypted or not at all.

Rules
-----
1. Values move into their bounds row by row; one without a cell, or not finite, counts nowhere. No value raises.
2. Exact results: a cell with fewer persons than declared, but none at all, ends it before anything is encrypted. That
   it ended is a bit about the rows: the site's agent says `declined`, whatever the reason was.
3. Noise is added here, before anything leaves.
4. So many rows at once: memory beside the table does not grow with rows times what is asked. A child that dies of its
   limit declines, and a question that is dear enough would tell how many rows there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kernel.errors import InvalidError, Kind, PrivgateError
from kernel.ids import Entropy
from privacy.homomorphic.noise import noised
from privacy.homomorphic.statistics.plan import GRID, MOST_ROWS, FederatedStatistics
from privacy.jobs.measurements import Measurement
from privacy.jobs.queries import Per
from privacy.statistics.measuring import add_rows, cells_of, counting_rows

Whole: TypeAlias = NDArray[np.int64]
_Mask: TypeAlias = NDArray[np.bool_]
ROWS_AT_ONCE = 2**14


class TooFewError(PrivgateError):
    """A cell of this site has fewer persons than declared; which one is not said."""

    kind = Kind.CONFLICT


def site_sums(
    plan: FederatedStatistics, table: Any, units: Whole | None = None, entropy: Entropy = os.urandom
) -> list[int]:
    """A site's numbers, in the order of `plan.vectors`, noise included if the plan has any.

    Args:
        plan: What is asked.
        table: An Arrow table or batch with the declared columns.
        units: The number of each row's person; negative for a row without one. If not given, each row is a person.
        entropy: Where the noise's random bytes come from.

    Raises:
        InvalidError: More rows than a site may have.
        TooFewError: An exact result is asked for, and a cell has too few persons.
    """
    if table.num_rows > MOST_ROWS:
        raise InvalidError(f"a site has at most {MOST_ROWS} rows", field="dataset")
    batch = _batch(table)
    persons = np.arange(batch.num_rows, dtype=np.int64) if units is None else units
    counting = counting_rows(persons, persons >= 0, plan.rows_per_unit)
    if plan.noise is None:
        _require_persons(plan, batch, persons, counting)
    totals = _totals(plan, batch, counting)
    numbers = [int(number) for total in totals for number in total]
    return numbers if plan.noise is None else noised(numbers, plan.additions(), plan.noise, entropy)


def _totals(plan: FederatedStatistics, batch: Any, counting: dict[Per, _Mask]) -> list[Whole]:
    totals = [np.zeros(vector.cells, dtype=np.int64) for vector in plan.vectors]
    measured = totals[: len(plan.measurements)]
    for start in range(0, batch.num_rows, ROWS_AT_ONCE):
        part = batch.slice(start, ROWS_AT_ONCE)
        used = {per: mask[start : start + ROWS_AT_ONCE] for per, mask in counting.items()}
        add_rows(measured, part, plan.measurements, used)
        for total, columns in zip(totals[len(measured) :], plan.covariances, strict=True):
            total += _together(plan, columns, part, used[Per.ROW])
    return totals


def _batch(table: Any) -> Any:
    if not isinstance(table, pa.Table):
        return table
    found = table.combine_chunks().to_batches()
    return found[0] if found else pa.RecordBatch.from_pylist([], schema=table.schema)


def _require_persons(plan: FederatedStatistics, batch: Any, persons: Whole, counting: dict[Per, _Mask]) -> None:
    """Every cell that some query counts or sums over: distinct persons in it."""
    asked: list[Measurement] = [*plan.measurements]
    for one in asked:
        place, alive = cells_of(batch, one.axes)
        alive = alive & counting[one.per]
        if one.summed is not None:
            alive = alive & _finite(batch, one.summed.column)
        _require_cells(place[alive], persons[alive], plan.least_persons)
    for columns in plan.covariances:
        alive = counting[Per.ROW].copy()
        for name in columns:
            alive &= _finite(batch, name)
        _require_cells(np.zeros(int(alive.sum()), dtype=np.int64), persons[alive], plan.least_persons)


def _require_cells(place: Whole, persons: Whole, least: int) -> None:
    pairs = np.unique(np.stack([place, persons], axis=1), axis=0)
    _, counts = np.unique(pairs[:, 0], return_counts=True)
    if (counts < least).any():
        raise TooFewError(f"a cell has fewer than {least} persons: ask for fewer columns or wider bins")


def _together(plan: FederatedStatistics, columns: Sequence[str], batch: Any, counted: _Mask) -> Whole:
    """Rows, sums and products of columns in [-1, 1], in units of 2^-40."""
    steps = np.empty((batch.num_rows, len(columns)), dtype=np.int64)
    alive = counted.copy()
    for place, name in enumerate(columns):
        column = plan.schema.column(name)
        if column.low is None or column.high is None:
            raise InvalidError("a covariance is of numeric columns", field="covariances")
        low, high = float(column.low.number), float(column.high.number)
        values = _floats(batch, name)
        alive &= np.isfinite(values)
        with np.errstate(all="ignore"):
            unit = 2 * (np.clip(np.nan_to_num(values), low, high) - low) / (high - low) - 1
        steps[:, place] = np.clip(np.rint(unit * GRID), -GRID, GRID)
    kept = steps[alive]
    upper = np.triu_indices(len(columns))
    return np.concatenate(
        [[len(kept) * GRID**2], kept.sum(axis=0, dtype=np.int64) * GRID, (kept.T @ kept)[upper]]
    ).astype(np.int64)


def _finite(batch: Any, name: str) -> _Mask:
    return np.asarray(np.isfinite(_floats(batch, name)), dtype=np.bool_)


def _floats(batch: Any, name: str) -> NDArray[np.float64]:
    numbers = pc.fill_null(pc.cast(batch.column(name), pa.float64(), safe=False), np.nan)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
