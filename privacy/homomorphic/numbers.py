"""Whole numbers between an agent and its confined child: fixed width, little-endian, signed.

Form: docs/formats/he-child.md.
"""

from __future__ import annotations

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
