"""Sealed tables: Parquet under Modular Encryption, written in row groups, read in batches. Child only: imports pyarrow.

Rules
-----
1. `AES_GCM_V1`, encrypted footer, one 256-bit key, AAD prefix kept outside the file: no argument chooses otherwise.
2. A reader looks at the unauthenticated bytes of a file itself and refuses every form that our writer does not write,
   before the Parquet library parses anything: plaintext, plaintext footer, stored prefix, `AES_GCM_CTR_V1`.
3. Row groups are cut by declared width and count, never by value.
4. Whatever does not open is `CorruptError`, and says nothing about content.

Reference: Apache Parquet, Parquet Modular Encryption; docs/formats/sealed-table.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError
from privacy.sealing.deks import Label, subkey
from privacy.sealing.manifest import Part, PartAddress
from privacy.sealing.secret import SecretBytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MOST_ROWS_PER_GROUP = 65_536
_GROUP_BYTES = 32 * 2**20
_TEXT_BYTES = 32
_MAGIC = b"PARE"
_TAIL = 8
# FileCryptoMetaData in thrift's compact protocol: AES_GCM_V1, 8-byte file id, prefix from the reader, no key metadata.
_CRYPTO = re.compile(rb"\x1c\x1c\x28\x08.{8}\x11\x00\x00\x00", re.DOTALL)
_CRYPTO_BYTES = 16


class PartWriter:
    """Writes one part. Leaving a `with` block without an error finishes it; an error leaves a file that does not open.

    Args:
        sink: Where the ciphertext goes; not closed.
        schema: Arrow schema of the columns.
        dek: The version's data key.
        address: Where the part belongs.
        rows_per_group: Rows of a row group; by default from the declared width, at most 65,536.
    """

    def __init__(
        self, sink: BinaryIO, schema: Any, dek: SecretBytes, address: PartAddress, *, rows_per_group: int | None = None
    ) -> None:
        self._address = address
        self._schema = schema
        self._rows_per_group = whole(1, MOST_ROWS_PER_GROUP, rows_per_group=rows_per_group or rows_within(schema))
        self._sink = _CountingSink(sink)
        self._writer: Any = pq.ParquetWriter(
            self._sink,
            schema,
            compression="snappy",
            write_statistics=False,
            encryption_properties=pe.create_encryption_properties(
                subkey(dek, Label.PARQUET).reveal(),
                aad_prefix=address.aad.encode("ascii"),
                store_aad_prefix=False,
                encryption_algorithm="AES_GCM_V1",
                plaintext_footer=False,
            ),
        )
        self._pending: list[Any] = []
        self._pending_rows = 0
        self._rows = 0

    def write(self, batch: Any) -> None:
        """Take a record batch of the part's schema; whole row groups go to the sink."""
        if not batch.schema.equals(self._schema):
            raise InvalidError("a batch has another schema than its part")
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= self._rows_per_group:
            self._flush(self._pending_rows - self._pending_rows % self._rows_per_group)

    def finish(self) -> Part:
        """Write what is left and the footer; return the part for the manifest."""
        self._flush(self._pending_rows)
        self._writer.close()
        return Part(
            name=self._address.name,
            split=self._address.split,
            rows=self._rows,
            bytes=self._sink.size,
            digest=Digest.from_raw(self._sink.digest.digest()),
            aad=self._address.aad,
        )

    def abandon(self) -> None:
        """Give up: nothing more is written, and what the sink has does not open."""
        self._sink.abandoned = True
        self._writer.close()

    def _flush(self, rows: int) -> None:
        table = pa.Table.from_batches(self._pending, schema=self._schema)
        if rows:
            self._writer.write_table(table.slice(0, rows), row_group_size=self._rows_per_group)
        rest = table.slice(rows)
        self._pending, self._pending_rows = rest.to_batches(), rest.num_rows
        self._rows += rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()


