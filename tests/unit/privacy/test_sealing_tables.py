"""Sealed tables: round trips, what is refused by construction, and the faults that earlier Parquet libraries had."""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from kernel.errors import CorruptError, InvalidError
from kernel.ids import DatasetId, TenantId, VersionId
from privacy.sealing.deks import Label, new_dek, subkey
from privacy.sealing.manifest import Part, PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartReader, PartWriter, check_form, rows_within, verify_part

TENANT, DATASET, VERSION = TenantId.new(os.urandom), DatasetId.new(os.urandom), VersionId.new(os.urandom)
ADDRESS = PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 0)
DEK = new_dek(os.urandom)


def _table(rows: int) -> pa.Table:
    numbers = list(range(rows))
    return pa.table(
        {
            "a": pa.array(numbers, pa.int64()),
            "b": pa.array([n * 0.5 for n in numbers], pa.float64()),
            "c": pa.array([f"text {n % 7}" for n in numbers], pa.string()),
        }
    )


def _write(table: Any, dek: SecretBytes = DEK, address: PartAddress = ADDRESS, **options: Any) -> tuple[bytes, Part]:
    sink = io.BytesIO()
    with PartWriter(sink, table.schema, dek, address, **options) as writer:
        for batch in table.to_batches(max_chunksize=700):
            writer.write(batch)
        part = writer.finish()
    return sink.getvalue(), part


def _read(data: bytes, dek: SecretBytes = DEK, address: PartAddress = ADDRESS) -> Any:
    with PartReader(io.BytesIO(data), dek, address) as reader:
        return reader.read()


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 2500])
def test_rows_come_back_and_the_part_describes_them(rows: int) -> None:
    """All rows in order, in row groups of the asked length, with the digest and length of the ciphertext."""
    table = _table(rows)
    data, part = _write(table, rows_per_group=1000)
    assert _read(data).equals(table)
    assert (part.rows, part.bytes, part.digest.raw) == (rows, len(data), hashlib.sha256(data).digest())
    assert (part.name, part.split, part.aad) == (
        "train-00000",
        Split.TRAIN,
        f"{TENANT}/{DATASET}/{VERSION}/train-00000",
    )
    with PartReader(io.BytesIO(data), DEK, ADDRESS) as reader:
        assert (reader.rows, reader.row_groups) == (rows, -(-rows // 1000))
        assert reader.schema.equals(table.schema)
        assert pa.Table.from_batches(list(reader.batches(rows=300)), table.schema).equals(table)
        assert sum(batch.num_rows for batch in reader.batches(["b"], rows=300)) == rows
        if rows > 1000:
            assert reader.row_group(1, ["a"]).column("a")[0].as_py() == 1000
    verify_part(io.BytesIO(data), part)


def test_a_path_is_read_like_a_stream(tmp_path: Path) -> None:
    """A file on the disk gives the same rows and columns, in the asked order of names."""
    data, _ = _write(_table(3000))
    (tmp_path / "part").write_bytes(data)
    with PartReader(tmp_path / "part", DEK, ADDRESS) as reader:
        assert reader.read(["c", "a"]).equals(_table(3000).select(["c", "a"]))
        assert next(reader.batches(["c", "a"])).schema.names == ["c", "a"]
        assert reader.row_group(0, ["b"]).column_names == ["b"]
        assert reader.read().equals(_table(3000))
        with pytest.raises(InvalidError, match="no such column"):
            reader.read(["a", "missing"])


def test_nothing_of_a_row_or_the_schema_stands_in_the_clear() -> None:
    """Neither values nor column names nor statistics are found in the file."""
    table = pa.table({"diagnosis_of_patient": ["a very rare disease"] * 100})
    data, _ = _write(table)
    for needle in (b"diagnosis", b"rare disease", b"ARROW", b"parquet-cpp"):
        assert needle not in data


def test_another_key_or_address_does_not_open() -> None:
    """Tenant, dataset, version, part and key each matter."""
    data, _ = _write(_table(10))
    others = [
        PartAddress.numbered(TenantId.new(os.urandom), DATASET, VERSION, Split.TRAIN, 0),
        PartAddress.numbered(TENANT, DatasetId.new(os.urandom), VERSION, Split.TRAIN, 0),
        PartAddress.numbered(TENANT, DATASET, VersionId.new(os.urandom), Split.TRAIN, 0),
        PartAddress.numbered(TENANT, DATASET, VERSION, Split.HOLDOUT, 0),
        PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 1),
    ]
    for address in others:
        with pytest.raises(CorruptError):
            _read(data, address=address)
    with pytest.raises(CorruptError):
        _read(data, dek=new_dek(os.urandom))


def _written_otherwise(**options: Any) -> bytes:
    sink = io.BytesIO()
    key, prefix = subkey(DEK, Label.PARQUET).reveal(), ADDRESS.aad.encode()
    chosen = {"aad_prefix": prefix, "store_aad_prefix": False, **options}
    pq.write_table(_table(100), sink, encryption_properties=pe.create_encryption_properties(key, **chosen))
    return sink.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"encryption_algorithm": "AES_GCM_CTR_V1"},
        {"plaintext_footer": True},
        {"store_aad_prefix": True},
        {"aad_prefix": None},
    ],
    ids=["ctr", "plaintext-footer", "stored-prefix", "no-prefix"],
)
def test_other_ways_to_encrypt_are_refused_even_with_the_right_key(options: dict[str, Any]) -> None:
    """A file under our own key, written in a weaker way, is not read."""
    assert _read(_written_otherwise()).num_rows == 100
    with pytest.raises(CorruptError):
        _read(_written_otherwise(**options))


