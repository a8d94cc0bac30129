"""SEAL objects to bytes and back.

Rules
-----
1. SEAL compresses whatever it saves. Here that is undone, with the length known beforehand, so that what travels is
   uncompressed and nothing compressed is ever read from anybody.
2. What is saved has the form that `wire` says, or it is a fault of this build.
3. What does not load was hostile or damaged: one error, without SEAL's words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import zstandard

from kernel.errors import CorruptError, UnavailableError
from privacy.homomorphic.validator import pieces
from privacy.homomorphic.wire import Form
from privacy.sandbox import scratch

_HEADER = 16
_ZSTANDARD = 2

T = TypeVar("T")


def save(saved: Any, *forms: Form) -> bytes:
    """The uncompressed bytes of a SEAL object: of one form, or of several one after the other."""
    saved.save(scratch.path())
    packed = scratch.take()
    if packed[5] != _ZSTANDARD:
        raise _other_build()
    size = sum(form.size for form in forms)
    reader = zstandard.ZstdDecompressor().stream_reader(packed[_HEADER:])
    # One byte more than is wanted: what is longer is found out.
    data = forms[0].prefix[:_HEADER] + reader.read(size - _HEADER + 1)
    if len(data) != size or not all(form.matches(piece) for form, piece in pieces(list(forms), data)):
        raise _other_build()
    return data


def load(empty: T, context: Any, data: bytes | memoryview) -> T:
    """Fill a new SEAL object from bytes that `validator` passed; raise `CorruptError` if SEAL does not take them."""
    return load_all(lambda: empty, [(context, data)])[0]


def load_all(empty: Callable[[], T], pieces_in: Iterable[tuple[Any, bytes | memoryview]]) -> list[T]:
    """Fill new SEAL objects, one for each context and bytes, as `load` does: one after the other in the same memory."""
    try:
        return [_filled(empty(), context, data) for context, data in pieces_in]
    finally:
        # It may have been a key.
        scratch.put(b"")


def _filled(empty: T, context: Any, data: bytes | memoryview) -> T:
    scratch.put(data)
    try:
        empty.load(context, scratch.path())  # type: ignore[attr-defined]  # SEAL's classes have no types here
    except (ValueError, RuntimeError):
        raise CorruptError("SEAL does not take an object that came in") from None
    return empty


def _other_build() -> UnavailableError:
    return UnavailableError("this build of SEAL writes another form than the one that is specified")
