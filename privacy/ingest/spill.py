"""Sorting more hashes than fit into memory: distributed over buckets, what does not fit encrypted on disk. Child only.

Rules
-----
1. Only keyed hashes and row numbers come here, and even these touch the disk only under a key that dies with the
   process.
2. Entries go into 256 buckets by the first byte of a keyed hash, so that no upload can fill one bucket on purpose.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

BUCKETS = 256
_PENDING_BYTES = 4 * 2**20
_NONCE = 12


class Spill:
    """Entries by bucket.

    Args:
        path: Where the file goes if one is needed; removed at the end.
        pending: How many bytes are kept in memory.
    """

    def __init__(self, path: Path, pending: int = _PENDING_BYTES) -> None:
        self._path, self._most = path, pending
        self._pending: list[tuple[NDArray[np.uint8], NDArray[Any]]] = []
        self._pending_bytes = 0
        self._file: BinaryIO | None = None
        self._aead = AESGCM(AESGCM.generate_key(256))
        self._segments: list[list[tuple[int, int, int]]] = [[] for _ in range(BUCKETS)]
        self._count = 0
        self._rest: list[NDArray[Any] | None] = [None] * BUCKETS

    def add(self, buckets: NDArray[np.uint8], entries: NDArray[Any]) -> None:
        """Take entries (rows of an array) with the bucket of each."""
        self._pending.append((buckets, entries))
        self._pending_bytes += entries.nbytes
        if self._pending_bytes >= self._most:
            for bucket, part in self._drained():
                self._write(bucket, part)

    def finish(self) -> None:
        """Take no more; what is still in memory stays there."""
        for bucket, part in self._drained():
            self._rest[bucket] = part

    def read(self, bucket: int, like: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the entries of a bucket in the order in which they came, in arrays of the type and width of `like`."""
        for number, start, length in self._segments[bucket]:
            assert self._file is not None
            self._file.seek(start)
            plain = self._aead.decrypt(number.to_bytes(_NONCE, "big"), self._file.read(length), None)
            yield np.frombuffer(plain, dtype=like.dtype).reshape(-1, *like.shape[1:])
        if (rest := self._rest[bucket]) is not None:
            yield rest

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def _drained(self) -> Iterator[tuple[int, NDArray[Any]]]:
        if not self._pending:
            return
        buckets = np.concatenate([numbers for numbers, _ in self._pending])
        entries = np.concatenate([part for _, part in self._pending])
        self._pending, self._pending_bytes = [], 0
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=BUCKETS))
        entries = entries[order]
        for bucket, end in enumerate(ends):
            start = ends[bucket - 1] if bucket else 0
            if start < end:
                yield bucket, entries[start:end]

    def _write(self, bucket: int, part: NDArray[Any]) -> None:
        if self._file is None:
            self._file = self._path.open("x+b")
        sealed = self._aead.encrypt(self._count.to_bytes(_NONCE, "big"), part.tobytes(), None)
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(sealed)
        self._segments[bucket].append((self._count, start, len(sealed)))
        self._count += 1
