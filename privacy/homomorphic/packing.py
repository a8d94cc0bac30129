"""Whole numbers into slots and back, as a layout says.

Rules
-----
1. Packing is linear modulo the plain modulus: sums of slots are slots of sums. `Layout` says why they read back
   exactly.
2. A number that the layout does not allow is refused before anything is packed; the refusal names no value.
3. Reading demands that nothing is left over: digits beyond the last field, and values beyond the last, are zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernel.errors import CorruptError, InvalidError
from privacy.homomorphic.layout import Layout

Slots = list[list[int]]
"""For each ciphertext the numbers in its slots, in [0, t): group after group, within one the plain moduli in order."""


def pack(layout: Layout, values: Sequence[int] | NDArray[np.int64]) -> Slots:
    """Lay values out.

    Args:
        layout: Where they lie.
        values: As many as the layout says; each at most its limit in size, noise included.

    Raises:
        InvalidError: Another number of values, or one beyond the limit.
    """
    if len(values) != layout.values:
        raise InvalidError("not as many values as the layout says", field="values")
    if layout.profile.instances > 1:
        return _pack_wide(layout, [int(value) for value in values])
    try:
        numbers = np.asarray(values, dtype=np.int64)
    except OverflowError:
        raise _beyond() from None
    if np.abs(numbers).max() > layout.limit or (numbers == np.iinfo(np.int64).min).any():
        raise _beyond()
    padded = np.zeros(layout.groups * layout.fields * layout.profile.slots, dtype=np.int64)
    padded[: layout.values] = numbers
    fields = padded.reshape(layout.groups, layout.fields, layout.profile.slots)
    shifts = np.arange(layout.fields, dtype=np.int64) * layout.field_bits
    packed = (fields << shifts[None, :, None]).sum(axis=1) % layout.profile.plain_modulus
    slots: Slots = packed.tolist()
    return slots


def pack_noise(layout: Layout, values: Sequence[int]) -> Slots:
    """Lay out what is added to a sum in the clear, modulo the plain moduli whatever its size: nothing is cut off."""
    profile, per = layout.profile, layout.fields * layout.profile.slots
    padded = [*values, *[0] * (layout.groups * per - len(values))]
    found: Slots = []
    for start in range(0, len(padded), per):
        group = [padded[first : first + profile.slots] for first in range(start, start + per, profile.slots)]
        rows = [
            sum(value << (place * layout.field_bits) for place, value in enumerate(slot))
            for slot in zip(*group, strict=True)
        ]
        found += [[number % prime for number in rows] for prime in profile.plain_primes]
    return found


def unpack(layout: Layout, slots: Slots) -> list[int]:
    """Read the sums back.

    Raises:
        CorruptError: These are not sums of values of this layout.
    """
    if len(slots) != layout.ciphertexts or any(len(row) != layout.profile.slots for row in slots):
        raise CorruptError("not as many slots as the layout says")
    if layout.profile.instances > 1:
        return _unpack_wide(layout, slots)
    modulus = layout.profile.plain_modulus
    try:
        rest = np.asarray(slots, dtype=np.int64)
    except (OverflowError, ValueError):
        raise _not_sums() from None
    if rest.min() < 0 or rest.max() >= modulus:
        raise _not_sums()
    rest = np.where(rest > modulus // 2, rest - modulus, rest)
    fields = np.empty((layout.groups, layout.fields, layout.profile.slots), dtype=np.int64)
    half, mask = 1 << (layout.field_bits - 1), (1 << layout.field_bits) - 1
    for index in range(layout.fields):
        fields[:, index] = ((rest + half) & mask) - half
        rest = (rest - fields[:, index]) >> layout.field_bits
    flat = fields.reshape(-1)
    if rest.any() or flat[layout.values :].any() or np.abs(flat).max() > layout.limit:
        raise _not_sums()
    sums: list[int] = flat[: layout.values].tolist()
    return sums


def _pack_wide(layout: Layout, values: list[int]) -> Slots:
    if max(map(abs, values)) > layout.limit:
        raise _beyond()
    slots = layout.profile.slots
    padded = values + [0] * (layout.groups * slots - layout.values)
    return [
        [value % prime for value in padded[start : start + slots]]
        for start in range(0, len(padded), slots)
        for prime in layout.profile.plain_primes
    ]


def _unpack_wide(layout: Layout, slots: Slots) -> list[int]:
    first, second = layout.profile.plain_primes
    if any(not 0 <= number < prime for pair in zip(slots[::2], slots[1::2], strict=True)
           for row, prime in zip(pair, (first, second), strict=True) for number in row):  # fmt: skip
        raise _not_sums()
    inverse, modulus = pow(first, -1, second), first * second
    sums = []
    for low, high in zip(slots[::2], slots[1::2], strict=True):
        for one, other in zip(low, high, strict=True):
            value = one + first * ((other - one) * inverse % second)
            sums.append(value - modulus if value > modulus // 2 else value)
    if any(sums[layout.values :]) or max(map(abs, sums)) > layout.limit:
        raise _not_sums()
    return sums[: layout.values]


def _beyond() -> InvalidError:
    return InvalidError("a value is beyond what the layout allows: clip first", field="values")


def _not_sums() -> CorruptError:
    return CorruptError("what was decrypted is no sum of such uploads")
