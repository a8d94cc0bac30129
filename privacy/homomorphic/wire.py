"""SEAL's own serialisation, byte for byte: what a key and a ciphertext of a profile must look like.

Rules
-----
1. One form: uncompressed, version 4.3, lengths that follow from the profile. Every byte that is not key material or a
   coefficient is compared with the one value it may have.
2. No library is needed: the API process knows a ciphertext by this.

Form: docs/formats/he-upload.md, "One ciphertext".
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cache

from privacy.homomorphic.profiles import Mode, Profile, Scheme

_MAGIC = 0xA15E
_HEADER = 16
_VERSION = (4, 3)
_UNCOMPRESSED = 0
_WORD = 8
_SEED = 64
_PRNG = 1
_CODES = {Scheme.BFV: 1, Scheme.CKKS: 2}


@dataclass(frozen=True, slots=True)
class Form:
    """Fixed bytes around words: `prefix`, then `words` of 8 bytes each, then `suffix`, then `seed` bytes."""

    prefix: bytes
    words: int
    suffix: bytes = b""
    seed: int = 0

    @property
    def size(self) -> int:
        """How many bytes the object has."""
        return len(self.prefix) + _WORD * self.words + len(self.suffix) + self.seed

    def matches(self, data: bytes | memoryview) -> bool:
        """Whether `data` is an object of this form, its words aside."""
        end = self.size - self.seed
        return (
            len(data) == self.size
            and data[: len(self.prefix)] == self.prefix
            and data[end - len(self.suffix) : end] == self.suffix
        )

    def content(self, data: bytes | memoryview) -> memoryview:
        """The words of an object that matches."""
        return memoryview(data)[len(self.prefix) : len(self.prefix) + _WORD * self.words]


def ciphertext_bytes(profile: Profile, *, fresh: bool) -> int:
    """How long one ciphertext is, as encrypted (`fresh`) or as a sum."""
    return ciphertext_form(profile, 0, fresh=fresh).size


@cache
def ciphertext_form(profile: Profile, instance: int, *, fresh: bool) -> Form:
    """What a ciphertext looks like.

    Args:
        profile: The parameters.
        instance: Which of the plain moduli, from 0.
        fresh: As encrypted; in mode `seeded` its second half is then 64 bytes to draw it from.
    """
    primes = profile.data_primes
    seeded = fresh and profile.mode is Mode.SEEDED
    ntt, scale = profile.scheme is Scheme.CKKS, 2.0**profile.scale_bits
    return _polynomials(profile, instance, primes, ntt=ntt, seeded=seeded, scale=scale)


@cache
def public_key_form(profile: Profile, instance: int) -> Form:
    """What a public key looks like: a ciphertext over all primes, in the transformed domain."""
    return _polynomials(profile, instance, profile.coefficient_primes, ntt=True, seeded=False, scale=1.0)


@cache
def secret_key_form(profile: Profile, instance: int) -> Form:
    """What a secret key looks like."""
    primes = profile.coefficient_primes
    words = profile.degree * len(primes)
    middle = parms_id(profile, instance, primes) + struct.pack("<Qd", words, 1.0)
    return Form(_header(_HEADER + len(middle) + _array_size(words)) + middle + _array_head(words), words)


def result_form(profile: Profile, level: int, scale: float) -> Form:
    """What a CKKS ciphertext looks like after products.

    Args:
        profile: The parameters.
        level: How many of the primes a fresh one has are left.
        scale: Its scale, which follows from what was computed.
    """
    primes = profile.data_primes[:level]
    return _polynomials(profile, 0, primes, ntt=True, seeded=False, scale=scale)


@cache
def evaluation_forms(profile: Profile, rotations: tuple[int, ...], *, products: bool) -> tuple[Form, ...]:
    """What evaluation keys look like, one after the other.

    Args:
        profile: The parameters.
        rotations: By how many slots can be rotated; each its own key.
        products: Whether products can be made short again.
    """
    elements = {(pow(3, steps, 2 * profile.degree) - 1) // 2 for steps in rotations}
    sets = ([{0}] if products else []) + ([elements] if rotations else [])
    return tuple(form for places in sets for form in _switching(profile, places, places != {0}))


def _switching(profile: Profile, places: set[int], many: bool) -> list[Form]:
    one = _polynomials(profile, 0, profile.coefficient_primes, ntt=True, seeded=True, scale=1.0)
    each, total = len(profile.data_primes), profile.degree if many else 1
    size = _HEADER + 32 + _WORD + _WORD * total + len(places) * each * one.size
    pending = _header(size) + parms_id(profile, 0, profile.coefficient_primes) + struct.pack("<Q", total)
    forms = []
    for place in range(total):
        pending += struct.pack("<Q", each if place in places else 0)
        for _ in range(each if place in places else 0):
            forms.append(Form(pending + one.prefix, one.words, one.suffix, one.seed))
            pending = b""
    return [*forms, Form(pending, 0)] if pending else forms


def parms_id(profile: Profile, instance: int, primes: tuple[int, ...]) -> bytes:
    """SEAL's name for parameters: BLAKE2b-256 of scheme, degree, primes and plain modulus as 64-bit words."""
    plain = profile.plain_primes[instance] if profile.plain_primes else 0
    words = (_CODES[profile.scheme], profile.degree, *primes, plain)
    return hashlib.blake2b(struct.pack(f"<{len(words)}Q", *words), digest_size=32).digest()


def _polynomials(
    profile: Profile, instance: int, primes: tuple[int, ...], *, ntt: bool, seeded: bool, scale: float
) -> Form:
    middle = parms_id(profile, instance, primes) + struct.pack("<?QQQdQ", ntt, 2, profile.degree, len(primes), scale, 1)
    words = profile.degree * len(primes) * (1 if seeded else 2)
    suffix = _header(_HEADER + 1 + _SEED) + bytes([_PRNG]) if seeded else b""
    seed = _SEED if seeded else 0
    size = _HEADER + len(middle) + _array_size(words) + len(suffix) + seed
    return Form(_header(size) + middle + _array_head(words), words, suffix, seed)


def _array_size(words: int) -> int:
    return _HEADER + _WORD + _WORD * words


def _array_head(words: int) -> bytes:
    return _header(_array_size(words)) + struct.pack("<Q", words)


def _header(size: int) -> bytes:
    return struct.pack("<HBBBBHQ", _MAGIC, _HEADER, *_VERSION, _UNCOMPRESSED, 0, size)
