"""The reader of each form, over the encrypted upload. Child only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privacy.ingest.assignment import IngestAssignment
from privacy.ingest.csv_reader import read_csv
from privacy.ingest.findings import Findings
from privacy.ingest.formats import FileForm, Rule
from privacy.ingest.jsonl_reader import read_json_lines
from privacy.ingest.parquet_reader import read_parquet
from privacy.ingest.records import RawBatch
from privacy.ingest.sources import GunzipStream
from privacy.sealing.chunked import BlobKind, ChunkedReader, blob_context
from privacy.sealing.deks import Label, subkey
from privacy.sealing.secret import SecretBytes


@contextmanager
def open_records(assignment: IngestAssignment, key: SecretBytes, findings: Findings) -> Iterator[Iterator[RawBatch]]:
    """Open the upload and yield an iterator over its records.

    Args:
        assignment: Where the upload lies, how it is written and which columns are wanted.
        key: The upload's data key.
        findings: Where problems go.

    Raises:
        RefusedError: The file is not what it is said to be.
        CorruptError: It was altered since it was staged.
    """
    context = blob_context(BlobKind.UPLOAD, assignment.tenant, assignment.version)
    with Path(assignment.staged).open("rb") as sealed:
        stream = ChunkedReader(sealed, subkey(key, Label.BLOB), context)
        if not stream.size:
            findings.stop(Rule.EMPTY_FILE)
        form, schema = assignment.format, assignment.schema
        plain = GunzipStream(stream, findings) if form.gzip else stream
        match form.form:
            case FileForm.CSV:
                yield read_csv(plain, form, schema, findings)
            case FileForm.JSON_LINES:
                yield read_json_lines(plain, schema, findings)
            case FileForm.PARQUET:
                yield read_parquet(stream, schema, findings)
