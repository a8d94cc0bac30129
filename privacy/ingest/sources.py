"""Bytes of an upload: decrypted as they are read, unpacked within bounds. Child only.

Rules
-----
1. Whatever is returned was authenticated.
2. What unpacks to more than 200 times its size (after a first 64 MiB) is refused while it is being unpacked.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LARGEST_RATIO = 200
FREE_BYTES = 64 * 2**20
LARGEST_UNPACKED = 64 * 2**30
_PIECE = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class PrefixedStream(io.RawIOBase):
    """A readable stream with some bytes put back in front of it."""

    def __init__(self, prefix: bytes, rest: io.RawIOBase | BinaryIO) -> None:
        self._prefix, self._rest = prefix, rest

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill some of `buffer`; nothing at the end."""
        view = memoryview(buffer).cast("B")
        if self._prefix:
            taken, self._prefix = self._prefix[: len(view)], self._prefix[len(view) :]
        else:
            taken = self._rest.read(len(view)) or b""
        view[: len(taken)] = taken
        return len(taken)


class GunzipStream(io.RawIOBase):
    """A readable stream over a gzip file of one or several members, bounded."""

    def __init__(self, source: io.RawIOBase | BinaryIO, findings: Findings) -> None:
        self._source, self._findings = source, findings
        self._member = zlib.decompressobj(_GZIP)
        self._packed, self._unpacked = 0, 0
        self._waiting = b""
        self._begun = self._full = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill some of `buffer`; nothing at the end."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        piece = self._next(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _next(self, most: int) -> bytes:
        while True:
            # A full answer may have left more inside the decompressor, even if it wants no more input.
            if not self._waiting and not self._full and not self._feed():
                return b""
            if self._member.eof and self._waiting:
                self._member = zlib.decompressobj(_GZIP)
            piece = self._unpack(most)
            self._full = len(piece) == most
            if piece:
                return piece

    def _feed(self) -> bool:
        """Get more packed bytes; false at the end of a whole file."""
        self._waiting = self._source.read(_PIECE) or b""
        self._packed += len(self._waiting)
        if not self._waiting and not self._member.eof:
            # Cut in the middle, or nothing at all.
            self._findings.stop(Rule.NOT_GZIP if self._begun else Rule.EMPTY_FILE)
        self._begun = True
        return bool(self._waiting)

    def _unpack(self, most: int) -> bytes:
        try:
            piece = self._member.decompress(self._waiting, most)
        except zlib.error:
            self._findings.stop(Rule.NOT_GZIP)
        self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        self._unpacked += len(piece)
        if self._unpacked > min(max(FREE_BYTES, LARGEST_RATIO * self._packed), LARGEST_UNPACKED):
            self._findings.stop(Rule.EXPANDS_TOO_FAR)
        return piece


def skip_mark(stream: io.RawIOBase | BinaryIO) -> io.RawIOBase:
    """Leave out a byte order mark of UTF-8 at the beginning."""
    start = read_exactly(stream, 3)
    return PrefixedStream(b"" if start == b"\xef\xbb\xbf" else start, stream)


def read_exactly(stream: io.RawIOBase | BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end."""
    pieces, missing = [], size
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
