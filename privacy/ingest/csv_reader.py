"""CSV, streamed: RFC 4180 with any one-character delimiter. Child only.

Rules
-----
1. Columns are found by the header's names; those that the schema does not declare are never converted, let alone kept.
   Without a header they stand in the schema's order.
2. A record lies within one block, whose size follows from the schema: an unclosed quote or an endless line is found
   there.
3. A line with nothing on it is no record.
4. Every value stays the text that it is; white space around it is not part of it.

Reference: RFC 4180.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.csv as pacsv

from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule, UploadFormat
from privacy.ingest.records import RawBatch
from privacy.ingest.sources import PrefixedStream, read_exactly, skip_mark
from privacy.schema import ColumnKind, TableSchema

MOST_FILE_COLUMNS = 16_384
LONGEST_HEADER = 2**20
_SMALLEST_BLOCK, _LARGEST_BLOCK = 2**18, 16 * 2**20
_BYTES_OF_A_NUMBER = 32
_BYTES_OF_A_TEXT = 128
_ELEMENTS_AT_ONCE = 2**18
# The library reserves the length of a block for each column of bytes, but not for one of distinct bytes.
_FEW_COLUMNS, _DISTINCT = 100, pa.dictionary(pa.int32(), pa.binary())
_OTHER_FIELDS = re.compile(r"CSV parse error: Row #([1-9][0-9]{0,14}): Expected [0-9]+ columns, got ")
_TOO_LONG = "straddling object straddles two block boundaries"


def read_csv(stream: io.RawIOBase, form: UploadFormat, schema: TableSchema, findings: Findings) -> Iterator[RawBatch]:
    """Yield the records of a CSV file.

    Args:
        stream: The plain bytes.
        form: Delimiter, and whether there is a header.
        schema: Which columns are wanted.
        findings: Where problems go.

    Raises:
        RefusedError: It is not CSV, or its columns are not the declared ones.
    """
    stream = skip_mark(stream)
    if form.header:
        names, stream = _header(stream, form, findings)
    else:
        names = [column.name for column in schema.columns]
    wanted = [column.name for column in schema.columns]
    check_names(names, wanted, findings)
    yield from _records(stream, form, names, schema, findings)


def check_names(names: Sequence[str], wanted: Sequence[str], findings: Findings) -> None:
    """Return if every wanted column is there once; refuse the file otherwise."""
    if len(names) > MOST_FILE_COLUMNS:
        findings.stop(Rule.TOO_MANY_COLUMNS)
    counted = Counter(names)
    findings.add_columns(name for name in wanted if not counted[name])
    for name in wanted:
        if counted[name] > 1:
            findings.add([None], name, Rule.DUPLICATE_COLUMN)
    findings.settle()


def block_size(schema: TableSchema) -> int:
    """How long a block is: several records of the declared width, at least 256 KiB, at most 16 MiB."""
    numbers = sum(c.elements for c in schema.columns if c.kind in (ColumnKind.NUMERIC, ColumnKind.TENSOR))
    record = numbers * _BYTES_OF_A_NUMBER + len(schema.columns) * _BYTES_OF_A_TEXT
    return min(max(_SMALLEST_BLOCK, 4 * record), _LARGEST_BLOCK)


def _header(stream: io.RawIOBase, form: UploadFormat, findings: Findings) -> tuple[list[str], io.RawIOBase]:
    """Read the first line that has something on it; return its names and what follows."""
    start = read_exactly(stream, LONGEST_HEADER)
    begin = len(start) - len(start.lstrip(b"\r\n"))
    ends = [place for place in (start.find(b"\n", begin), start.find(b"\r", begin)) if place >= 0]
    if not ends and len(start) == LONGEST_HEADER:
        findings.stop(Rule.TOO_MANY_COLUMNS)
    end = min(ends, default=len(start))
    if begin == end:
        findings.stop(Rule.EMPTY_FILE)
    try:
        rows = list(csv.reader([start[begin:end].decode("utf-8")], delimiter=form.delimiter, strict=True))
    except UnicodeDecodeError:
        findings.stop(Rule.NOT_UTF8)
    except csv.Error:
        findings.stop(Rule.NOT_THIS_FORM)
    return [name.strip() for name in rows[0]], PrefixedStream(start[end:], stream)


def _records(
    stream: io.RawIOBase, form: UploadFormat, names: list[str], schema: TableSchema, findings: Findings
) -> Iterator[RawBatch]:
    wanted = [column.name for column in schema.columns]
    at_once = max(_ELEMENTS_AT_ONCE // sum(column.elements for column in schema.columns), 1)
    places = [str(place) for place in range(len(names))]
    taken = {name: str(names.index(name)) for name in wanted}
    try:
        reader = pacsv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=block_size(schema), column_names=places),
            parse_options=pacsv.ParseOptions(delimiter=form.delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.binary() if len(wanted) <= _FEW_COLUMNS else _DISTINCT),
                include_columns=list(taken.values()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        first = 1
        for block in reader:
            for batch in (block.slice(start, at_once) for start in range(0, block.num_rows, at_once)):
                yield RawBatch(first, dict(zip(wanted, batch.columns, strict=True)), batch.num_rows)
                first += batch.num_rows
    except pa.ArrowInvalid as error:
        _explain(str(error), findings)


def _explain(said: str, findings: Findings) -> NoReturn:
    """Say by which rule the library stopped. Its sentence repeats the record, so that only its beginning is looked at.

    The library also offers to call back for such a record; but that call fails for one that is not UTF-8.
    """
    if (found := _OTHER_FIELDS.match(said)) is not None:
        findings.stop(Rule.WRONG_NUMBER_OF_FIELDS, row=int(found.group(1)))
    if said.startswith("Empty CSV file"):
        findings.stop(Rule.NO_ROWS)
    findings.stop(Rule.ROW_TOO_LONG if said.startswith(_TOO_LONG) else Rule.NOT_THIS_FORM)