def test_a_plaintext_file_is_refused() -> None:
    """A table that was not encrypted at all is not read, whatever its magic says."""
    sink = io.BytesIO()
    pq.write_table(_table(10), sink)
    plain = sink.getvalue()
    for data in (plain, b"PARE" + plain[4:-4] + b"PARE", b"", b"PARE", b"PAREPARE", bytes(100)):
        with pytest.raises(CorruptError):
            _read(data)


def test_switching_the_algorithm_in_the_clear_header_is_refused() -> None:
    """The algorithm's name is not authenticated by the format; making it the weak one is caught before parsing."""
    sink = io.BytesIO()
    prefix = ADDRESS.aad.encode()
    properties = pe.create_encryption_properties(
        subkey(DEK, Label.PARQUET).reveal(), aad_prefix=prefix, store_aad_prefix=False
    )
    pq.write_table(_table(100), sink, compression="none", use_dictionary=False, encryption_properties=properties)
    data = bytearray(sink.getvalue())
    place = len(data) - 8 - int.from_bytes(data[-8:-4], "little") + 1
    assert data[place] == 0x1C
    data[place] = 0x2C
    with pytest.raises(CorruptError, match="the way ours are"):
        check_form(io.BytesIO(bytes(data)))


def test_an_unfinished_part_does_not_open() -> None:
    """An error while writing leaves nothing that a reader accepts."""
    sink = io.BytesIO()

    def break_off() -> None:
        with PartWriter(sink, _table(1).schema, DEK, ADDRESS, rows_per_group=10) as writer:
            for batch in _table(100).to_batches(max_chunksize=10):
                writer.write(batch)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        break_off()
    assert sink.getvalue()
    with pytest.raises(CorruptError):
        _read(sink.getvalue())


def test_a_batch_of_another_schema_is_refused() -> None:
    """A part has one schema."""
    with PartWriter(io.BytesIO(), _table(1).schema, DEK, ADDRESS) as writer, pytest.raises(InvalidError):
        writer.write(pa.record_batch({"a": [1]}))


def test_a_part_is_the_one_in_the_manifest() -> None:
    """A file of the same rows and key, written again, is another file."""
    (first, part), (second, _) = _write(_table(50)), _write(_table(50))
    for data in (second, first[:-1], first + b"x", b""):
        with pytest.raises(CorruptError):
            verify_part(io.BytesIO(data), part)


def test_row_groups_follow_from_declared_widths() -> None:
    """Wide rows make shorter groups, so that a group fits in memory; narrow ones stop at 65,536."""
    assert rows_within(pa.schema([("x", pa.int64())])) == 65_536
    assert rows_within(pa.schema([("x", pa.list_(pa.float32(), 3072))])) == 32 * 2**20 // 12_288
    assert rows_within(pa.schema([("x", pa.list_(pa.float64(), 2**24))])) == 1
    assert rows_within(pa.schema([("x", pa.string()), ("y", pa.bool_())])) == 65_536


# --- faults that earlier versions of the Parquet library had ----------------------------------------------------------


def test_more_than_32768_rows(tmp_path: Path) -> None:
    """Arrow issue 39444: encrypted files with more than 2^15 rows crashed the reader."""
    table = pa.table({"a": list(range(2**15 + 2**13))})
    data, _ = _write(table)
    assert _read(data).equals(table)


def test_reading_twice_from_one_reader_and_one_key() -> None:
    """Arrow issue 41296: the second read with the same properties crashed."""
    data, _ = _write(_table(5000))
    with PartReader(io.BytesIO(data), DEK, ADDRESS) as reader:
        for _ in range(5):
            assert reader.read().equals(_table(5000))
            assert sum(batch.num_rows for batch in reader.batches(["a"])) == 5000


def test_many_threads_read_under_one_key(tmp_path: Path) -> None:
    """Arrow issue 44852: concurrent scans of uniformly encrypted files raced in the decryptor."""
    parts = []
    for number in range(4):
        address = PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, number)
        parts.append((tmp_path / str(number), address))
        parts[-1][0].write_bytes(_write(_table(4000), address=address, rows_per_group=500)[0])

    def read(task: int) -> bool:
        path, address = parts[task % 4]
        with PartReader(path, DEK, address) as reader:
            return bool(reader.read().equals(_table(4000)))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(48)))
    path, address = parts[0]
    properties = pe.create_decryption_properties(subkey(DEK, Label.PARQUET).reveal(), aad_prefix=address.aad.encode())
    options = ds.ParquetFragmentScanOptions(decryption_properties=properties)
    dataset = ds.dataset(path, format=ds.ParquetFileFormat(default_fragment_scan_options=options))
    for _ in range(10):
        assert dataset.to_table(use_threads=True).equals(_table(4000))


def test_a_damaged_file_is_an_error_and_no_crash() -> None:
    """Arrow issue 43070: a corrupted encrypted file crashed the process."""
    data = bytearray(_write(_table(2000), rows_per_group=500)[0])
    for place in range(4, len(data) - 40, 97):
        data[place] ^= 0xFF
        with pytest.raises(CorruptError):
            _read(bytes(data))
        data[place] ^= 0xFF


def test_the_key_reaches_every_way_of_reading(tmp_path: Path) -> None:
    """Arrow issues 39645, 41273, 43406: `read_table` and datasets dropped the decryption properties.

    We read through `ParquetFile` alone; here the library's other doors are held to the same file.
    """
    (tmp_path / "part").write_bytes(_write(_table(100))[0])
    properties = pe.create_decryption_properties(subkey(DEK, Label.PARQUET).reveal(), aad_prefix=ADDRESS.aad.encode())
    assert pq.read_table(tmp_path / "part", decryption_properties=properties).equals(_table(100))
    with pytest.raises(OSError, match=r"(?i)encrypt|decrypt"):
        pq.read_table(tmp_path / "part")
