"""`parquet_ratio`: an encrypted table against the same table in plain Parquet: write, full read, two columns."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.lines import Line, paired_ratio
from kernel.ids import DatasetId, Slug, TenantId, VersionId
from privacy.sealing.deks import new_dek
from privacy.sealing.manifest import PartAddress
from privacy.sealing.tables import PartReader, PartWriter, rows_within

ROWS = 1_000_000
COLUMNS = 20
PAIRS = 9
BASELINE = f"plain Parquet (pyarrow, snappy, {ROWS} rows x {COLUMNS} float64)"


def measure() -> Iterator[Line]:
    """Measure the three ratios."""
    table = _table()
    schema, address = table.schema, _address()
    group = rows_within(schema)
    batches = table.to_batches(max_chunksize=group)
    with new_dek(os.urandom) as dek:

        def write_sealed() -> bytes:
            sink = io.BytesIO()
            with PartWriter(sink, schema, dek, address) as writer:
                for batch in batches:
                    writer.write(batch)
                writer.finish()
            return sink.getvalue()

        def write_plain() -> bytes:
            sink = io.BytesIO()
            with pq.ParquetWriter(sink, schema, compression="snappy", write_statistics=False) as writer:
                for batch in batches:
                    writer.write_table(pa.Table.from_batches([batch]), row_group_size=group)
            return sink.getvalue()

        sealed, plain = write_sealed(), write_plain()

        def read_sealed(columns: list[str] | None) -> None:
            with PartReader(pa.BufferReader(sealed), dek, address) as reader:
                reader.read(columns)

        def read_plain(columns: list[str] | None) -> None:
            pq.ParquetFile(pa.BufferReader(plain)).read(columns=columns, use_threads=False)

        two = ["c3", "c11"]
        yield Line(
            quantity="parquet_ratio", case="write", value=paired_ratio(write_sealed, write_plain, PAIRS),
            unit="ratio", baseline=BASELINE,
        )  # fmt: skip
        for case, columns in (("full-read", None), ("two-columns", two)):
            ratio = paired_ratio(lambda c=columns: read_sealed(c), lambda c=columns: read_plain(c), PAIRS)
            yield Line(quantity="parquet_ratio", case=case, value=ratio, unit="ratio", baseline=BASELINE)


def _table() -> pa.Table:
    drawn = np.random.default_rng(1).integers(0, 10_000, size=(COLUMNS, ROWS)) / 100.0
    return pa.table({f"c{number}": drawn[number] for number in range(COLUMNS)})


def _address() -> PartAddress:
    return PartAddress(
        tenant=TenantId.new(os.urandom),
        dataset=DatasetId.new(os.urandom),
        version=VersionId.new(os.urandom),
        name=Slug("train-00000"),
    )
