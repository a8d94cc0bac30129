"""Rows for an evaluation: features as the model reads them, and beside them a row's groups. Child only.

Rules
-----
1. The place of a row's category depends on that row alone. A missing or unlisted category is no group; the row counts
   in every other measure all the same.
2. Groups travel as further columns of the encoded rows, so that a unit's rows are bounded together with them; the model
   never sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from privacy.evaluation.scoring import NO_GROUP, Integers
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, Rows, places_of


class GroupedEncoder(RowEncoder):
    """Applies a feature spec, and looks up the categories of some columns.

    Args:
        spec: Checked against `schema` here; raises `InvalidError` if it does not fit.
        schema: The declared schema.
        columns: Places in the schema of the columns of subgroups.
    """

    def __init__(self, spec: FeatureSpec, schema: TableSchema, columns: Sequence[int]) -> None:
        super().__init__(spec, schema)
        self._groups = [schema.columns[column] for column in columns]
        self._model_width = self.width
        self.width += len(columns)

    @property
    def needs(self) -> list[str]:
        """The columns that it reads."""
        return [*super().needs, *(column.name for column in self._groups)]

    def encode(self, table: pa.RecordBatch | pa.Table) -> Rows:
        """Encode a batch; the last numbers of a row are the places of its categories."""
        rows = super().encode(table)
        if not self._groups:
            return rows
        places = [places_of(column, table.column(column.name)) for column in self._groups]
        known = np.stack([np.where(np.isfinite(one), one, NO_GROUP) for one in places], axis=1)
        return replace(rows, features=np.concatenate([rows.features, known.astype(np.float32)], axis=1))

    def split(self, rows: Rows) -> tuple[Rows, Integers]:
        """The rows as the model reads them, and their groups."""
        own, groups = rows.features[:, : self._model_width], rows.features[:, self._model_width :]
        return replace(rows, features=own), groups.astype(np.int64)
