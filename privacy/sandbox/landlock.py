"""Landlock: which files this process and whatever it starts can still reach.

Rules
-----
1. Nothing is reachable but what is listed; TCP, signals and abstract sockets are cut where the kernel knows how.
2. A listed path that does not exist is an error, never a gap.

Reference: Linux, Documentation/userspace-api/landlock.rst; system calls 444 to 446 on every architecture.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from privacy.sandbox.system import call

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
# How many file rights each version of the interface knows: 1 to 13 first, then refer, truncate, device ioctl.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_RIGHTS, _SCOPES = 0b11, 0b11
READ = _READ_FILE | _READ_DIR
WRITE = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_ONLY_FOR_FOLDERS = _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER


def abi() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    with contextlib.suppress(OSError):
        return call(_CREATE, None, 0, _VERSION_FLAG)
    return 0


def restrict(readable: Iterable[Path], writable: Path | None) -> None:
    """Cut this process off from every file but these; for good, and before any thread is started.

    Args:
        readable: Files and folders, with all below them, that may be read.
        writable: A folder in which files may also be made, changed and removed.

    Raises:
        OSError: The kernel refuses, or a path cannot be opened.
    """
    version = abi()
    handled = (1 << _FILE_RIGHTS[min(version, max(_FILE_RIGHTS))]) - 1 if version else 0
    attributes = struct.pack("=QQQ", handled, _TCP_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = call(_CREATE, ctypes.create_string_buffer(attributes[:size], size), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, READ & handled)
        if writable is not None:
            _allow(ruleset, writable, WRITE & handled)
        call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            rights &= ~_ONLY_FOR_FOLDERS
        attributes = ctypes.create_string_buffer(struct.pack("=Qi", rights, place), 12)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, attributes, 0)
    finally:
        os.close(place)
