"""The order of writes that survives a power cut.

Rules
-----
1. Content is on the disk before a name points to it (fsync, then link or rename), and the name is on the disk before
   anybody is told (fsync of the directory).
2. `place_new` never replaces; `replace` swaps a whole file. Nothing is written in place.
3. Every fsync, link and rename has a named point on each side, where a test may kill the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable

Point = Callable[[str], None]
"""Called with the name of a place in the code; in production it does nothing."""

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def no_point(_: str) -> None:
    """Do nothing."""


def private(path: str, flags: int) -> int:
    """An `opener` for `open`: what it makes is its owner's alone."""
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)


def write_all(file: int, data: bytes | memoryview) -> None:
    """Write all of `data` to a descriptor."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def flush_file(file: int, what: str, point: Point) -> None:
    """Bring a file's content to the disk."""
    point(f"{what}:before-fsync")
    os.fsync(file)
    point(f"{what}:after-fsync")


def flush_directory(directory: int, what: str, point: Point) -> None:
    """Bring a directory's names to the disk."""
    point(f"{what}:before-directory-fsync")
    os.fsync(directory)
    point(f"{what}:after-directory-fsync")


def place_new(source: tuple[int, str], target: tuple[int, str], what: str, point: Point) -> None:
    """Give flushed content its name; raise `FileExistsError` if the name is taken.

    Args:
        source: Open directory and name of the flushed temporary file; the name is gone afterwards.
        target: Open directory and name to give.
        what: Prefix of the crash points.
        point: The crash points.
    """
    point(f"{what}:before-link")
    os.link(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0], follow_symlinks=False)
    point(f"{what}:after-link")
    flush_directory(target[0], what, point)
    os.unlink(source[1], dir_fd=source[0])


def replace(directory: int, source: str, target: str, what: str, point: Point) -> None:
    """Put flushed content in the place of `target`, all or nothing."""
    point(f"{what}:before-rename")
    os.rename(source, target, src_dir_fd=directory, dst_dir_fd=directory)
    point(f"{what}:after-rename")
    flush_directory(directory, what, point)