class PartReader:
    """Reads one part, column by column and batch by batch.

    Raises:
        CorruptError: Not a file of ours, altered, cut, moved, replayed, or under another key.
    """

    def __init__(self, source: Path | BinaryIO, dek: SecretBytes, address: PartAddress) -> None:
        # A path is opened by the library itself, which is faster than calling back into Python for every page.
        self._stream: Any = pa.OSFile(str(source)) if isinstance(source, Path) else source
        check_form(self._stream)
        properties = pe.create_decryption_properties(
            subkey(dek, Label.PARQUET).reveal(),
            aad_prefix=address.aad.encode("ascii"),
            check_footer_integrity=True,
            allow_plaintext_files=False,
        )
        with _corrupt():
            self._file: Any = pq.ParquetFile(self._stream, decryption_properties=properties, pre_buffer=False)

    @property
    def schema(self) -> Any:
        """The Arrow schema."""
        return self._file.schema_arrow

    @property
    def rows(self) -> int:
        """How many rows; the owner's alone."""
        return int(self._file.metadata.num_rows)

    @property
    def row_groups(self) -> int:
        """How many row groups."""
        return int(self._file.num_row_groups)

    def batches(self, columns: Sequence[str] | None = None, *, rows: int = MOST_ROWS_PER_GROUP) -> Iterator[Any]:
        """Yield record batches of at most `rows` rows, in order, of the named columns or all."""
        chosen = self._chosen(columns)
        batches = self._file.iter_batches(batch_size=rows, columns=chosen, use_threads=False)
        while True:
            with _corrupt():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch if chosen is None else batch.select(chosen)

    def read(self, columns: Sequence[str] | None = None) -> Any:
        """Return the named columns, or all, as a table."""
        chosen = self._chosen(columns)
        with _corrupt():
            table = self._file.read(columns=chosen, use_threads=False)
        return table if chosen is None else table.select(chosen)

    def row_group(self, index: int, columns: Sequence[str] | None = None) -> Any:
        """Return one row group as a table."""
        whole(0, self.row_groups - 1, row_group=index)
        chosen = self._chosen(columns)
        with _corrupt():
            table = self._file.read_row_group(index, columns=chosen, use_threads=False)
        return table if chosen is None else table.select(chosen)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def _chosen(self, columns: Sequence[str] | None) -> list[str] | None:
        # The library skips a column that does not exist; who misspells one must not get less than was asked for.
        if columns is not None and not set(columns) <= set(self.schema.names):
            raise InvalidError("no such column in this part", field="columns")
        return None if columns is None else list(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_form(stream: BinaryIO) -> None:
    """Return if a file's unauthenticated bytes are exactly what our writer writes; raise `CorruptError` otherwise."""
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    stream.seek(0)
    head = stream.read(len(_MAGIC))
    stream.seek(max(size - _TAIL, 0))
    tail = stream.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    start = size - _TAIL - length
    if head != _MAGIC or tail[4:] != _MAGIC or start < len(_MAGIC) or length < _CRYPTO_BYTES + 4:
        raise CorruptError("a sealed part is not an encrypted table: it was altered, cut or replaced")
    stream.seek(start)
    front = stream.read(_CRYPTO_BYTES + 4)
    footer = int.from_bytes(front[_CRYPTO_BYTES:], "little")
    if _CRYPTO.fullmatch(front[:_CRYPTO_BYTES]) is None or footer != length - _CRYPTO_BYTES - 4:
        raise CorruptError("a sealed part is not encrypted the way ours are: it was altered or replaced")
    stream.seek(0)


def verify_part(stream: BinaryIO, part: Part) -> None:
    """Return if the file is byte for byte the one in the manifest; raise `CorruptError` otherwise."""
    stream.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(2**20):
        digest.update(piece)
        size += len(piece)
    stream.seek(0)
    if (size, Digest.from_raw(digest.digest())) != (part.bytes, part.digest):
        raise CorruptError("a sealed part is not the one in its manifest: it was altered or replaced")


def rows_within(schema: Any) -> int:
    """How many rows make a row group of about 32 MiB, from the declared types alone."""
    width = sum(_width(field.type) for field in schema)
    return max(min(MOST_ROWS_PER_GROUP, _GROUP_BYTES // max(width, 1)), 1)


def _width(kind: Any) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    try:
        return int(-(-kind.bit_width // 8))
    except ValueError:
        return _TEXT_BYTES


class _CountingSink(io.RawIOBase):
    """Passes ciphertext on and keeps its length and SHA-256."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.digest = hashlib.sha256()
        self.size = 0
        self.abandoned = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        if not self.abandoned:
            self._sink.write(view)
            self.digest.update(view)
            self.size += len(view)
        return len(view)


@contextmanager
def _corrupt() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, ValueError, IndexError, OverflowError):
        raise CorruptError("a sealed part does not open: it was altered, cut, moved, or is under another key") from None
