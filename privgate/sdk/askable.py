"""Which of one's own rows a model can be asked about, found before anything is asked.

Rules
-----
1. A refusal names columns, which are public, and never a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from kernel.errors import InvalidError
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privgate.encoding import Row, RowEncoder

Placed: TypeAlias = tuple[int, list[float]]
"""A row's place among those that were given, and its numbers."""


def encoded_rows(features: FeatureSpec, schema: TableSchema, rows: Sequence[Row]) -> list[Placed]:
    """The rows that can be scored, encoded as training does.

    Raises:
        InvalidError: No row has a column that the model takes, or none can be scored.
    """
    _require_columns(features, rows)
    encoder = RowEncoder(features, schema)
    encoded = [(place, numbers) for place, row in enumerate(rows) if (numbers := encoder.encode(row)) is not None]
    if not encoded:
        raise InvalidError("none of the rows can be scored: a value is missing or unlisted in each", field="rows")
    return encoded


def _require_columns(features: FeatureSpec, rows: Sequence[Row]) -> None:
    """A column that no row has is a wrong file or a misspelt name, even where a missing value would be filled."""
    missing = [f"`{one.column}`" for one in features.columns if not any(one.column in row for row in rows)]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise InvalidError(f"the rows lack the {noun} {', '.join(missing)}, which the model takes", field="rows")
