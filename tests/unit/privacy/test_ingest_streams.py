"""Parts of ingest that work with bounded memory: unpacking, spilling, choosing, listing. In this process."""

from __future__ import annotations

import functools
import gzip
import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from kernel.amounts import Share
from privacy.ingest import bound
from privacy.ingest.bound import FingerprintList, RowChoice, Side
from privacy.ingest.findings import Findings, RefusedError
from privacy.ingest.fingerprints import MAGIC, fingerprints_context
from privacy.ingest.formats import Rule
from privacy.ingest.homes import HomeMap, Homes
from privacy.ingest.identity import holdout
from privacy.ingest.sources import FREE_BYTES, GunzipStream, PrefixedStream
from privacy.ingest.spill import BUCKETS, Spill
from privacy.sealing.chunked import ChunkedReader, ChunkedWriter
from privacy.sealing.secret import SecretBytes
from tests.support.uploads import TENANT, VERSION

KEY = SecretBytes(b"\5" * 32)


def _gunzip(packed: bytes, at_once: int = 1000) -> bytes:
    stream = GunzipStream(io.BytesIO(packed), Findings())
    return b"".join(iter(functools.partial(stream.read, at_once), b""))


@pytest.mark.parametrize("at_once", [1, 7, 1000, 10**6])
def test_what_was_packed_is_unpacked(at_once: int) -> None:
    """In pieces of any size, members one after the other, well and badly packed."""
    data = [os.urandom(3000), b"", b"a" * 3000, b"b"]
    packed = b"".join(gzip.compress(piece) for piece in data)
    assert _gunzip(packed, at_once) == b"".join(data)


@pytest.mark.parametrize("cut", [1, 5, 11, 30, 50])
def test_a_gzip_file_that_was_cut_is_refused(cut: int) -> None:
    """A table that ends early must not pass for a whole one."""
    packed = gzip.compress(os.urandom(100))
    with pytest.raises(RefusedError) as caught:
        _gunzip(packed[:cut])
    assert caught.value.problems[0].rule is Rule.NOT_GZIP


@pytest.mark.parametrize("place", [0, 12, -3, -7])
def test_a_gzip_file_that_was_altered_is_refused(place: int) -> None:
    """Header, content, checksum and length are all looked at."""
    packed = bytearray(gzip.compress(b"12345678" * 100))
    packed[place] ^= 0x55
    with pytest.raises(RefusedError) as caught:
        _gunzip(bytes(packed))
    assert caught.value.problems[0].rule is Rule.NOT_GZIP


def test_what_follows_a_gzip_file_is_refused() -> None:
    """Unless it is another member."""
    with pytest.raises(RefusedError):
        _gunzip(gzip.compress(b"1") + b"2")


