"""Numbers between a parent and its confined child, little-endian: whole ones of fixed width, or rows of doubles.

Form: docs/formats/he-child.md.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence

from kernel.errors import CorruptError, InvalidError
from privacy.homomorphic.layout import Layout


def number_bytes(layout: Layout) -> int:
    """8 bytes a number; 16 where a profile has two plain moduli."""
    return 8 * layout.profile.instances


def written_numbers(layout: Layout, numbers: Sequence[int]) -> bytes:
    """Write numbers; raise `InvalidError` if one does not fit."""
    width = number_bytes(layout)
    try:
        return b"".join([int(number).to_bytes(width, "little", signed=True) for number in numbers])
    except OverflowError:
        raise InvalidError("a value is beyond what the layout allows: clip first", field="values") from None


def read_numbers(layout: Layout, body: bytes) -> list[int]:
    """Read as many numbers as the layout has; raise `CorruptError` for another length."""
    width = number_bytes(layout)
    if len(body) != width * layout.values:
        raise CorruptError("not as many numbers as the layout says")
    if width == 8:
        return memoryview(body).cast("q").tolist()
    return [int.from_bytes(body[at : at + width], "little", signed=True) for at in range(0, len(body), width)]


def written_doubles(rows: Sequence[Sequence[float]]) -> bytes:
    """Write rows of doubles, one after the other."""
    found = array.array("d", [number for row in rows for number in row])
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()


def read_doubles(body: bytes, width: int) -> list[list[float]]:
    """Read rows of so many doubles each; raise `CorruptError` if the body does not end with a row."""
    if len(body) % (8 * width):
        raise CorruptError("not whole rows of numbers")
    found = array.array("d", body)
    if sys.byteorder == "big":
        found.byteswap()
    return [found[at : at + width].tolist() for at in range(0, len(found), width)]
