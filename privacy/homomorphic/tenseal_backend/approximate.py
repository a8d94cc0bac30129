"""CKKS for who computes for himself: keys, vectors in, results out, all with one owner.

Rules
-----
1. Only the owner of the key decrypts, in his own process: a decryption's last digits depend on the key, and who has
   enough of them has the key. `read_results` therefore rounds to the profile's expected error before it returns, and
   nothing in the program sends what it returns to anybody else.
2. The owner encrypts with his secret key, seeded; who evaluates gets ciphertexts and evaluation keys, never a public
   or a secret key.
3. Scales are kept exactly, never set by hand: a product's scale is the product of scales, and rescaling divides it by
   the very prime that goes.

Reference: Li and Micciancio 2021 (ePrint 2020/1533) for rule 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tenseal.sealapi as seal

from kernel.errors import CorruptError
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.raw import load, load_all, save
from privacy.homomorphic.validator import (
    pieces,
    require_evaluation_keys,
    require_secret_key,
    require_vectors,
)
from privacy.homomorphic.wire import ciphertext_form, evaluation_forms, result_form, secret_key_form
from privacy.sealing.secret import SecretBytes


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """What an owner has: his secret key, and keys for whoever evaluates (products first, then rotations)."""

    secret: SecretBytes
    evaluation: bytes


@dataclass(frozen=True, slots=True)
class EvaluationKeys:
    """SEAL's objects for products and rotations; what was not asked for is absent."""

    products: Any | None
    rotations: Any | None


def make_own_keys(profile: Profile, rotations: tuple[int, ...] = (), *, products: bool = False) -> OwnKeys:
    """Draw a secret key, and evaluation keys for these rotations and for products."""
    generator = seal.KeyGenerator(context(profile))
    secret = save(generator.secret_key(), secret_key_form(profile, 0))
    parts = []
    if products:
        parts.append(save(generator.create_relin_keys(), *evaluation_forms(profile, (), products=True)))
    if rotations:
        elements = [pow(3, steps, 2 * profile.degree) for steps in rotations]
        forms = evaluation_forms(profile, rotations, products=False)
        parts.append(save(generator.create_galois_keys(elements), *forms))
    return OwnKeys(SecretBytes(secret), b"".join(parts))


def encrypt_vectors(profile: Profile, secret: SecretBytes, vectors: Sequence[Sequence[float]]) -> bytes:
    """Encrypt vectors of at most as many numbers as there are slots, at the profile's scale."""
    place = context(profile)
    encryptor, encoder = seal.Encryptor(place, _secret(profile, secret)), seal.CKKSEncoder(place)
    form, made = ciphertext_form(profile, 0, fresh=True), []
    for vector in vectors:
        plain = seal.Plaintext()
        encoder.encode(list(vector), 2.0**profile.scale_bits, plain)
        made.append(save(encryptor.encrypt_symmetric(plain), form))
    return b"".join(made)


def load_vectors(profile: Profile, body: bytes, count: int) -> list[Any]:
    """SEAL's ciphertexts of a body, for who evaluates; raise `CorruptError` if it is another."""
    require_vectors(profile, body, count)
    forms = [ciphertext_form(profile, 0, fresh=True)] * count
    return load_all(seal.Ciphertext, ((context(profile), piece) for _, piece in pieces(forms, body)))


def load_evaluation_keys(
    profile: Profile, body: bytes, rotations: tuple[int, ...] = (), *, products: bool = False
) -> EvaluationKeys:
    """SEAL's evaluation keys of a body; raise `CorruptError` if they are others."""
    require_evaluation_keys(profile, body, rotations, products=products)
    cut = sum(form.size for form in evaluation_forms(profile, (), products=products))
    place = context(profile)
    return EvaluationKeys(
        load(seal.RelinKeys(), place, body[:cut]) if products else None,
        load(seal.GaloisKeys(), place, body[cut:]) if rotations else None,
    )


def save_results(profile: Profile, results: Sequence[Any]) -> bytes:
    """Ciphertexts that came out of an evaluation, of one level and scale, as bytes."""
    form = result_form(profile, results[0].coeff_modulus_size(), results[0].scale)
    return b"".join(save(result, form) for result in results)


def read_results(
    profile: Profile, secret: SecretBytes, body: bytes, *, count: int, level: int, scale: float
) -> list[list[float]]:
    """Decrypt results for their owner, rounded to the profile's expected error.

    Args:
        profile: The parameters.
        secret: The owner's key.
        body: From `save_results`.
        count: How many ciphertexts.
        level: How many primes they have left.
        scale: Their scale, as the computation makes it.

    Raises:
        CorruptError: The body is not what this computation gives.
    """
    place, form = context(profile), result_form(profile, level, scale)
    decryptor, encoder = seal.Decryptor(place, _secret(profile, secret)), seal.CKKSEncoder(place)
    step, found = float(profile.expected_error), []
    for _, piece in pieces([form] * count, body):
        if not form.matches(piece):
            raise CorruptError("not the results that this computation gives")
        plain = seal.Plaintext()
        decryptor.decrypt(load(seal.Ciphertext(), place, piece), plain)
        found.append([round(number / step) * step for number in encoder.decode_double(plain)])
    return found


def _secret(profile: Profile, secret: SecretBytes) -> Any:
    key = secret.reveal()
    require_secret_key(profile, key)
    return load(seal.SecretKey(), context(profile), key)
