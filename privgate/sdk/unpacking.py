"""Unpacking an archive that a gateway sent: into a fresh directory, and nowhere else.

Rules
-----
1. Only plain files with plain relative names are taken: no `..`, no absolute path, no link, no device, no name twice.
   One other member, and nothing of the archive is kept.
2. Files and bytes are counted before they are written; an archive that is larger than its limit is refused.
3. The target appears whole or not at all: files are written beside it first.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from kernel.errors import ConflictError, CorruptError, TooLargeError

MOST_FILES = 2_000_000
LARGEST_FILE = 128 * 2**20
LARGEST_ARCHIVE = 64 * 2**30
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,11}")
_PIECE = 1 << 20


def unpack(pieces: Iterable[bytes], target: Path) -> Path:
    """Unpack a tar stream into `target`, which must not exist yet.

    Raises:
        ConflictError: The target exists.
        CorruptError: Not a tar file, or one with a member that does not belong into an archive.
        TooLargeError: More files or bytes than an archive may have.
    """
    if target.exists() or target.is_symlink():
        raise ConflictError(f"`{target}` exists: name a directory that does not", field="directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write_all(pieces, fresh)
        fresh.chmod(0o755)
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return target


def _write_all(pieces: Iterable[bytes], folder: Path) -> None:
    seen: set[str] = set()
    total = 0
    stream = _Stream(iter(pieces))
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as tar:
            for member in tar:
                total += _checked_size(member)
                if len(seen) == MOST_FILES or total > LARGEST_ARCHIVE:
                    raise TooLargeError("the archive is larger than an archive may be")
                if member.name in seen:
                    raise CorruptError("the archive names a file twice")
                seen.add(member.name)
                _write(tar, member, folder)
            # `tarfile` takes a cut header for the end; the true end is two empty blocks after the last member.
            if stream.drained() < tar.offset + 2 * tarfile.BLOCKSIZE:
                raise CorruptError("the archive broke off")
    except (tarfile.TarError, EOFError, ValueError):
        raise CorruptError("the gateway's answer is no complete archive") from None
    if not seen:
        raise CorruptError("the gateway's answer is an empty archive")


def _checked_size(member: tarfile.TarInfo) -> int:
    """The member's size, if it is a plain file with a plain name."""
    if not member.isreg() or member.issparse() or _NAME.fullmatch(member.name) is None:
        raise CorruptError("the archive holds something that is not a plain file with a plain name")
    if not 0 <= member.size <= LARGEST_FILE:
        raise TooLargeError("the archive holds a file that is larger than any of an archive")
    return member.size


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder.joinpath(*member.name.split("/"))
    source = tar.extractfile(member)
    assert source is not None  # it is a regular file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # `x`: nothing that is already there is written through, whatever it is.
        with path.open("xb") as file:
            shutil.copyfileobj(source, file, _PIECE)
    except (FileExistsError, NotADirectoryError):
        raise CorruptError("the archive has a file where it has a folder") from None
    if path.stat().st_size != member.size:
        raise CorruptError("the archive broke off")


class _Stream:
    """Pieces as something that `tarfile` reads forward."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self._arrived = 0

    def drained(self) -> int:
        """Read to the end and return how many bytes there were."""
        while self.read(_PIECE):
            pass
        return self._arrived

    def read(self, size: int) -> bytes:
        """Return the next bytes, `size` of them unless the pieces end."""
        taken, missing = [], size
        while missing:
            if not self._rest:
                self._rest = next(self._pieces, b"")
                self._arrived += len(self._rest)
                if not self._rest:
                    break
            taken.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(taken[-1])
        return b"".join(taken)
