"""A site's own file, read and checked as an upload is, and who its rows are about. Child only.

Rules
-----
1. The readers and checks are those of ingest: the same file passes here and there.
2. A file is refused as a whole; problems name row, column and rule, and are for the site's own people.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from privacy.ingest.csv_reader import read_csv
from privacy.ingest.findings import Findings
from privacy.ingest.formats import FileForm, Rule, UploadFormat
from privacy.ingest.jsonl_reader import read_json_lines
from privacy.ingest.parquet_reader import read_parquet
from privacy.ingest.records import RawBatch
from privacy.ingest.sources import GunzipStream
from privacy.ingest.validate import Validator, sealed_schema
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of a file in their declared types, and a number for each that tells persons apart."""

    rows: Any
    units: NDArray[np.int64]

    @property
    def most_rows_of_a_unit(self) -> int:
        """How many rows the person with the most rows has."""
        return int(np.bincount(self.units).max()) if len(self.units) else 0

    def persons(self, alive: NDArray[np.bool_]) -> int:
        """How many persons have a row that counts."""
        return len(np.unique(self.units[alive]))


def read_table(file: Path, form: UploadFormat, schema: TableSchema, unit: PrivacyUnit) -> Table:
    """Read and check a file.

    Raises:
        RefusedError: Something is wrong with it.
    """
    findings = Findings()
    validator, batches, found = Validator(schema, findings), [], 0
    with _records(file, form, schema, findings) as records:
        for record in records:
            found += record.rows
            batch = validator.check(record) if record.rows else None
            if batch is not None and not findings:
                batches.append(batch)
    findings.settle()
    if not found:
        findings.stop(Rule.NO_ROWS)
    rows = pa.Table.from_batches(batches, schema=sealed_schema(schema)).combine_chunks()
    return Table(rows, _units(rows, unit))


def _units(rows: Any, unit: PrivacyUnit) -> NDArray[np.int64]:
    if unit.column is None:
        return np.arange(rows.num_rows, dtype=np.int64)
    encoded = rows.column(unit.column).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


@contextmanager
def _records(file: Path, form: UploadFormat, schema: TableSchema, findings: Findings) -> Iterator[Iterator[RawBatch]]:
    with file.open("rb", buffering=0) as stream:
        if not stream.seek(0, io.SEEK_END):
            findings.stop(Rule.EMPTY_FILE)
        stream.seek(0)
        plain = GunzipStream(stream, findings) if form.gzip else stream
        match form.form:
            case FileForm.CSV:
                yield read_csv(plain, form, schema, findings)
            case FileForm.JSON_LINES:
                yield read_json_lines(plain, schema, findings)
            case FileForm.PARQUET:
                yield read_parquet(stream, schema, findings)
