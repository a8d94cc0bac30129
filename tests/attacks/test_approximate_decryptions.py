"""A decryption under CKKS shows its error, and the error shows the key: what we guard against, and that we do.

Reference: Li and Micciancio 2021 (ePrint 2020/1533).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import tenseal.sealapi as seal
import zstandard

from kernel.errors import InvalidError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.registry import PROFILES, profile_of
from privacy.homomorphic.tenseal_backend import approximate
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.raw import load
from privacy.homomorphic.wire import ciphertext_form
from privacy.sandbox import scratch
from tests.support.homomorphic import encrypted, keys_of, layout_of

_OF_PLAIN, _OF_CIPHERTEXT = 32 + 16 + 24, 73 + 24
"""Bytes between an object's first header and its numbers."""


@dataclass(frozen=True)
class Seen:
    """What an observer has of one decryption: both halves of the ciphertext modulo one prime, and what came out."""

    first: list[int]
    second: list[int]
    shown: list[int]


def recovered(seen: Sequence[Seen], key: list[int], prime: int) -> int:
    """How many of the key's numbers two decryptions give away, if each were exact."""
    one, two = seen
    degree, found = len(key), 0
    for i in range(degree // 2):
        j = degree - 1 - i
        r = (one.shown[i] - one.first[i] - one.first[j]) % prime
        t = (two.shown[i] - two.first[i] - two.first[j]) % prime
        (a, b), (c, d) = (one.second[i], one.second[j]), (two.second[i], two.second[j])
        inverse = pow(a * d - b * c, -1, prime)
        found += (r * d - t * b) * inverse % prime == key[i]
        found += (a * t - c * r) * inverse % prime == key[j]
    return found


def words(data: bytes, count: int) -> list[int]:
    """The first numbers of an object's body, which ends with its seed or its last coefficient."""
    return list(struct.unpack(f"<{count}Q", data[: count * 8]))


def shown_words(encoder: Any, numbers: Sequence[float], scale: float, degree: int) -> list[int]:
    """What real parts that were shown say of a plaintext, modulo the first prime."""
    plain = seal.Plaintext()
    encoder.encode([2 * number for number in numbers], scale, plain)
    return words(_unpacked(plain)[_OF_PLAIN:], degree)


def test_raw_decryptions_give_the_key_away() -> None:
    """Under the parameters that are usual, with the numbers as the library returns them: the whole key."""
    degree, scale = 8192, 2.0**40
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(degree)
    modulus = seal.CoeffModulus.Create(degree, [60, 40, 40])
    parameters.set_coeff_modulus(modulus)
    place = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    generator, public = seal.KeyGenerator(place), seal.PublicKey()
    generator.create_public_key(public)
    encryptor, encoder = seal.Encryptor(place, public), seal.CKKSEncoder(place)
    decryptor, source = seal.Decryptor(place, generator.secret_key()), random.Random(1)
    seen = []
    for _ in range(2):
        plain, ciphertext, opened = seal.Plaintext(), seal.Ciphertext(), seal.Plaintext()
        encoder.encode([source.gauss(0, 1) for _ in range(degree // 2)], scale, plain)
        encryptor.encrypt(plain, ciphertext)
        decryptor.decrypt(ciphertext, opened)
        numbers = _polynomials(ciphertext, degree, 2)
        shown = shown_words(encoder, encoder.decode_double(opened), scale, degree)
        seen.append(Seen(numbers[:degree], numbers[2 * degree : 3 * degree], shown))
    key = _unpacked(generator.secret_key())[_OF_PLAIN:]
    assert recovered(seen, words(key, degree), modulus[0].value()) == degree


def _unpacked(saved: Any) -> bytes:
    saved.save(scratch.path())
    return zstandard.ZstdDecompressor().stream_reader(scratch.take()[16:]).read(2**23)


def _polynomials(ciphertext: Any, degree: int, primes: int) -> list[int]:
    return words(_unpacked(ciphertext)[_OF_CIPHERTEXT:], 2 * primes * degree)


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.scheme.value == "ckks"])
def test_what_our_owner_reads_gives_nothing_away(name: str) -> None:
    """Rounded to the expected error before it is returned, even to the owner: not one number of the key."""
    profile, source = profile_of(name), random.Random(2)
    degree, scale, keys = profile.degree, 2.0**profile.scale_bits, approximate.make_own_keys(profile)
    encoder, primes = seal.CKKSEncoder(context(profile)), len(profile.data_primes)
    seen = []
    for _ in range(2):
        vector = [source.gauss(0, 1) for _ in range(profile.slots)]
        (one,) = approximate.load_vectors(profile, approximate.encrypt_vectors(profile, keys.secret, [vector]), 1)
        body = approximate.save_results(profile, [one])
        (numbers,) = approximate.read_results(profile, keys.secret, body, count=1, level=primes, scale=scale)
        halves = words(body[113:], 2 * primes * degree)
        shown = shown_words(encoder, numbers, scale, degree)
        seen.append(Seen(halves[:degree], halves[primes * degree : (primes + 1) * degree], shown))
    assert recovered(seen, words(keys.secret.reveal()[88:], degree), profile.coefficient_primes[0]) == 0


def test_published_sums_give_nothing_away() -> None:
    """BFV is exact: with every sum known, the numbers fit any key, since the error is not among them."""
    layout = layout_of("bfv-4096-public", values=8192, summands=3)
    profile, degree = layout.profile, layout.profile.degree
    place, prime = context(profile), profile.data_primes[0]
    evaluator, pair = seal.Evaluator(place), keys_of("bfv-4096-public")
    seen = []
    for turn in (1, 2):
        total = Sum(layout)
        for site in range(3):
            total.add(encrypted(layout, [turn * site + k % 100 for k in range(8192)]))
        slots = decrypt(layout, pair.secret, total)
        (ciphertext,) = total.ciphertexts()
        evaluator.transform_to_ntt_inplace(ciphertext)
        halves = _polynomials(ciphertext, degree, 1)
        plain = seal.Plaintext()
        seal.BatchEncoder(place).encode(slots[0], plain)
        exact = _in_place_of_the_message(plain, layout)
        evaluator.transform_to_ntt_inplace(exact)
        message = _polynomials(exact, degree, 1)[:degree]
        both = [(message[i] + message[degree - 1 - i]) % prime for i in range(degree)]
        seen.append(Seen(halves[:degree], halves[degree:], both))
    assert recovered(seen, words(pair.secret.reveal()[88:], degree), prime) == 0


def _in_place_of_the_message(plain: Any, layout: Layout) -> Any:
    """What the ciphertext would decrypt to, scaled, were there no error: as the first half of a ciphertext."""
    profile = layout.profile
    count, prime, modulus = plain.coeff_count(), profile.data_primes[0], profile.plain_modulus
    numbers = [plain.data(at) if at < count else 0 for at in range(profile.degree)]
    scaled = [(2 * prime * number + modulus) // (2 * modulus) % prime for number in numbers]
    form = ciphertext_form(profile, 0, fresh=True)
    body = form.prefix + struct.pack(f"<{2 * profile.degree}Q", *scaled, *[1] * profile.degree)
    return load(seal.Ciphertext(), context(profile), body)


def test_nothing_approximate_is_summed_or_decrypted_for_others() -> None:
    """A layout needs BFV, and without one there is neither a sum nor a decryption."""
    with pytest.raises(InvalidError):
        Layout(profile=profile_of("ckks-8192-blind"), values=10, bound=100, summands=3)
