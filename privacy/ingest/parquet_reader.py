"""Parquet, in batches of bounded width: the form most able to be much larger than it looks. Child only.

Rules
-----
1. No size that the file states about itself is believed; what does not fit into the child's memory is refused there.
2. Only declared columns are decoded, a few thousand rows at a time, pages as they come.
3. Texts are taken as bytes, so that their encoding is checked where the row is known.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from privacy.ingest.cells import plain
from privacy.ingest.csv_reader import check_names
from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule
from privacy.ingest.records import RawBatch
from privacy.schema import TableSchema

MOST_ROWS_AT_ONCE = 8192
_BATCH_BYTES = 4 * 2**20
_CELL_BYTES = 8
_BUFFERS, _SMALLEST_BUFFER, _LARGEST_BUFFER = 2**25, 2**12, 2**18
_LONGEST_NAME, _MOST_METADATA = 2**24, 2**20


def read_parquet(stream: io.RawIOBase, schema: TableSchema, findings: Findings) -> Iterator[RawBatch]:
    """Yield the records of a Parquet file.

    Args:
        stream: The plain bytes; seekable.
        schema: Which columns are wanted.
        findings: Where problems go.

    Raises:
        RefusedError: It is not Parquet, or its columns are not the declared ones.
        MemoryError: It expands to more than fits.
    """
    wanted = [column.name for column in schema.columns]
    try:
        file = pq.ParquetFile(
            pa.PythonFile(stream, mode="r"),
            # One for each column that is being read.
            buffer_size=min(max(_BUFFERS // len(wanted), _SMALLEST_BUFFER), _LARGEST_BUFFER),
            pre_buffer=False,
            thrift_string_size_limit=_LONGEST_NAME,
            thrift_container_size_limit=_MOST_METADATA,
        )
        check_names(file.schema_arrow.names, wanted, findings)
        batches = file.iter_batches(batch_size=_rows_at_once(schema), columns=wanted, use_threads=False)
        first = 1
        for batch in batches:
            yield RawBatch(first, {name: _cells(batch.column(name)) for name in wanted}, batch.num_rows)
            first += batch.num_rows
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, IndexError, KeyError, OverflowError):
        findings.stop(Rule.NOT_THIS_FORM)


def _rows_at_once(schema: TableSchema) -> int:
    width = sum(column.elements for column in schema.columns) * _CELL_BYTES
    return max(min(MOST_ROWS_AT_ONCE, _BATCH_BYTES // width), 1)


def _cells(values: Any) -> Any:
    values = plain(values)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return pc.cast(values, pa.large_binary())
    return values
