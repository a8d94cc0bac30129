"""Denormal numbers as zero in the calling thread, for programs that compute with floating-point numbers without torch.

Rules
-----
1. It is a setting of the processor for one thread (FTZ and DAZ, or FZ), reached through the C library's floating-point
   environment. Results that are normal numbers do not change.
2. A machine that has no such setting here says so; whoever needs it decides what follows.

Reference: ISO C, `fegetenv` and `fesetenv`; the layouts are those of glibc.
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a C library's floating-point environment keeps the bits."""

    size: int
    offset: int
    bits: int


_LAYOUTS: Final = {
    "x86_64": _Layout(size=32, offset=28, bits=0x8040),
    "aarch64": _Layout(size=8, offset=0, bits=1 << 24),
}


def flush_denormals(on: bool = True) -> bool:
    """Compute with denormals as zero from now on, in this thread, or no longer; return whether that is so."""
    layout = _LAYOUTS.get(platform.machine())
    if layout is None or not _is_glibc():
        return False
    library = ctypes.CDLL("libm.so.6")  # by its name: looking for it would start a program
    environment = ctypes.create_string_buffer(layout.size)
    if library.fegetenv(environment):
        return False
    word = ctypes.c_uint32.from_buffer(environment, layout.offset)
    word.value = word.value | layout.bits if on else word.value & ~layout.bits
    return not library.fesetenv(environment)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False
