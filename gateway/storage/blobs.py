"""Ciphertext in S3, or in whatever speaks its protocol.

Rules
-----
1. An object appears whole or not at all, and never replaces another. A small one is one conditional PUT. A larger one
   goes to a name that nobody can guess, piece by piece, and is copied from there under the condition that its real
   name is free; S3 checks that condition when it completes the copy.
2. Nothing is opened for writing: obstore's writer overwrites.
3. Plain HTTP is for loopback, where tests and trials live.
4. Credentials are the machine's: the usual AWS variables, or the role that the machine has. We keep none.

Held to the same contract suite as the local store (`privacy.sealing.stores`).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import S3Store

from kernel.canonical import Digest
from kernel.errors import ConflictError, NotFoundError, TooLargeError, UnavailableError
from kernel.ids import Entropy
from privacy.sealing.stores import BlobPath, StoredBlob

SMALL_BYTES = 8 * 2**20
"""Up to this length an object is one conditional PUT, held in memory meanwhile."""
LARGEST_BYTES = 5 * 2**30
"""What one conditional copy may hold (S3's limit for a part)."""
INCOMING = ".incoming/"
_PIECE = 2**20
_MOST_PIECES_AT_ONCE = 2


class S3BlobStore:
    """Objects below a prefix of one bucket."""

    def __init__(self, store: S3Store, *, entropy: Entropy = os.urandom, small_bytes: int = SMALL_BYTES) -> None:
        self._store = store
        self._entropy = entropy
        self._small_bytes = small_bytes

    @classmethod
    def connect(cls, url: str, endpoint: str, region: str) -> S3BlobStore:
        """Reach a bucket; nothing is sent before the first object.

        Args:
            url: `s3://bucket/prefix`; the settings have checked its form.
            endpoint: Address of a server that is not AWS; empty for AWS.
            region: The bucket's region.
        """
        place = urlsplit(url)
        own: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        store = S3Store(
            place.netloc,
            prefix=place.path.strip("/") or None,
            region=region,
            virtual_hosted_style_request=not endpoint,
            copy_if_not_exists="multipart",
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(minutes=5),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
            **own,
        )
        return cls(store)

    def put_new(self, path: BlobPath, source: BinaryIO | bytes) -> StoredBlob:
        """See `BlobStore.put_new`."""
        path = BlobPath(path)
        summed = _Summed(io.BytesIO(source) if isinstance(source, bytes) else source)
        start = summed.read(self._small_bytes + 1)
        with _translated():
            if len(start) <= self._small_bytes:
                obstore.put(self._store, path, start, mode="create")
            else:
                self._put_large(path, start, summed)
        return summed.stored()

    def open(self, path: BlobPath) -> BinaryIO:
        """See `BlobStore.open`."""
        path = BlobPath(path)
        return cast(BinaryIO, io.BufferedReader(_Object(self._store, path, self.size(path)), _PIECE))

    def size(self, path: BlobPath) -> int:
        """See `BlobStore.size`."""
        with _translated():
            return int(obstore.head(self._store, BlobPath(path))["size"])

    def exists(self, path: BlobPath) -> bool:
        """See `BlobStore.exists`."""
        try:
            self.size(path)
        except NotFoundError:
            return False
        return True

    def delete(self, path: BlobPath) -> None:
        """See `BlobStore.delete`."""
        with _translated():
            obstore.delete(self._store, BlobPath(path))

    def list(self, prefix: BlobPath | None = None) -> Iterator[BlobPath]:
        """See `BlobStore.list`."""
        with _translated():
            found = [meta["path"] for page in obstore.list(self._store, prefix) for meta in page]
        return iter(sorted(BlobPath(name) for name in found if not name.startswith(INCOMING)))

    def _put_large(self, path: BlobPath, start: bytes, rest: _Summed) -> None:
        if self.exists(path):  # told before the bytes are moved; the copy's own condition decides
            raise ConflictError("an object of this name is stored already")
        incoming = INCOMING + self._entropy(16).hex()
        try:
            pieces = _pieces(start, rest)
            obstore.put(self._store, incoming, pieces, max_concurrency=_MOST_PIECES_AT_ONCE)
            obstore.copy(self._store, incoming, path, overwrite=False)
        except Exception:
            # What obstore says of a broken source is its own error; what the source said is the truth.
            if rest.broken is not None:
                raise rest.broken from None
            raise
        finally:
            obstore.delete(self._store, incoming)


class _Summed:
    """A source that is counted and hashed as it is read, and remembers what broke it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self._size = 0
        self.broken: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes, or what is left."""
        pieces, missing = [], size
        while missing and (piece := self._piece(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def stored(self) -> StoredBlob:
        """What was read in all."""
        return StoredBlob(size=self._size, digest=Digest.from_raw(self._digest.digest()))

    def _piece(self, most: int) -> bytes:
        try:
            piece = self._source.read(min(most, _PIECE))
            self._size += len(piece)
            if self._size > LARGEST_BYTES:
                raise TooLargeError("an object in this store has at most 5 GiB")  # noqa: TRY301 - breaks the source
        except BaseException as error:
            self.broken = error
            raise
        self._digest.update(piece)
        return piece


class _Object(io.RawIOBase):
    """An object as a seekable stream: one range request for each read of the buffer above it."""

    def __init__(self, store: S3Store, path: BlobPath, size: int) -> None:
        self._store, self._path, self._size = store, path, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError("a position before the start")
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        piece = self._next(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        # The base class would ask for a few KiB at a time.
        return self._next(self._size)

    def _next(self, most: int) -> bytes:
        length = min(most, max(self._size - self._at, 0))
        if not length:
            return b""
        with _translated():
            piece = bytes(obstore.get_range(self._store, self._path, start=self._at, length=length))
        self._at += len(piece)
        return piece


def _pieces(start: bytes, rest: _Summed) -> Iterator[bytes]:
    yield start
    while piece := rest.read(_PIECE):
        yield piece


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise ConflictError("an object of this name is stored already") from None
    except (exceptions.NotFoundError, FileNotFoundError):
        raise NotFoundError("no such stored object") from None
    except exceptions.BaseError as error:
        # The library's text may hold addresses and headers; its kind is enough to act on.
        raise UnavailableError(
            f"the object store did not do what was asked ({type(error).__name__}): check PRIVGATE_BLOB_URL, "
            "PRIVGATE_S3_ENDPOINT and the machine's credentials",
            field="blob_url",
        ) from None
