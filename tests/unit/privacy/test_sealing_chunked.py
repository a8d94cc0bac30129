"""Chunked encryption: published vectors, agreement with the library, random access, and nothing unauthenticated."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import CorruptError, InvalidError
from kernel.ids import Slug, TenantId, VersionId
from privacy.sealing.chunked import (
    CHUNK,
    BlobKind,
    ChunkedReader,
    ChunkedWriter,
    blob_context,
    ciphertext_size,
    decrypt_bytes,
    encrypt,
    encrypt_bytes,
    plaintext_size,
)
from privacy.sealing.secret import SecretBytes

PUBLISHED = Path(__file__).parents[2] / "vectors/chunked-encryption/cobblestone-256.json"
VECTORS = json.loads(PUBLISHED.read_bytes())["tests"]
KEY = SecretBytes(bytes(range(32)))
EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 65 * CHUNK + 7]


def _plain(size: int) -> bytes:
    return hashlib.shake_128(b"plain").digest(size)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["tcId"]))
def test_published_vectors(vector: dict[str, Any]) -> None:
    """Every published ciphertext opens to its plaintext, and every broken one is refused."""
    sealed = zlib.decompress(bytes.fromhex(vector["ct"]))
    key, context = SecretBytes(bytes.fromhex(vector["key"])), bytes.fromhex(vector["ctx"])
    if vector["result"] == "valid":
        opened = decrypt_bytes(sealed, key, context)
        assert len(opened) == vector["msgLength"]
        assert hashlib.sha512(opened).hexdigest() == vector["msgSha512"]
        with pytest.raises(CorruptError):
            decrypt_bytes(sealed, key, context + b"x")
    else:
        with pytest.raises(CorruptError):
            decrypt_bytes(sealed, key, context)


@pytest.mark.parametrize("size", EDGES)
def test_the_library_reads_what_we_write_and_sizes_are_known(size: int) -> None:
    """Another implementation decrypts our objects; their length follows from the plaintext's alone."""
    plain = _plain(size)
    sink = io.BytesIO()
    assert encrypt(io.BytesIO(plain), sink, KEY, b"here") == size
    sealed = sink.getvalue()
    assert len(sealed) == ciphertext_size(size)
    assert plaintext_size(len(sealed)) == size
    library = Cobblestone256Decryptor(KEY.reveal(), b"here")
    assert library.update(sealed) + library.finalize() == plain
    assert decrypt_bytes(sealed, KEY, b"here") == plain


def test_no_two_ciphertexts_are_alike() -> None:
    """Each object draws its own salt, so equal plaintexts do not show."""
    assert encrypt_bytes(b"same", KEY, b"")[:24] != encrypt_bytes(b"same", KEY, b"")[:24]


SEALED = encrypt_bytes(_plain(5 * CHUNK + 100), KEY, b"c")


@given(st.lists(st.tuples(st.sampled_from(["seek", "read", "end", "step"]), st.integers(0, 6 * CHUNK)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_random_access_equals_a_plain_file(steps: list[tuple[str, int]]) -> None:
    """Any sequence of seeks and reads gives what the same sequence gives on the plaintext."""
    reader, plain = ChunkedReader(io.BytesIO(SEALED), KEY, b"c"), io.BytesIO(_plain(5 * CHUNK + 100))
    for verb, number in steps:
        for stream in (reader, plain):
            if verb == "seek":
                stream.seek(number)
            elif verb == "end":
                stream.seek(-min(number, 5 * CHUNK), os.SEEK_END)
            elif verb == "step":
                stream.seek(number % 100, os.SEEK_CUR)
        if verb == "read":
            assert reader.read(number) == plain.read(number)
        assert reader.tell() == plain.tell()


def test_it_behaves_as_a_file_for_other_readers() -> None:
    """Buffered readers and copying work; seeking before the start is refused, reading behind the end gives nothing."""
    reader = ChunkedReader(io.BytesIO(SEALED), KEY, b"c")
    assert reader.size == 5 * CHUNK + 100
    assert (reader.readable(), reader.seekable(), reader.writable()) == (True, True, False)
    assert io.BufferedReader(reader).read() == _plain(reader.size)
    buffer = bytearray(10)
    reader.seek(CHUNK - 5)
    assert reader.readinto(buffer) == 10
    assert bytes(buffer) == _plain(reader.size)[CHUNK - 5 : CHUNK + 5]
    reader.seek(10**9)
    assert reader.read() == b""
    with pytest.raises(ValueError, match="before"):
        reader.seek(-1)


def test_a_table_reader_can_use_it() -> None:
    """A Parquet reader reads a Parquet file through it."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table, sink = pa.table({"a": list(range(50_000))}), io.BytesIO()
    with ChunkedWriter(sink, KEY, b"") as writer:
        pq.write_table(table, writer)
    assert pq.read_table(ChunkedReader(io.BytesIO(sink.getvalue()), KEY, b"")).equals(table)


def _break_off(writer: ChunkedWriter, data: bytes) -> None:
    with writer:
        writer.write(data)
        raise ConnectionError


def test_an_unfinished_object_is_not_accepted() -> None:
    """An error while writing, at any length, leaves nothing that opens."""
    for size in EDGES:
        sink = io.BytesIO()
        with pytest.raises(ConnectionError):
            _break_off(writer := ChunkedWriter(sink, KEY, b""), _plain(size))
        with pytest.raises(CorruptError):
            decrypt_bytes(sink.getvalue(), KEY, b"")
        with pytest.raises(ValueError, match=r"closed|finished"):
            writer.write(b"more")


def test_another_key_or_place_is_refused_before_decrypting() -> None:
    """Key and context are committed to."""
    for key, context in ((SecretBytes(bytes(32)), b"c"), (KEY, b"d"), (KEY, b"")):
        with pytest.raises(CorruptError, match="key in this place"):
            ChunkedReader(io.BytesIO(SEALED), key, context)
    for wrong in (16, 31, 33):
        with pytest.raises(InvalidError):
            encrypt_bytes(b"", SecretBytes(b"x" * wrong), b"")


def test_a_change_under_an_open_reader_is_noticed() -> None:
    """A source that is cut, changed or grown after opening gives an error, never bytes."""
    for change in ("cut", "flip", "grow"):
        source = io.BytesIO(SEALED)
        reader = ChunkedReader(source, KEY, b"c")
        if change == "cut":
            source.truncate(CHUNK)
        elif change == "flip":
            source.getbuffer()[100] ^= 1
        else:
            source.seek(0, os.SEEK_END)
            source.write(bytes(CHUNK))
            with pytest.raises(CorruptError):
                ChunkedReader(source, KEY, b"c")
        with pytest.raises(CorruptError):
            reader.read()


def test_impossible_lengths_are_refused() -> None:
    """No ciphertext has these lengths."""
    for length in (0, 55, 56, 71, 56 + CHUNK + 16, 56 + CHUNK + 16 + 15):
        with pytest.raises(CorruptError):
            plaintext_size(length)


def test_contexts_differ_by_kind_tenant_subject_and_part() -> None:
    """Each member of the context makes another place."""
    tenants = [TenantId.new(os.urandom) for _ in range(2)]
    versions = [VersionId.new(os.urandom) for _ in range(2)]
    contexts = {
        blob_context(kind, tenant, version, part)
        for kind in BlobKind
        for tenant in tenants
        for version in versions
        for part in (None, Slug("a"), Slug("b"))
    }
    assert len(contexts) == len(BlobKind) * 2 * 2 * 3
