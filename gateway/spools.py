"""Folders for ciphertext and answers while one piece of work lasts; what a killed process left is swept.

Rules
-----
1. Whoever has a spool holds a lock on its folder. A process that dies lets go of it, whatever kills it.
2. Swept is what has our prefix, is a folder of ours and no link, and can be locked: nobody works in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "privgate-spool-"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def spool() -> Iterator[Path]:
    """An empty folder of our own, below the system's temporary one; it is gone when the block is left."""
    path, folder = _locked_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(folder)


def sweep_spools() -> int:
    """Remove what killed processes left; return how many folders. Those that somebody works in are not touched."""
    swept = 0
    for entry in os.scandir(tempfile.gettempdir()):
        if entry.name.startswith(PREFIX) and (folder := _lock(Path(entry.path))) is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(folder)
            swept += 1
    return swept


def _locked_folder() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # A sweep between the two may have taken it for a leftover: then another one is made.
        folder = _lock(path)
        if folder is not None and os.fstat(folder).st_nlink:
            return path, folder
        if folder is not None:
            os.close(folder)


def _lock(path: Path) -> int | None:
    """The folder's descriptor with its lock; nothing if it is gone, not ours, no folder, or somebody's."""
    try:
        folder = os.open(path, _OPEN)
    except OSError:
        return None
    try:
        found = os.fstat(folder)
        if found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder
    except OSError:
        pass
    os.close(folder)
    return None
