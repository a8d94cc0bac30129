"""Uploads written to harm their reader: each ends in a refusal, through the confined child, and the parent is alive.

The child has 480 MiB of address space, like the gateway's default, and little time.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.ingest.formats import Rule
from privacy.sandbox.endings import Ending
from tests.support.uploads import LIMITS, MIB, Died, Refused, ingest, refused, schema, sealed

AGE = schema({"name": "age", "kind": "numeric", "low": "0", "high": "120"})
MRN = schema({"name": "mrn", "kind": "identifier"})


@pytest.fixture(autouse=True)
def the_parent_is_alive(tmp_path: Path) -> object:
    """After each bomb the same process seals a good file."""
    yield
    assert sealed(tmp_path, b"age\n41\n", AGE).rows() == [{"age": 41.0}]


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def test_five_hundred_bytes_of_parquet_that_are_two_gigabytes(tmp_path: Path) -> None:
    """A dictionary of one text of a megabyte, two thousand times."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["x" * 10**6]))
    bomb = _parquet(pa.table({"mrn": texts}))
    assert len(bomb) < 600
    assert refused(tmp_path, bomb, MRN, "parquet").rules == {Rule.TOO_MUCH_MEMORY}


def test_a_small_parquet_file_of_very_many_rows_ends_at_the_quota(tmp_path: Path) -> None:
    """Runs and differences expand row by row: memory holds, and what may be written ends it."""
    sink = io.BytesIO()
    numbers = pa.table({"age": pa.array(range(2_000_000), pa.int64())})
    pq.write_table(numbers, sink, use_dictionary=False, column_encoding={"age": "DELTA_BINARY_PACKED"})
    assert len(sink.getvalue()) < 400_000
    limits = replace(LIMITS, output_bytes=MIB)
    ages = schema({"name": "age", "kind": "numeric", "low": "0", "high": "10000000"})
    assert ingest(tmp_path, sink.getvalue(), ages, "parquet", limits=limits) == Died(Ending.OVER_QUOTA)


def test_a_gzip_bomb_of_long_rows(tmp_path: Path) -> None:
    """What unpacks to more than 200 times its size is refused while it is unpacked."""
    packed = gzip.compress(b"age,note\n" + (b"1," + b"x" * 100_000 + b"\n") * 1000)
    assert refused(tmp_path, packed, AGE, gzip=True).rules == {Rule.EXPANDS_TOO_FAR}


def test_a_gzip_bomb_in_one_line(tmp_path: Path) -> None:
    """A hundred megabytes without a line end are not even unpacked."""
    zeros = b"0" * (100 * MIB)
    for form, data in (("csv", b"age\n" + zeros), ("jsonl", zeros)):
        assert refused(tmp_path, gzip.compress(data), AGE, form, gzip=True).rules == {Rule.ROW_TOO_LONG}