def test_unpacking_stops_at_the_ratio() -> None:
    """No more is unpacked than 64 MiB and what 200 times the packed bytes allow."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    stream, pieces = GunzipStream(io.BytesIO(packed), Findings()), list[int]()
    with pytest.raises(RefusedError) as caught:
        pieces.extend(len(piece) for piece in iter(functools.partial(stream.read, 2**16), b""))
    assert caught.value.problems[0].rule is Rule.EXPANDS_TOO_FAR
    assert sum(pieces) <= FREE_BYTES


def test_bytes_put_back_come_first() -> None:
    """A stream with a prefix reads like their sum, in pieces of any size."""
    for at_once in (1, 2, 3, 100):
        stream = PrefixedStream(b"abc", io.BytesIO(b"defgh"))
        assert b"".join(iter(functools.partial(stream.read, at_once), b"")) == b"abcdefgh"


# --- spilling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pending", [1, 1000, 10**9])
def test_a_spill_gives_back_each_bucket_in_order(tmp_path: Path, pending: int) -> None:
    """Whether nothing, some or everything went to disk; then the file is gone."""
    rng = np.random.default_rng(7)
    spill = Spill(tmp_path / "spill", pending)
    known: list[list[int]] = [[] for _ in range(BUCKETS)]
    for start in range(0, 3000, 300):
        buckets = rng.integers(0, BUCKETS, 300).astype(np.uint8)
        numbers = np.arange(start, start + 300, dtype=np.uint64)[:, None]
        spill.add(buckets, numbers)
        for bucket, number in zip(buckets.tolist(), numbers[:, 0].tolist(), strict=True):
            known[bucket].append(number)
    spill.finish()
    assert (tmp_path / "spill").exists() == (pending < 10**6)
    like = np.zeros((0, 1), dtype=np.uint64)
    found = [
        [number for part in spill.read(bucket, like) for number in part[:, 0].tolist()] for bucket in range(BUCKETS)
    ]
    assert found == known
    spill.close()
    assert not (tmp_path / "spill").exists()


def test_a_spill_is_not_readable_on_disk(tmp_path: Path) -> None:
    """Not even keyed hashes lie there in the clear, and two spills of the same entries have nothing in common."""
    entries = np.full((4000, 3), 0x4142434445464748, dtype=np.uint64)
    written = []
    for name in ("one", "two"):
        spill = Spill(tmp_path / name, 1)
        spill.add(np.zeros(4000, dtype=np.uint8), entries)
        assert spill._file is not None
        spill._file.flush()
        written.append((tmp_path / name).read_bytes())
        spill.close()
    assert not any(entries[:1].tobytes()[:8] in data for data in written)
    assert written[0] != written[1]


# --- choosing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("prune", [1, 10**9])
def test_the_choice_is_that_of_a_simple_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, prune: int
) -> None:
    """Pruned on the way or not, the kept rows are each unit's smallest choices."""
    monkeypatch.setattr(bound, "_PRUNE_ROWS", prune)
    rng = np.random.default_rng(11)
    units = rng.integers(0, 2**64, 60, dtype=np.uint64)[rng.integers(0, 60, 5000)]
    choices = rng.integers(0, 40, 5000).astype(np.uint64)
    choice = RowChoice(most, tmp_path / "spill")
    choice._spill._most = 10_000
    for start in range(0, 5000, 250):
        choice.add(units[start : start + 250], choices[start : start + 250])
    share = Share.parse("0.4")
    with SecretBytes(bytes(32)) as key, HomeMap(None, key, b"") as nobody:
        sides = choice.sides(share, Homes(nobody, 1, tmp_path / "homes"))
    expected = np.zeros(5000, dtype=np.uint8)
    for unit in set(units.tolist()):
        rows = [row for row in range(5000) if units[row] == unit]
        kept = sorted(rows, key=lambda row: (choices[row], row))[:most]
        held_out = unit < 0.4 * 2**64
        expected[kept] = Side.HOLDOUT if held_out else Side.TRAIN
    assert (sides == expected).all()


def test_the_sides_at_the_edges_of_the_share() -> None:
    """A share of zero holds out nobody, not even the hash zero; a half is half of all hashes."""
    hashes = np.array([0, 2**63 - 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert holdout(hashes, Share.parse("0")).tolist() == [False] * 4
    assert holdout(hashes, Share.parse("0.5")).tolist() == [True, True, False, False]
    assert holdout(hashes, Share.parse("0.999999999")).tolist() == [True, True, True, False]


@pytest.mark.parametrize("pending", [1, 10**9])
def test_a_list_of_fingerprints_is_sorted_and_has_each_once(tmp_path: Path, pending: int) -> None:
    """Also if they came in many batches, partly by way of the disk; trailing zeros are part of them."""
    rng = np.random.default_rng(3)
    marks = rng.integers(0, 256, (500, 16)).astype(np.uint8)
    marks[:50, 8:] = 0
    listed = FingerprintList(tmp_path / "spill")
    listed._spill._most = pending
    for _ in range(3):
        listed.add(marks[rng.permutation(500)])
    sink = io.BytesIO()
    with ChunkedWriter(sink, KEY, fingerprints_context(TENANT, VERSION)) as writer:
        listed.write(writer)
    plain = ChunkedReader(sink, KEY, fingerprints_context(TENANT, VERSION)).read()
    assert plain == MAGIC + b"".join(sorted({row.tobytes() for row in marks}))
