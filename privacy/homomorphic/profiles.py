"""Profiles: the only parameters under which anything is encrypted.

Rules
-----
1. A profile is looked up by name; nobody sends parameters. Its digest covers every one of them, the primes included.
2. The coefficient modulus stays below the bound of the homomorphic encryption standard for 128 bits.
3. A sum of as many summands as a profile allows decrypts exactly: what the noise may reach lies 17 standard deviations
   away (`margin`).

Reference: Homomorphic Encryption Security Standard (2018), table 1 (ternary secret, 128 bits, classical).
Form: docs/formats/he-profiles.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel.canonical import Digest, digest_of
from kernel.checks import decimal, whole
from kernel.errors import InvalidError
from kernel.ids import Slug

MOST_COEFFICIENT_BITS = {2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
"""Degree -> most bits of the coefficient modulus at 128 bits of security."""
MARGIN = 17
VEIL = 2**20
"""A site's own errors in each coefficient of an upload, uniform in [-VEIL, VEIL), where there is room for them."""
_ERROR_VARIANCE = 10.5
"""Of a fresh error: a centred binomial of 42 coins."""


class Scheme(StrEnum):
    """Which arithmetic a ciphertext has."""

    BFV = "bfv"
    CKKS = "ckks"


class Mode(StrEnum):
    """Who can encrypt: everybody (`public-key`), or whoever holds the secret key (`seeded`, half as long)."""

    PUBLIC_KEY = "public-key"
    SEEDED = "seeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One set of parameters, fixed for good.

    Attributes:
        name: How jobs name it.
        scheme: BFV (whole numbers, exact) or CKKS (approximate).
        mode: Who can encrypt.
        degree: N, the degree of the polynomials.
        coefficient_primes: The coefficient modulus. With several, the last one is used for keys alone.
        plain_primes: BFV: the plain moduli. With two, a value is known modulo their product, from a ciphertext of each.
        most_fields: BFV: how many values may share a slot.
        most_summands: How many ciphertexts may be added.
        scale_bits: CKKS: the scale of what is encrypted, in bits.
        depth: CKKS: how many products may follow each other.
        expected_error: CKKS: what a decrypted number of size 1 may differ by, measured; 0 for BFV.
    """

    name: Slug
    scheme: Scheme
    mode: Mode
    degree: int
    coefficient_primes: tuple[int, ...]
    plain_primes: tuple[int, ...] = ()
    most_fields: int = 1
    most_summands: int = 1
    scale_bits: int = 0
    depth: int = 0
    expected_error: str = "0"

    def __post_init__(self) -> None:
        if self.degree not in MOST_COEFFICIENT_BITS:
            raise InvalidError("a profile's degree is one of the standard's table", field="degree")
        whole(1, MOST_COEFFICIENT_BITS[self.degree], coefficient_bits=sum(self.coefficient_bits))
        whole(1, 4, most_fields=self.most_fields)
        whole(1, 2**16, most_summands=self.most_summands)
        decimal(expected_error=self.expected_error)
        if len(self.plain_primes) not in ((1, 2) if self.scheme is Scheme.BFV else (0,)):
            raise InvalidError("BFV has one plain modulus or two, CKKS none", field="plain_primes")
        if (self.scheme is Scheme.CKKS) != (self.scale_bits > 0):
            raise InvalidError("CKKS alone has a scale", field="scale_bits")

    @property
    def coefficient_bits(self) -> tuple[int, ...]:
        """How many bits each prime of the coefficient modulus has."""
        return tuple(prime.bit_length() for prime in self.coefficient_primes)

    @property
    def data_primes(self) -> tuple[int, ...]:
        """The primes that a fresh ciphertext has."""
        return self.coefficient_primes[:-1] or self.coefficient_primes

    @property
    def slots(self) -> int:
        """How many numbers one ciphertext has room for."""
        return self.degree if self.scheme is Scheme.BFV else self.degree // 2

    @property
    def plain_modulus(self) -> int:
        """BFV: modulo what a slot is known; 1 for CKKS."""
        return math.prod(self.plain_primes)

    @property
    def instances(self) -> int:
        """How many ciphertexts, and how many keys, stand beside each other: one for each plain modulus."""
        return max(1, len(self.plain_primes))

    @property
    def digest(self) -> Digest:
        """What job, key and upload name: of all parameters."""
        return digest_of("he-profile/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Every parameter; primes as text, because they are beyond 2^53."""
        return {
            "coefficient_primes": [str(prime) for prime in self.coefficient_primes],
            "degree": self.degree,
            "depth": self.depth,
            "expected_error": self.expected_error,
            "mode": self.mode.value,
            "most_fields": self.most_fields,
            "most_summands": self.most_summands,
            "name": self.name,
            "plain_primes": [str(prime) for prime in self.plain_primes],
            "scale_bits": self.scale_bits,
            "scheme": self.scheme.value,
        }


def margin(profile: Profile) -> float:
    """How many standard deviations of its noise the largest sum of a BFV profile is away from decrypting wrongly.

    A fresh error has the variance v. By a secret key it is the noise; by a public key there are e u + e1 + e2 s with
    ternary u and s on top of each other, v (1 + 4N/3), and where a prime is used for keys alone, that is divided by it
    and rounding remains, (1 + 2N/3) / 12. Rounding a plaintext adds less than 1/4, a veil VEIL^2 / 3.
    """
    return _room(profile) / math.sqrt(_variance(profile, profile.most_summands))


def flooding(profile: Profile) -> int:
    """The deviation of the errors that can be added to the largest sum of a BFV profile, a power of two; 0 if none.

    What a ciphertext of a sum has beside its plaintext is known to whoever has the secret key: c0 + c1 s is
    (q/t) M + E modulo q, M the sum of the plaintexts modulo t and E the sum of all errors. Errors of the flood, of
    variance f^2, are added to those, and one plaintext more than summands (the gateway's noise) is rounded. The sum
    decrypts exactly while q / 2t is MARGIN deviations of all errors together, so that f is the largest power of two
    with MARGIN^2 (variance of the largest sum + f^2) <= (q / 2t)^2. What this hides, `flooding` says.
    """
    spare = (_room(profile) / MARGIN) ** 2 - _variance(profile, profile.most_summands + 1)
    return 0 if spare < 1 else 1 << (math.isqrt(int(spare)).bit_length() - 1)


def veil(profile: Profile) -> int:
    """How large the errors are that a site adds to its own upload (`flooding` says why); 0 if there is no room."""
    roomy = profile.scheme is Scheme.BFV and profile.mode is Mode.PUBLIC_KEY and _room(profile) >= VEIL << 18
    return VEIL if roomy else 0


def _variance(profile: Profile, summands: int) -> float:
    """Of the errors of so many fresh ciphertexts together; `margin` says why."""
    ternary = 2 * profile.degree / 3
    variance = _ERROR_VARIANCE
    if profile.mode is Mode.PUBLIC_KEY:
        variance *= 1 + 2 * ternary
        if len(profile.coefficient_primes) > 1:
            variance = variance / profile.coefficient_primes[-1] ** 2 + (1 + ternary) / 12
    return summands * (variance + 0.25 + veil(profile) ** 2 / 3)


def _room(profile: Profile) -> float:
    """Below which size errors do not matter: q / 2t."""
    return math.prod(profile.data_primes) / (2 * max(profile.plain_primes))
