"""How a vector of whole numbers lies in ciphertexts, and why no sum of them can overflow.

Rules
-----
1. A layout follows from profile, length, bound, summands and noise alone, never from data (RULES 38).
2. A value is signed and has a field of w bits; F fields of a slot make one number v0 + v1 2^w + v2 2^2w + ...,
   taken modulo the plain modulus t, with 2^(F w) <= t.
3. The sum's limit M = summands * bound + tail is at most 2^(w-1) - 1. Then the fields' sums, whatever the summands,
   make a number of at most M (2^(F w) - 1) / (2^w - 1) < 2^(F w - 1) <= t / 2 in size: it is known exactly from its
   remainder modulo t, and its digits in base 2^w with signs are the sums. Summands may wrap as they like: only the sum
   has to fit.
4. What does not fit is refused, with the number of summands that would.

Form: docs/formats/he-upload.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.homomorphic.profiles import Profile, Scheme
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.wire import ciphertext_bytes

QUANTA_PER_DEVIATION = 32
"""A quantum of noised values is the noise's standard deviation by this (RULES 38)."""
TAIL_DEVIATIONS = 12
MOST_VALUES = 2**26
LEAST_BITS, MOST_BITS = 12, 24
_LARGEST = 2**96


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the values of one upload lie.

    Attributes:
        profile: The parameters.
        values: How many values there are.
        bound: The largest size of one summand's value, without noise.
        summands: The most uploads that are added.
        tail: What the noise in the sum may come to, in size; 0 without noise.
    """

    profile: Profile
    values: int
    bound: int
    summands: int
    tail: int = 0

    def __post_init__(self) -> None:
        if self.profile.scheme is not Scheme.BFV:
            raise InvalidError("sums are encrypted under a BFV profile", field="profile")
        whole(1, MOST_VALUES, values=self.values)
        whole(1, _LARGEST, bound=self.bound)
        whole(0, _LARGEST, tail=self.tail)
        if not 1 <= self.summands <= self.most_summands:
            raise InvalidError(
                f"profile `{self.profile.name}` adds at most {self.most_summands} uploads of such values",
                field="summands",
            )

    @classmethod
    def plain(cls, profile: Profile, values: int, summands: int, bits: int = 16) -> Self:
        """For values of so many bits each, sign included, without noise."""
        whole(LEAST_BITS, MOST_BITS, bits=bits)
        return cls(profile=profile, values=values, bound=2 ** (bits - 1) - 1, summands=summands)

    @property
    def most_summands(self) -> int:
        """How many uploads of such values fit one field, whose width is the whole slot, and the profile's noise."""
        room = (self.profile.plain_modulus.bit_length() - 1) - 1
        fit: int = ((1 << room) - 1 - self.tail) // self.bound
        return max(0, min(self.profile.most_summands, fit))

    @property
    def limit(self) -> int:
        """M: the largest size of a sum."""
        return self.summands * self.bound + self.tail

    @property
    def fields(self) -> int:
        """F: how many values share a slot."""
        return min(self.profile.most_fields, self._slot_bits // (self.limit.bit_length() + 1))

    @property
    def field_bits(self) -> int:
        """w: how wide each field is."""
        return self._slot_bits // self.fields

    @property
    def groups(self) -> int:
        """How many slots' worth of ciphertexts there are, each of one ciphertext per plain modulus."""
        return -(-self.values // (self.fields * self.profile.slots))

    @property
    def ciphertexts(self) -> int:
        """How many ciphertexts one upload has."""
        return self.groups * self.profile.instances

    @property
    def upload_bytes(self) -> int:
        """How long the ciphertexts of one upload are."""
        return self.ciphertexts * ciphertext_bytes(self.profile, fresh=True)

    @property
    def sum_bytes(self) -> int:
        """How long the ciphertexts of a sum are: those of `seeded` uploads are no longer half as long."""
        return self.ciphertexts * ciphertext_bytes(self.profile, fresh=False)

    @property
    def digest(self) -> Digest:
        """What an upload names."""
        return digest_of("he-layout/v1", {**self.to_json(), "profile": self.profile.digest})

    @property
    def _slot_bits(self) -> int:
        return self.profile.plain_modulus.bit_length() - 1

    def to_json(self) -> dict[str, Any]:
        """Encode; amounts that may exceed 2^53 are text."""
        return {
            "bound": str(self.bound),
            "profile": self.profile.name,
            "summands": self.summands,
            "tail": str(self.tail),
            "values": self.values,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `NotFoundError` otherwise."""
        if set(body) != {"bound", "profile", "summands", "tail", "values"}:
            raise InvalidError("not a layout", field="layout")
        return cls(
            profile=profile_of(body["profile"]),
            values=whole(1, MOST_VALUES, values=body["values"]),
            bound=_amount("bound", body["bound"]),
            summands=whole(1, 2**16, summands=body["summands"]),
            tail=_amount("tail", body["tail"]),
        )


def tail_of(deviation: int) -> int:
    """What noise of this standard deviation (in quanta) may come to: 12 deviations, passed with chance below 2^-100."""
    return TAIL_DEVIATIONS * deviation


def _amount(field: str, written: Any) -> int:
    if not isinstance(written, str) or len(written) > 30 or not written.isascii() or not written.isdigit():
        raise InvalidError(f"`{field}` is decimal text", field=field)
    if str(int(written)) != written:
        raise InvalidError(f"`{field}` is written without leading zeros", field=field)
    return int(written)
