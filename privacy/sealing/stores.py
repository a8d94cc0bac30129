"""Where ciphertext lies: create-only objects under names that the server makes.

Rules
-----
1. An object is written once. `put_new` either stores all of it durably or leaves nothing; it never replaces.
2. Names are made here from identifiers and slugs. A name from outside is never joined to a path.
3. A local store is ours alone, follows no link below its root, and tells nobody about an object before it is on the
   disk (`durable`; docs/adr/0003).
4. A store sees ciphertext only; it neither encrypts nor decides who may read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from kernel.canonical import Digest
from kernel.checks import matching, whole
from kernel.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from kernel.ids import Entropy
from privacy.sealing.durable import (
    DIRECTORY_MODE,
    FILE_MODE,
    NEW_FILE,
    OPEN_DIRECTORY,
    Point,
    flush_directory,
    flush_file,
    no_point,
    place_new,
    write_all,
)
from privacy.sealing.private_files import open_private_directory

LONGEST_PATH = 240
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
_PIECE = 2**20
_INCOMING = ".incoming"
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class BlobPath(str):
    """The name of an object: 1 to 8 segments of `a-z 0-9 _ - .` with `/` between; no segment begins with a dot."""

    __slots__ = ()

    def __new__(cls, value: str) -> BlobPath:
        """Validate the written form."""
        segments = value.split("/")
        whole(1, LONGEST_PATH, blob_path=len(value))
        whole(1, 8, blob_path=len(segments))
        for segment in segments:
            matching(_SEGMENT, "must have segments of a-z, 0-9, `_`, `-` and inner dots", blob_path=segment)
        return super().__new__(cls, value)

    @classmethod
    def of(cls, *segments: str) -> BlobPath:
        """Join segments; none may contain a slash."""
        if any("/" in segment for segment in segments):
            raise InvalidError("a segment of a blob path has no slash", field="blob_path")
        return cls("/".join(segments))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """What was stored: its length and the SHA-256 of its bytes."""

    size: int
    digest: Digest


class BlobStore(Protocol):
    """A keeper of immutable objects."""

    def put_new(self, path: BlobPath, source: BinaryIO | bytes) -> StoredBlob:
        """Store all of `source` durably under a new name.

        Raises:
            ConflictError: The name is taken; what it names is untouched.
        """
        ...

    def open(self, path: BlobPath) -> BinaryIO:
        """Open an object for seekable reading; raise `NotFoundError` if there is none."""
        ...

    def size(self, path: BlobPath) -> int:
        """Return an object's length; raise `NotFoundError` if there is none."""
        ...

    def exists(self, path: BlobPath) -> bool:
        """Whether there is such an object."""
        ...

    def delete(self, path: BlobPath) -> None:
        """Remove an object; harmless when there is none."""
        ...

    def list(self, prefix: BlobPath | None = None) -> Iterator[BlobPath]:
        """Name the objects below a prefix of whole segments, sorted."""
        ...


class LocalBlobStore:
    """Objects as files below one directory of our own."""

    def __init__(self, root: Path, *, entropy: Entropy, point: Point = no_point) -> None:
        root.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        self._path = root.absolute()
        self._entropy = entropy
        self._point = point
        self._root = open_private_directory(root)
        self._incoming = self._enter(self._root, _INCOMING, make=True)

    def put_new(self, path: BlobPath, source: BinaryIO | bytes) -> StoredBlob:
        """See `BlobStore.put_new`."""
        path = BlobPath(path)
        file, temporary = self._temporary()
        try:
            stored = _copy(io.BytesIO(source) if isinstance(source, bytes) else source, file)
            flush_file(file, "blob", self._point)
            with self._directory_of(path, make=True) as (directory, name):
                place_new((self._incoming, temporary), (directory, name), "blob", self._point)
        except FileExistsError:
            raise ConflictError("an object of this name is stored already") from None
        finally:
            os.close(file)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._incoming)
        return stored

    def open(self, path: BlobPath) -> BinaryIO:
        """See `BlobStore.open`."""
        with self._directory_of(path) as (directory, name):
            _length(directory, name)
            with _missing_is_not_found():
                return os.fdopen(os.open(name, READ_FILE, dir_fd=directory), "rb")

    def size(self, path: BlobPath) -> int:
        """See `BlobStore.size`."""
        with self._directory_of(path) as (directory, name):
            return _length(directory, name)

    def exists(self, path: BlobPath) -> bool:
        """See `BlobStore.exists`."""
        try:
            self.size(path)
        except NotFoundError:
            return False
        return True

    def delete(self, path: BlobPath) -> None:
        """See `BlobStore.delete`; empty directories stay."""
        with contextlib.suppress(NotFoundError), self._directory_of(path) as (directory, name):
            _length(directory, name)
            with _missing_is_not_found():
                os.unlink(name, dir_fd=directory)
            flush_directory(directory, "blob-delete", self._point)

    def list(self, prefix: BlobPath | None = None) -> Iterator[BlobPath]:
        """See `BlobStore.list`."""
        start = self._path / prefix if prefix else self._path
        names = [
            str((Path(folder) / name).relative_to(self._path))
            for folder, _, files in os.walk(start)
            if Path(folder).relative_to(self._path).parts[:1] != (_INCOMING,)
            for name in files
        ]
        return iter(sorted(BlobPath(name) for name in names))

    def local_path(self, path: BlobPath) -> Path:
        """Where an object's file lies, for a confined child to read; raise `NotFoundError` if there is none."""
        self.size(path)
        return self._path / path

    def sweep(self) -> int:
        """Remove what crashed writers left; return how many files. Uploads in progress are not touched."""
        removed = 0
        for entry in os.scandir(self._incoming):
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                file = os.open(entry.name, READ_FILE, dir_fd=self._incoming)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.name, dir_fd=self._incoming)
                    removed += 1
                finally:
                    os.close(file)
        return removed

    def close(self) -> None:
        """Let go of the directories."""
        os.close(self._incoming)
        os.close(self._root)

    def _temporary(self) -> tuple[int, str]:
        while True:
            name = self._entropy(16).hex()
            file = os.open(name, NEW_FILE, FILE_MODE, dir_fd=self._incoming)
            # Held while we write, so that `sweep` in another process can tell a live upload from a leftover.
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return file, name
            os.close(file)

    @contextlib.contextmanager
    def _directory_of(self, path: BlobPath, *, make: bool = False) -> Iterator[tuple[int, str]]:
        *folders, name = BlobPath(path).split("/")
        directory = os.dup(self._root)
        try:
            for folder in folders:
                inner = self._enter(directory, folder, make=make)
                os.close(directory)
                directory = inner
            yield directory, name
        finally:
            os.close(directory)

    def _enter(self, directory: int, folder: str, *, make: bool) -> int:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, DIRECTORY_MODE, dir_fd=directory)
                flush_directory(directory, "blob-folder", self._point)
        try:
            return os.open(folder, OPEN_DIRECTORY, dir_fd=directory)
        except NotADirectoryError:
            raise (ConflictError if make else NotFoundError)("part of this name is an object itself") from None
        except FileNotFoundError:
            raise NotFoundError("no such stored object") from None


@contextlib.contextmanager
def _missing_is_not_found() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError("no such stored object") from None


def _length(directory: int, name: str) -> int:
    with _missing_is_not_found():
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise NotFoundError("no such stored object")
    return found.st_size


def _copy(source: BinaryIO, file: int) -> StoredBlob:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        try:
            write_all(file, piece)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise UnavailableError("the store has no room left; nothing was stored") from None
            raise
    return StoredBlob(size=size, digest=Digest.from_raw(digest.digest()))
