"""What an agent keeps of a job: files that are written once, whole, and are on the disk before anything follows.

Rules
-----
1. `keep` never replaces: the same bytes again are accepted, other bytes are a `ConflictError`.
2. `put` replaces a whole file; it is for what follows from other papers and may be worked out again.
3. After `keep` or `put` has returned, a power cut cannot undo it.

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kernel.checks import matching
from kernel.errors import ConflictError, TooLargeError
from privacy.homomorphic.documents.signed import PARCEL_LIMIT
from privacy.sealing.durable import (
    DIRECTORY_MODE,
    FILE_MODE,
    NEW_FILE,
    Point,
    flush_directory,
    flush_file,
    no_point,
    place_new,
    replace,
    write_all,
)
from privacy.sealing.private_files import open_private_directory, open_private_file, read_all

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,120}")
_FRESH: Final = ".new"


class Papers:
    """One folder of papers, ours alone.

    Args:
        path: Made if it is not there; its parent is, and may be open to others.
        point: Crash points.

    Raises:
        InvalidError: What is there is no directory, or a link, or it is not ours alone.
    """

    def __init__(self, path: Path, point: Point = no_point) -> None:
        self.path, self._point = path, point
        try:
            path.mkdir(mode=DIRECTORY_MODE)
        except FileExistsError:
            with _directory(path):
                return
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flush_directory(parent, "papers", point)
        finally:
            os.close(parent)

    def get(self, name: str) -> bytes | None:
        """The bytes of a paper, or nothing."""
        with _directory(self.path) as folder:
            if not (self.path / _named(name)).exists():
                return None
            return read_all(open_private_file(name, directory=folder, shown=str(self.path / name)), PARCEL_LIMIT)

    def keep(self, name: str, data: bytes) -> None:
        """Write a paper once.

        Raises:
            ConflictError: It is there already, with other bytes.
        """
        known = self.get(name)
        if known is None:
            with _directory(self.path) as folder:
                self._write(folder, name, data)
                place_new((folder, _FRESH), (folder, name), _what(name), self._point)
        elif known != data:
            raise ConflictError(f"`{name}` is kept already, with another content", field=name)

    def put(self, name: str, data: bytes) -> None:
        """Write a paper, in the place of what was there."""
        with _directory(self.path) as folder:
            self._write(folder, name, data)
            replace(folder, _FRESH, _named(name), _what(name), self._point)

    def drop(self, name: str) -> None:
        """Destroy a paper; nothing happens if it is not there."""
        with _directory(self.path) as folder:
            try:
                file = os.open(_named(name), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                return
            try:
                # What a disk keeps of overwritten blocks is sealed.
                write_all(file, bytes(os.fstat(file).st_size))
                flush_file(file, "papers-drop", self._point)
            finally:
                os.close(file)
            os.unlink(name, dir_fd=folder)
            flush_directory(folder, "papers-drop", self._point)

    def remove(self, name: str) -> None:
        """Take a paper away that holds nothing secret: it is there whole, or it is not there."""
        with _directory(self.path) as folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_named(name), dir_fd=folder)
            flush_directory(folder, "papers-remove", self._point)

    def _write(self, folder: int, name: str, data: bytes) -> None:
        if len(data) > PARCEL_LIMIT:
            raise TooLargeError(f"a paper has at most {PARCEL_LIMIT} bytes")
        with contextlib.suppress(FileNotFoundError):
            # Left behind by an agent that was killed; the home is locked, so nobody else writes it.
            os.unlink(_FRESH, dir_fd=folder)
        file = os.open(_FRESH, NEW_FILE, FILE_MODE, dir_fd=folder)
        try:
            write_all(file, data)
            flush_file(file, _what(name), self._point)
        finally:
            os.close(file)


def _named(name: str) -> str:
    return matching(_NAME, "is no name of a paper", paper=name)


def _what(name: str) -> str:
    """How the crash points of a paper are called: by its kind, whichever round or party it is of."""
    return f"paper-{name.partition('-')[0]}"


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    folder = open_private_directory(path)
    try:
        yield folder
    finally:
        os.close(folder)
