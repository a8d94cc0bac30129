"""The rows of a block in memory, by unit. Child only.

Rules
-----
1. All numbers of all rows lie in one contiguous float32 array, the rows of one unit side by side.
2. A unit has at most `rows_per_unit` rows here, whatever the file holds; which ones depends on its own rows only.
3. A micro-batch is gathered into its fixed shape; a dead row and an empty place look the same: zeros that do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.training.engine import MicroBatch
from privacy.training.rows import Rows
from privacy.training.sampling import Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """Rows grouped by unit.

    Attributes:
        rows: All rows, those of a unit side by side.
        starts: First row of each unit, and the number of rows at the end: shape [units + 1].
        rows_per_unit: The most rows of a unit that are used: the first ones.
    """

    rows: Rows
    starts: Indices
    rows_per_unit: int

    @classmethod
    def of_records(cls, rows: Rows) -> UnitTable:
        """Every row is a unit of its own."""
        return cls(rows=rows, starts=np.arange(len(rows.alive) + 1, dtype=np.int64), rows_per_unit=1)

    @classmethod
    def by_unit(cls, rows: Rows, units: NDArray[np.int64], rows_per_unit: int) -> UnitTable:
        """Group rows by the number of their unit; within a unit their order stays.

        Args:
            rows: In the order of the file.
            units: Number of the unit of each row.
            rows_per_unit: The most rows of a unit.
        """
        order = np.argsort(units, kind="stable")
        sorted_units = units[order]
        changes = np.flatnonzero(sorted_units[1:] != sorted_units[:-1]) + 1
        starts = np.concatenate([[0], changes, [len(units)]] if len(units) else [[0]]).astype(np.int64)
        grouped = Rows(features=rows.features[order], targets=rows.targets[order], alive=rows.alive[order])
        return cls(rows=grouped, starts=starts, rows_per_unit=rows_per_unit)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def used_rows(self) -> Rows:
        """The rows that count, unit by unit: at most `rows_per_unit` of each."""
        places = np.arange(len(self.rows.alive)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        used = places < self.rows_per_unit
        return Rows(features=self.rows.features[used], targets=self.rows.targets[used], alive=self.rows.alive[used])

    def gather(self, members: Indices, places: int | None = None, into: MicroBatch | None = None) -> MicroBatch:
        """Copy the rows of some units into a micro-batch.

        Args:
            members: Numbers of units, in the order of their places; negative where a place is empty.
            places: How many places there are, if more than members: the rest is empty.
            into: A batch of this table that is no longer needed; it is written over if it has the same shape.
        """
        if places is not None and places > len(members):
            members = np.concatenate([members, np.full(places - len(members), -1, dtype=np.int64)])
        if self.rows_per_unit == 1 and len(self) == len(self.rows.alive):
            # Every unit is one row, unit i row i.
            return _taken(self.rows, members[:, None], into)
        first, end = self.starts[members], self.starts[members + 1]
        index = first[:, None] + np.arange(self.rows_per_unit)
        return _taken(self.rows, np.where((index < end[:, None]) & (members >= 0)[:, None], index, -1), into)


def _taken(rows: Rows, index: Indices, into: MicroBatch | None) -> MicroBatch:
    """The rows at these places, shape [units, rows of one]; zeros that do not count where the index is negative."""
    batch = into if into is not None and into.counts.shape == index.shape else _empty(index.shape, rows)
    if len(rows.alive):
        # Clipped to the first row where a place is empty, which is then cleared: far quicker than checking each index.
        np.take(rows.features, index, axis=0, mode="clip", out=batch.features)
        np.take(rows.targets, index, mode="clip", out=batch.targets)
        np.take(rows.alive, index, mode="clip", out=batch.counts)
        free = np.nonzero(index < 0)
        batch.features[free], batch.targets[free], batch.counts[free] = 0, 0, False
    return batch


def _empty(shape: tuple[int, ...], rows: Rows) -> MicroBatch:
    return MicroBatch(
        features=np.zeros((*shape, rows.features.shape[1]), np.float32),
        targets=np.zeros(shape, np.float32),
        counts=np.zeros(shape, np.bool_),
    )


def joined(parts: Sequence[Rows], width: int) -> Rows:
    """One set of rows from several, in order."""
    if not parts:
        nothing = np.zeros(0, dtype=np.float32)
        return Rows(features=np.zeros((0, width), dtype=np.float32), targets=nothing, alive=np.zeros(0, dtype=np.bool_))
    return Rows(
        features=np.concatenate([part.features for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        alive=np.concatenate([part.alive for part in parts]),
    )
