"""One file in memory for libraries that read and write files alone: opened before a child is confined.

Rules
-----
1. It has no name in any folder, dies with the process and never lies on a disk.
2. A confined child cannot open another: system calls that make memory files are refused there. RLIMIT_FSIZE bounds it.
"""

from __future__ import annotations

import functools
import os


@functools.cache
def descriptor() -> int:
    """The file; opened by the first call."""
    return os.memfd_create("scratch", os.MFD_CLOEXEC)


def path() -> str:
    """How a library opens it."""
    return f"/proc/self/fd/{descriptor()}"


def put(data: bytes | memoryview) -> None:
    """Replace what it holds: written over first, since memory that it has costs less than new memory."""
    file = descriptor()
    rest, position = memoryview(data), 0
    while position < len(rest):
        position += os.pwrite(file, rest[position:], position)
    os.ftruncate(file, len(rest))


def take() -> bytes:
    """Return what it holds, and empty it."""
    file = descriptor()
    size = os.fstat(file).st_size
    pieces, position = [], 0
    while position < size and (piece := os.pread(file, size - position, position)):
        pieces.append(piece)
        position += len(piece)
    os.ftruncate(file, 0)
    return b"".join(pieces)
