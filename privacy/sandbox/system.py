"""System calls that Python has no name for, through the C library."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

SET_PDEATHSIG, SET_DUMPABLE, CAPBSET_DROP, SET_NO_NEW_PRIVS, CAP_AMBIENT = 1, 4, 24, 38, 47
_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}


def call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call by number; raise `OSError` if it fails."""
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = _LIBC.syscall(ctypes.c_long(number), *passed)
    if result < 0:
        _fail()
    return result


def prctl(option: int, value: int = 0, third: int = 0) -> None:
    """Set a property of this process; raise `OSError` if it fails."""
    zero = ctypes.c_ulong(0)
    if _LIBC.prctl(ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(third), zero, zero) < 0:
        _fail()


def drop_capabilities() -> None:
    """Give up every capability for good; without effect where there are none.

    Root keeps its user id, hence the files that it owns, and loses the power over everything else.
    """
    prctl(CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            prctl(CAPBSET_DROP, capability)
        except OSError:
            # Beyond the last capability of this kernel, or without the right to narrow the bounding set.
            break
    header = ctypes.create_string_buffer(_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
    call(_CAPSET[os.uname().machine], header, ctypes.create_string_buffer(24))


def _fail() -> None:
    error = ctypes.get_errno()
    raise OSError(error, os.strerror(error))