@pytest.mark.parametrize(
    ("data", "form", "rules"),
    [
        (lambda: b"age\n" + b"0" * (20 * MIB), "csv", {Rule.ROW_TOO_LONG}),
        (lambda: b'age\n"0\n' + b"1\n" * (5 * MIB), "csv", {Rule.ROW_TOO_LONG}),
        (lambda: b"age\n" + b"1," * 10**6, "csv", {Rule.ROW_TOO_LONG}),
        (lambda: b",".join(b"c%d" % number for number in range(10**6)) + b"\n", "csv", {Rule.TOO_MANY_COLUMNS}),
        (lambda: b",".join(b"%d" % number for number in range(50_000)) + b"\n", "csv", {Rule.TOO_MANY_COLUMNS}),
        (lambda: b'{"age":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "jsonl", {Rule.NOT_THIS_FORM}),
        (lambda: b'{"age":1,"b":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001, "jsonl", {Rule.NOT_THIS_FORM}),
        (lambda: b'{"age":"' + b"x" * (20 * MIB) + b'"}', "jsonl", {Rule.ROW_TOO_LONG}),
        (lambda: b'{"age":1,' + b",".join(b'"%d":1' % n for n in range(10**6)) + b"}", "jsonl", {Rule.ROW_TOO_LONG}),
        (lambda: b"\0" * MIB, "csv", {Rule.TOO_MANY_COLUMNS}),
        (lambda: b"\0" * MIB, "jsonl", {Rule.ROW_TOO_LONG}),
        (lambda: b"\xff" * 1000, "csv", {Rule.NOT_UTF8}),
        (lambda: gzip.compress(b"age\n1\n"), "csv", {Rule.NOT_UTF8}),
    ],
)
def test_text_written_to_harm(tmp_path: Path, data: Callable[[], bytes], form: str, rules: set[Rule]) -> None:
    """Endless lines, open quotes, very many columns, deep nesting, no text at all."""
    assert refused(tmp_path, data(), AGE, form).rules == rules


def _deep() -> bytes:
    kind = pa.int64()
    for _ in range(80):
        kind = pa.list_(kind)
    return _parquet(pa.table({"age": pa.array([None], kind)}))


def _foot(length: int, start: bytes = b"PAR1") -> bytes:
    return start + b"\x15\x04" * 200 + struct.pack("<I", length) + b"PAR1"


@pytest.mark.parametrize(
    "data",
    [
        lambda: b"PAR1" * 3,
        lambda: _foot(400),
        lambda: _foot(2**32 - 1),
        lambda: _foot(0),
        lambda: b"PAR1\x19\xfc\xff\xff\xff\xff\x0f" + b"\x00" * 40 + struct.pack("<I", 47) + b"PAR1",
        lambda: _parquet(pa.table({"age": [1.0]}))[:-20],
        _deep,
        lambda: b"age\n1\n",
    ],
)
def test_parquet_written_to_harm(tmp_path: Path, data: Callable[[], bytes]) -> None:
    """Footers that lie, lists of four thousand million elements, cut files, nesting, another form."""
    answer = ingest(tmp_path, data(), AGE, "parquet")
    assert isinstance(answer, Refused)
    assert answer.rules <= {Rule.NOT_THIS_FORM, Rule.TOO_MUCH_MEMORY, Rule.WRONG_TYPE, Rule.MISSING_VALUE}


def test_parquet_of_very_many_columns(tmp_path: Path) -> None:
    """More columns than are allowed, though only one is wanted."""
    wide = _parquet(pa.table({f"c{number}": [1] for number in range(17_000)}))
    assert refused(tmp_path, wide, AGE, "parquet").rules == {Rule.TOO_MANY_COLUMNS}


def test_an_encrypted_parquet_file_is_refused(tmp_path: Path) -> None:
    """There is no key for it here, and asking for one must not bring the child down."""
    sink = io.BytesIO()
    import pyarrow.parquet.encryption as pe

    key = pe.create_encryption_properties(os.urandom(32), aad_prefix=b"x", store_aad_prefix=False)
    with pq.ParquetWriter(sink, pa.schema([("age", pa.float64())]), encryption_properties=key) as writer:
        writer.write_table(pa.table({"age": [1.0]}))
    assert refused(tmp_path, sink.getvalue(), AGE, "parquet").rules == {Rule.NOT_THIS_FORM}


def test_a_staged_file_that_was_altered_is_not_parsed(tmp_path: Path) -> None:
    """The child ends without an answer, which refuses the upload."""
    import tests.support.uploads as uploads

    assignment = uploads.staged(tmp_path, b"age\n41\n", AGE)
    path = Path(assignment.staged)
    altered = bytearray(path.read_bytes())
    altered[-1] ^= 1
    path.write_bytes(altered)
    with uploads.spawn("ingest", limits=LIMITS, readable=[path], writable=Path(assignment.output)) as child:
        child.channel.send({"m": "assignment"}, assignment.to_bytes())
        child.channel.receive(0)
        child.channel.send({"m": "key"}, b"".join(uploads.KEYS))
        assert child.wait(60) is Ending.REFUSED
