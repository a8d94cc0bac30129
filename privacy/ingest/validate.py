"""Records to declared columns: every value has the declared type, lies in its bounds or list, and none is missing.

Rules
-----
1. A value is judged by its column's declaration alone.
2. A missing value (an empty field, a null, a text that the schema lists) becomes the declared constant, or breaks the
   rule `missing-value`.
3. A value outside its bounds moves to the nearer one if the schema says `clamp`; otherwise it breaks the rule.
4. What comes out has no nulls, no infinities and the types of `sealed_schema`, whatever the file's form was.

Form: docs/formats/ingest-request.md, "Values".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from privacy.ingest.cells import Checked, Mask, booleans, choices, identifiers, numbers
from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule
from privacy.ingest.records import RawBatch
from privacy.ingest.tensors import tensors
from privacy.schema import Column, ColumnKind, TableSchema


def sealed_schema(schema: TableSchema) -> Any:
    """The Arrow schema of the sealed parts."""
    return pa.schema([pa.field(column.name, sealed_type(column), nullable=False) for column in schema.columns])


def sealed_type(column: Column) -> Any:
    """The Arrow type of a sealed column."""
    match column.kind:
        case ColumnKind.NUMERIC:
            return pa.float64()
        case ColumnKind.BOOLEAN:
            return pa.bool_()
        case ColumnKind.TENSOR:
            return pa.list_(pa.field("element", pa.float32(), nullable=False), column.elements)
        case ColumnKind.CATEGORICAL | ColumnKind.ORDINAL | ColumnKind.IDENTIFIER:
            return pa.string()


class Validator:
    """Checks batches against one schema.

    Args:
        schema: What was declared.
        findings: Where problems go.
    """

    def __init__(self, schema: TableSchema, findings: Findings) -> None:
        self._columns = schema.columns
        self._findings = findings
        self.schema = sealed_schema(schema)

    def check(self, batch: RawBatch) -> Any | None:
        """Return a record batch of the sealed types, or nothing if a rule was broken in it."""
        found: list[tuple[int, int, Rule]] = []
        arrays = []
        for place, column in enumerate(self._columns):
            checked = _check(column, batch.columns[column.name], batch.wrong.get(column.name))
            arrays.append(checked.values)
            for rule, broken in checked.broken:
                found.extend((int(row), place, rule) for row in np.flatnonzero(broken)[: self._findings.room])
        if not found:
            return pa.record_batch(arrays, schema=self.schema)
        for row, place, rule in sorted(found, key=lambda problem: problem[:2]):
            self._findings.add([batch.first + row], self._columns[place].name, rule)
        return None


def _check(column: Column, values: Any, wrong: Mask | None) -> Checked:
    checked = _CHECKS[column.kind](column, values)
    if wrong is None:
        return checked
    broken = [(rule, mask & ~wrong) for rule, mask in checked.broken]
    return Checked(checked.values, [(Rule.WRONG_TYPE, wrong), *broken])


_CHECKS: Mapping[ColumnKind, Callable[[Column, Any], Checked]] = {
    ColumnKind.NUMERIC: numbers,
    ColumnKind.BOOLEAN: booleans,
    ColumnKind.CATEGORICAL: choices,
    ColumnKind.ORDINAL: choices,
    ColumnKind.IDENTIFIER: identifiers,
    ColumnKind.TENSOR: tensors,
}
